//! The service `moby.buildkit.v1.Control`: whole builds, and how they go.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use mica_buildkit::message::control::{
    BuildHistoryEvent, BuildHistoryRequest, HealthRequest, HealthResponse, InfoRequest, InfoResponse,
    ListWorkersRequest, ListWorkersResponse, SolveRequest, SolveResponse, StatusRequest,
    UpdateBuildHistoryRequest, UpdateBuildHistoryResponse,
};
use mica_buildkit::{Messages, Methods};
use mica_task::Cancel;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};

use crate::daemon::Daemon;
use crate::grpc::bridge::{self, DOCKERFILE};
use crate::grpc::caching::Caching;
use crate::grpc::frontend::Asked;
use crate::grpc::history::Recording;
use crate::grpc::job::{Job, Returned, cancelled};
use crate::grpc::rights::{self, may};
use crate::grpc::target::{self, Target};
use crate::grpc::{export, tunnel, worker};
use crate::rights::Peer;
use crate::work::Task;

type StatusMessages = Messages<mica_buildkit::message::control::StatusResponse>;

/// The status of a service that answers (`grpc.health.v1`).
const SERVING: i32 = 1;

/// Adds the methods.
pub(super) fn methods(methods: Methods, daemon: &Arc<Daemon>, peer: &Peer) -> Methods {
    let with = || daemon.clone();
    let solving = peer.clone();
    let (workers, solver, status, tunnel) = (with(), with(), with(), with());
    let (listener, updater) = (with(), with());
    methods
        .unary(
            "/moby.buildkit.v1.Control/Info",
            |_: Request<InfoRequest>| async {
                Ok(InfoResponse {
                    version: Some(worker::version()),
                })
            },
        )
        .unary(
            "/moby.buildkit.v1.Control/ListWorkers",
            move |_: Request<ListWorkersRequest>| {
                let record = vec![worker::worker(&workers.engine)];
                async move { Ok(ListWorkersResponse { record }) }
            },
        )
        .unary(
            "/moby.buildkit.v1.Control/Solve",
            move |request: Request<SolveRequest>| {
                solve(solver.clone(), solving.clone(), request.into_inner())
            },
        )
        .stream_after(
            "/moby.buildkit.v1.Control/Status",
            move |request: Request<StatusRequest>| told(status.clone(), request.into_inner()),
        )
        .stream_after(
            "/moby.buildkit.v1.Control/ListenBuildHistory",
            move |request: Request<BuildHistoryRequest>| {
                let events = listener.history.listen(request.get_ref());
                async move {
                    let events: Messages<BuildHistoryEvent> = Box::pin(ReceiverStream::new(events?));
                    Ok((clock(), events))
                }
            },
        )
        .unary(
            "/moby.buildkit.v1.Control/UpdateBuildHistory",
            move |request: Request<UpdateBuildHistoryRequest>| {
                let updated = updater.history.update(request.get_ref());
                async move { updated.map(|()| UpdateBuildHistoryResponse {}) }
            },
        )
        .exchange("/moby.buildkit.v1.Control/Session", move |request| {
            tunnel::session(tunnel.clone(), request)
        })
        .unary(
            "/grpc.health.v1.Health/Check",
            |_: Request<HealthRequest>| async { Ok(HealthResponse { status: SERVING }) },
        )
}

/// Builds, or waits until the client has built by the gateway, and brings the result where it is to go.
async fn solve(daemon: Arc<Daemon>, peer: Peer, request: SolveRequest) -> Result<SolveResponse, Status> {
    let (right, what) = rights::solve_right(&request);
    may(&daemon, &peer, right, what)?;
    let session = match request.session.as_str() {
        "" => None,
        name => Some(daemon.sessions.get(name).await?),
    };
    let cancel = Cancel::new();
    // the daemon's end is this build's too
    let registered = daemon.builds.begin(Some(&request.reference), &cancel);
    let recording = Recording::of(&request);
    let job = Job::new(
        session,
        request.entitlements.clone(),
        Caching::of(&request).unwrap_or_default(),
        cancel,
        registered.number(),
    )
    .recorded(recording.clone())
    .of_user(peer.user);
    // a client that goes away drops this, and with it the build
    let running = daemon.jobs.begin(request.reference.clone(), job)?;
    // a client's look at what is possible is no build
    let work = (!request.internal).then(|| daemon.work(Task::Build, names(&request)));
    let recorder = recording.map(|recording| daemon.history.begin(recording));
    let answer = solve_job(&daemon, &running.job, &request).await;
    if let Some(recorder) = recorder {
        recorder.end(answer.as_ref());
    }
    if let Some(work) = work {
        work.end_called(&answer);
    }
    answer
}

