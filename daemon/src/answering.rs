//! One request from its head to the end of its answer: counted, and told in the log.

use std::sync::Arc;
use std::time::Instant;

use hyper::Request;
use serde_json::Value;

use crate::daemon::Daemon;
use crate::log::{self, Level};
use crate::metrics::Metrics;
use crate::rights::Peer;
use crate::router::{Route, route};
use crate::wire::query::decode;
use crate::wire::reply::Reply;
use crate::wire::version::ApiVersion;
use crate::work::seconds;

/// What stands for a status where the client went away before there was one (nginx's).
const GONE: u16 = 499;
/// What a request is counted as that leads nowhere: clients must not be able to make up names.
const NOWHERE: &str = "none";

/// A request that is being answered.
pub(crate) struct Answering {
    daemon: Arc<Daemon>,
    metrics: Arc<Metrics>,
    number: u64,
    method: &'static str,
    route: &'static str,
    /// The path as it came, without its query, if it is to be told.
    path: Option<String>,
    user: u32,
    began: Instant,
    status: u16,
}

impl Answering {
    /// A request has come.
    pub(crate) fn begin<B>(daemon: &Arc<Daemon>, peer: &Peer, request: &Request<B>) -> Self {
        let (_, path) = ApiVersion::strip(request.uri().path());
        let to = decode(path).ok().and_then(|path| route(request.method(), &path));
        Self {
            daemon: daemon.clone(),
            metrics: daemon.metrics.clone(),
            number: daemon.metrics.request(),
            method: known(request.method().as_str()),
            route: to.as_ref().map_or(NOWHERE, Route::template),
            path: log::is_on(Level::Debug).then(|| request.uri().path().to_owned()),
            user: peer.user,
            began: Instant::now(),
            status: GONE,
        }
    }

    /// Its number.
    pub(crate) fn request(&self) -> u64 {
        self.number
    }

    /// The answer begins; what follows of it is awaited.
    pub(crate) fn answered(mut self, reply: &mut Reply) {
        self.status = reply.status().as_u16();
        reply.body_mut().hold(self);
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        for (image, reason) in self.daemon.engine.new_damage() {
            let fields = [
                ("image", Value::from(image.to_string())),
                ("reason", reason.into()),
            ];
            log::say(
                Level::Warn,
                "an image's config cannot be read; `mica system check --repair` mends it or tells what is broken",
                &fields,
            );
        }
        self.metrics.answered(self.method, self.route, self.status, took);
        if let Some(path) = self.path.take() {
            let fields = [
                ("request", Value::from(self.number)),
                ("method", self.method.into()),
                ("path", path.into()),
                ("status", self.status.into()),
                ("uid", self.user.into()),
                ("seconds", seconds(took).into()),
            ];
            log::say(Level::Debug, "request", &fields);
        }
    }
}

/// A method that is counted by its name.
fn known(method: &str) -> &'static str {
    const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"];
    METHODS
        .into_iter()
        .find(|known| *known == method)
        .unwrap_or("other")
}
