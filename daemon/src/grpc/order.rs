//! Builds that `POST /build?version=2` asks for as a whole. What is told of one and what it comes to go to who ordered it.

use std::sync::Arc;

use mica_buildkit::message::control::Exporter;
use mica_engine::BuildRequest;
use mica_oci::Reference;
use mica_task::Cancel;
use tonic::Status;

use crate::daemon::Daemon;
use crate::grpc::caching::Caching;
use crate::grpc::frontend::{Asked, Origin, Tar};
use crate::grpc::job::{Job, Told};
use crate::grpc::sessions::Named;
use crate::grpc::{bridge, control, export, target};
use crate::work::{Task, familiar};

/// Where a result goes that nobody says anything of: into the store.
const STORE: &str = "moby";
/// What an output is called that is none: the build only fills the cache.
const NOWHERE: &str = "cacheonly";

/// What is to be built, and for whom.
pub(crate) struct Order {
    /// What the client calls the build.
    pub(crate) name: Option<String>,
    /// The session that answers for the client.
    pub(crate) session: Option<Named>,
    /// What is to be built.
    pub(crate) request: BuildRequest,
    /// Where its context is from.
    pub(crate) origin: Origin,
    /// Where the result goes, if it is not the store.
    pub(crate) output: Option<Exporter>,
    /// The user who asks.
    pub(crate) user: u32,
}

/// Begins a build: what is told of it, and its end, which is the ID of an image unless the result went elsewhere. It goes on
/// as long as the latter is awaited.
pub(crate) fn begin(
    daemon: &Arc<Daemon>,
    order: Order,
) -> Result<
    (
        Told,
        impl Future<Output = Result<Option<String>, Status>> + Send + use<>,
    ),
    Status,
> {
    let Order { request, origin, .. } = order;
    let targets = targets(order.output, &request.tags)?;
    if order.session.is_none() && matches!(origin, Origin::Folder) {
        return Err(Status::invalid_argument(
            "the build names no session that could send its files",
        ));
    }
    let cancel = Cancel::new();
    let registered = daemon.builds.begin(order.name.as_deref(), &cancel);
    let number = registered.number();
    let job = Job::new(order.session, Vec::new(), Caching::default(), cancel, number).of_user(order.user);
    let job = match origin {
        Origin::Upload => job.awaiting_upload(),
        _ => job,
    };
    let name = order.name.unwrap_or_else(|| format!("/build {number}"));
    let running = daemon.jobs.begin(name, job)?;
    let work = daemon.work(Task::Build, familiar(&request.tags));
    let job = running.job.clone();
    let told = job.told().ok_or_else(|| {
        // it is its own, and nobody else knew of it
        Status::internal("somebody else heard the build")
    })?;
    let daemon = daemon.clone();
    let asked = Asked::of(request, origin);
    let building = async move {
        let built = bridge::build(&daemon, &job, asked);
        let answer = control::carry(&daemon, &job, built, targets).await;
        drop((running, registered));
        work.end_called(&answer);
        Ok(answer?.remove(export::IMAGE))
    };
    Ok((told, building))
}

/// The places the result goes to; images get the names that the build was asked to give.
fn targets(output: Option<Exporter>, names: &[Reference]) -> Result<Vec<target::Target>, Status> {
    let mut exporter = output.unwrap_or_else(|| Exporter {
        kind: STORE.to_owned(),
        ..Exporter::default()
    });
    if exporter.kind == NOWHERE {
        return Ok(Vec::new());
    }
    if !names.is_empty() {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        exporter.attrs.insert(target::NAME.to_owned(), names.join(","));
    }
    Ok(vec![target::target(&exporter, 0)?])
}

/// Hands a context to the build that waits for it, which may not have begun yet.
pub(crate) async fn upload(daemon: &Daemon, build: &str, tar: Tar) -> Result<(), Status> {
    daemon.jobs.get(build).await?.upload(tar)
}