/// What the result is to be called, as it is written.
fn names(request: &SolveRequest) -> Vec<String> {
    let new = request.exporters.iter().map(|exporter| &exporter.attrs);
    let lists = new
        .chain([&request.exporter_attrs])
        .filter_map(|attrs| attrs.get(target::NAME));
    lists
        .flat_map(|list| list.split(','))
        .map(str::to_owned)
        .collect()
}

async fn solve_job(
    daemon: &Arc<Daemon>,
    job: &Arc<Job>,
    request: &SolveRequest,
) -> Result<SolveResponse, Status> {
    // only now: whoever asked for what is told of this build learns that it has ended
    let targets = target::targets(request)?;
    Caching::of(request)?;
    refuse(request)?;
    let built = async {
        match request.frontend.as_str() {
            "" => job.returned().await,
            DOCKERFILE => {
                let imports = request.cache.clone().unwrap_or_default().imports;
                {
                    let asked = Asked::read(request.frontend_attrs.clone(), job, &imports)?;
                    let asked = asked.with_inputs(request.frontend_inputs.clone());
                    built_directly(daemon, job, asked).await
                }
            }
            other => Err(bridge::unknown_frontend(other)),
        }
    };
    let exported = carry(daemon, job, built, targets).await;
    exported.map(|exporter_response| SolveResponse { exporter_response })
}

/// Waits for what is built, at most until the build is to stop, and brings it where it is to go; what clients are told of it.
pub(super) async fn carry(
    daemon: &Arc<Daemon>,
    job: &Arc<Job>,
    built: impl Future<Output = Result<Returned, Status>>,
    targets: Vec<Target>,
) -> Result<HashMap<String, String>, Status> {
    let gone = async {
        match &job.session {
            Some(session) => session.session.gone().await,
            None => std::future::pending().await,
        }
    };
    let returned = tokio::select! {
        returned = built => returned,
        () = gone => Err(Status::cancelled("the client's session is gone")),
        () = cancelled(&job.cancel) => Err(Status::cancelled("the build was stopped")),
    };
    if returned.is_err() {
        // what still goes on of it is not wanted, and need not be waited for
        job.cancel.cancel();
    }
    let exported = match returned {
        Ok(image) => export::export(daemon, job, image, targets).await,
        Err(status) => Err(status),
    };
    job.close().await;
    exported
}

/// Builds for a client that leaves it all to the daemon.
async fn built_directly(daemon: &Arc<Daemon>, job: &Arc<Job>, asked: Asked) -> Result<Returned, Status> {
    if asked.answer(job).await.is_some() {
        return Err(Status::unimplemented(
            "what a Dockerfile takes is told by the gateway: its answer is no image",
        ));
    }
    bridge::build(daemon, job, asked).await
}

/// What is asked and cannot be done.
fn refuse(request: &SolveRequest) -> Result<(), Status> {
    let is_plan = request
        .definition
        .as_ref()
        .is_some_and(|plan| !plan.def.is_empty());
    if is_plan && request.frontend.is_empty() {
        return Err(Status::unimplemented("micad carries out Dockerfiles, not LLB"));
    }
    Ok(())
}

/// What is told of a build while it goes on.
async fn told(daemon: Arc<Daemon>, request: StatusRequest) -> Result<(MetadataMap, StatusMessages), Status> {
    let name = &request.reference;
    // the build's own client hears all of it; others, and those who come later, what was written down
    let told = match daemon.jobs.untold(name).or_else(|| daemon.history.told(name)) {
        Some(told) => told,
        None => match daemon.jobs.listen(name).await {
            Ok(told) => told,
            // somebody else was faster
            Err(status) => daemon.history.told(name).ok_or(status)?,
        },
    };
    Ok((clock(), Box::pin(ReceiverStream::new(told).map(Ok))))
}

/// Tells what time it is here, as clients look for it (BuildKit `control`).
fn clock() -> MetadataMap {
    let mut map = MetadataMap::new();
    if let Ok(now) = Timestamp::now().to_string().parse() {
        map.insert("buildkit-current-timestamp", now);
    }
    map
}
