//! What is done behind each door; no logic of its own, only words of HTTP for the engine's.

mod archive;
mod build;
mod build_input;
pub(crate) mod build_query;
mod build_session;
mod check;
mod containers;
mod debug;
mod description;
mod events;
pub(crate) mod images;
mod import;
mod inspect;
mod logs;
mod metrics;
mod prune;
mod push_check;
mod registry;
mod search;
mod system;
mod upgrade;
mod usage;

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper::{HeaderMap, Method, Request, StatusCode};

use crate::activity::Busy;
use crate::daemon::Daemon;
use crate::descriptors::Descriptors;
use crate::rights::{Denied, Peer, Right};
use crate::router::{Route, route};
use crate::serve::Caller;
use crate::wire::query::{Query, decode};
use crate::wire::reply::{Failure, Reply, empty};
use crate::wire::upload::Upload;
use crate::wire::version::ApiVersion;

/// A request whose door was found.
pub(crate) struct Call {
    daemon: Arc<Daemon>,
    method: Method,
    version: ApiVersion,
    headers: HeaderMap,
    query: Query,
    upload: Upload,
    busy: Busy,
    descriptors: Descriptors,
    peer: Peer,
    upgrade: OnUpgrade,
}

impl Call {
    /// Whether the client may do something that needs more than its door.
    fn may(&self, right: Right, what: &str) -> Result<(), Failure> {
        let rights = &self.daemon.settings.get().rights;
        let checked: Result<(), Denied> = rights.check(&self.peer, right, || what.to_owned());
        checked.map_err(Failure::denied)
    }
}

/// Finds the door and opens it.
pub(crate) async fn dispatch(
    daemon: Arc<Daemon>,
    caller: Caller,
    request: Request<Incoming>,
) -> Result<Reply, Failure> {
    let (version, _) = ApiVersion::strip(request.uri().path());
    let json = version.is_none_or(|version| version.has_json_failures() || version.check().is_err());
    let answer = serve(daemon, caller, request).await;
    answer.map_err(|failure| if json { failure } else { failure.plain() })
}

async fn serve(
    daemon: Arc<Daemon>,
    caller: Caller,
    mut request: Request<Incoming>,
) -> Result<Reply, Failure> {
    let upgrade = hyper::upgrade::on(&mut request);
    let (head, body) = request.into_parts();
    let busy = daemon.activity.begin_on(Some(caller.place.work()));
    let upload = Upload::new(body, busy.clone());
    let descriptors = caller.waiting.begin(&head.headers)?;
    let (version, path) = ApiVersion::strip(head.uri.path());
    let route = route(&head.method, &decode(path)?);
    // who has no right is not even told what there is
    let right = route.as_ref().map_or(Right::Read, Route::right);
    let what = || {
        format!(
            "{} {}",
            head.method,
            route.as_ref().map_or(path, |route| route.template())
        )
    };
    daemon
        .settings
        .get()
        .rights
        .check(&caller.peer, right, what)
        .map_err(Failure::denied)?;
    let route = route.ok_or_else(Failure::no_route)?;
    let call = Call {
        daemon,
        method: head.method,
        version: version.map_or(Ok(ApiVersion::highest()), ApiVersion::check)?,
        headers: head.headers,
        query: Query::parse(head.uri.query().unwrap_or_default())?,
        upload,
        busy,
        descriptors,
        peer: caller.peer,
        upgrade,
    };
    open(route, call).await
}

async fn open(route: Route, call: Call) -> Result<Reply, Failure> {
    match route {
        Route::Options => Ok(empty(StatusCode::OK)),
        Route::Ping => Ok(system::ping(&call)),
        Route::Version => system::version(&call),
        Route::Info => system::info(call).await,
        Route::Events => events::follow(&call),
        Route::Images => images::list(call).await,
        Route::ImagesSearch => search::search(call).await,
        Route::ImageInspect(name) => inspect::inspect(call, name).await,
        Route::ImageHistory(name) => inspect::history(call, name).await,
        Route::ImageTag(name) => images::tag(call, name).await,
        Route::ImageRemove(name) => images::remove(call, name).await,
        Route::ImagesPrune => images::prune(call).await,
        Route::ImageSave(name) => archive::save(call, vec![name]).await,
        Route::ImagesSave => {
            let names = call.query.all("names").map(str::to_owned).collect();
            archive::save(call, names).await
        }
        Route::ImagesLoad => archive::load(call).await,
        Route::ImageCreate if call.query.filled("fromSrc").is_some() => import::import(call).await,
        Route::ImageCreate => registry::pull(call).await,
        Route::ImagePush(name) => registry::push(call, name).await,
        Route::Distribution(name) => registry::distribution(call, name).await,
        Route::RemoteManifest(name) => registry::manifest(call, name).await,
        Route::Auth => registry::auth(call).await,
        Route::Build => build::build(call).await,
        Route::BuildHere => build::build_here(call).await,
        Route::BuildPrune => build::prune(call).await,
        Route::Cache => usage::cache(call).await,
        Route::Check => check::check(call).await,
        Route::DiskUsage => usage::usage(call).await,
        Route::Description => Ok(description::description()),
        Route::Metrics => metrics::metrics(call).await,
        Route::PushCheck(name) => push_check::push_check(call, name).await,
        Route::Grpc => upgrade::grpc(call),
        Route::Session => upgrade::session(call),
        Route::BuildCancel => build::cancel(&call),
        Route::Debug(build) => debug::enter(call, build).await,
        Route::Logs => logs::list(call).await,
        Route::Log(build) => logs::show(call, build).await,
        Route::NotHere(why) => Err(Failure::unsupported(why)),
        Route::Commit => {
            let container = call.query.get("container").unwrap_or_default().to_owned();
            containers::answer(&Route::NoContainer(container))
        }
        other => containers::answer(&other),
    }
}
