//! The service `moby.buildkit.v1.frontend.LLBBridge`: what a client asks while a build of its own goes on. Each call names the
//! build in its metadata.

use std::collections::HashMap;
use std::sync::Arc;

use mica_buildkit::Methods;
use mica_buildkit::message::gateway::{
    ApiCap, BuildResult, EvaluateRequest, EvaluateResponse, InputsRequest, InputsResponse, PingRequest,
    PongResponse, Ref, ResultRef, ReturnRequest, ReturnResponse, SolveRequest, SolveResponse, WarnRequest,
    WarnResponse,
};
use mica_engine::{blocking, events};
use mica_oci::ImageId;
use mica_task::{Chore, Event};
use tonic::{Code, Request, Status};

use crate::daemon::Daemon;
use crate::grpc::frontend::Asked;
use crate::grpc::job::{Job, Returned, cancelled};
use crate::grpc::{plan, refused, status, worker};

/// The one frontend there is.
pub(super) const DOCKERFILE: &str = "dockerfile.v0";

/// In the metadata of a call: the build it belongs to.
const BUILD_ID: &str = "buildkit-controlapi-buildid";

/// What can be asked of this service (engine API contract, section 6.3). A client that is told nothing believes in less than
/// there is.
const FRONTEND_CAPS: [&str; 18] = [
    "reference.output",
    "solve.base",
    "resolveimage",
    "resolveimage.resolvemode",
    "readfile",
    "readdir",
    "statfile",
    "solve.inlinereturn",
    "return",
    "returnmap",
    "proto.refarray",
    "frontend.inputs",
    "frontend.caps",
    "importcaches",
    "gateway.solve.metadata",
    "gateway.evaluate",
    "gateway.solve.evaluate",
    "gateway.warnings",
];

/// What may stand in a plan: what clients put into those of named contexts; and that images go out with attestations.
const LLB_CAPS: [&str; 13] = [
    "exporter.image.attestations",
    "source.image",
    "source.local",
    "source.local.unique",
    "source.local.sessionid",
    "source.local.includepatterns",
    "source.local.followpaths",
    "source.local.excludepatterns",
    "source.local.sharedkeyhint",
    "source.git",
    "source.http",
    "constraints",
    "platform",
];

/// Adds the methods.
pub(super) fn methods(methods: Methods, daemon: &Arc<Daemon>) -> Methods {
    let with = || daemon.clone();
    let (pinged, solver, returner, asked, evaluated, warned) =
        (with(), with(), with(), with(), with(), with());
    methods
        .unary(path("Ping"), move |request: Request<PingRequest>| {
            let daemon = pinged.clone();
            async move {
                job(&daemon, &request).await?;
                Ok(pong(&daemon))
            }
        })
        .unary(path("Solve"), move |request: Request<SolveRequest>| {
            let daemon = solver.clone();
            async move {
                let job = job(&daemon, &request).await?;
                solve(&daemon, &job, request.into_inner()).await
            }
        })
        .unary(path("Return"), move |request: Request<ReturnRequest>| {
            let daemon = returner.clone();
            async move {
                let job = job(&daemon, &request).await?;
                job.finish(returned(&job, request.into_inner()));
                Ok(ReturnResponse {})
            }
        })
        .unary(path("Inputs"), move |request: Request<InputsRequest>| {
            let daemon = asked.clone();
            async move {
                job(&daemon, &request).await?;
                Ok(InputsResponse::default())
            }
        })
        .unary(path("Evaluate"), move |request: Request<EvaluateRequest>| {
            let daemon = evaluated.clone();
            async move {
                let job = job(&daemon, &request).await?;
                // whatever has a name was built before it got it
                job.result(&request.get_ref().reference)?;
                Ok(EvaluateResponse {})
            }
        })
        .unary(path("Warn"), move |request: Request<WarnRequest>| {
            let daemon = warned.clone();
            async move {
                let job = job(&daemon, &request).await?;
                let text = String::from_utf8_lossy(&request.get_ref().short).into_owned();
                job.tell(Event::Warning {
                    text,
                    line: None,
                    finding: None,
                })
                .await;
                Ok(WarnResponse {})
            }
        })
}

fn path(method: &str) -> mica_buildkit::Method {
    match method {
        "Ping" => "/moby.buildkit.v1.frontend.LLBBridge/Ping",
        "Solve" => "/moby.buildkit.v1.frontend.LLBBridge/Solve",
        "Return" => "/moby.buildkit.v1.frontend.LLBBridge/Return",
        "Inputs" => "/moby.buildkit.v1.frontend.LLBBridge/Inputs",
        "Evaluate" => "/moby.buildkit.v1.frontend.LLBBridge/Evaluate",
        _ => "/moby.buildkit.v1.frontend.LLBBridge/Warn",
    }
}

/// The build that a call belongs to.
pub(super) async fn job<T>(daemon: &Daemon, request: &Request<T>) -> Result<Arc<Job>, Status> {
    let name = request
        .metadata()
        .get(BUILD_ID)
        .and_then(|name| name.to_str().ok());
    match name {
        Some(name) => daemon.jobs.get(name).await,
        None => Err(Status::invalid_argument(format!(
            "a call without {BUILD_ID} in its metadata"
        ))),
    }
}

fn pong(daemon: &Daemon) -> PongResponse {
    let caps = |names: &[&str]| {
        let cap = |name: &&str| ApiCap {
            id: (*name).to_owned(),
            enabled: true,
        };
        names.iter().map(cap).collect()
    };
    PongResponse {
        frontend_api_caps: caps(&FRONTEND_CAPS),
        llb_caps: caps(&LLB_CAPS),
        workers: vec![worker::worker(&daemon.engine)],
    }
}

async fn solve(daemon: &Arc<Daemon>, job: &Arc<Job>, request: SolveRequest) -> Result<SolveResponse, Status> {
    let answer = |image: Option<&ImageId>, metadata: HashMap<String, Vec<u8>>| {
        let id = image.map(|image| image.digest().hex()).unwrap_or_default();
        SolveResponse {
            reference: match request.allow_result_return {
                true => String::new(),
                false => id.clone(),
            },
            result: Some(BuildResult {
                result: Some(match request.allow_result_array_ref {
                    true => ResultRef::Ref(Ref {
                        id,
                        def: image.map(plan::of),
                    }),
                    false => ResultRef::Name(id),
                }),
                metadata,
            }),
        }
    };
    match request.frontend.as_str() {
        DOCKERFILE | "gateway.v0" => {}
        "" if request.definition.as_ref().is_none_or(|plan| plan.def.is_empty()) => {
            return Ok(answer(None, HashMap::new()));
        }
        "" => return Err(Status::unimplemented("micad carries out Dockerfiles, not LLB")),
        other => return Err(unknown_frontend(other)),
    }
    let asked = Asked::read(request.frontend_opt.clone(), job, &request.cache_imports)?
        .with_inputs(request.frontend_inputs.clone());
    if let Some(answered) = asked.answer(job).await {
        return Ok(answer(None, answered?));
    }
    let image = build(daemon, job, asked).await?;
    job.keep(image.digest().hex(), image);
    Ok(answer(Some(&image), HashMap::new()))
}

/// What is said of a frontend that is not there.
pub(super) fn unknown_frontend(name: &str) -> Status {
    Status::unimplemented(format!(
        "frontend {name:?} is not supported by micad: use {DOCKERFILE}"
    ))
}

/// What the client says its build comes to.
fn returned(job: &Job, request: ReturnRequest) -> Result<Returned, Status> {
    if let Some(error) = request.error {
        let code = match Code::from_i32(error.code) {
            // an error is none that is said to be fine
            Code::Ok => Code::Unknown,
            code => code,
        };
        return Err(status(code, error.message, error.details));
    }
    let name = match request.result.and_then(|result| result.result) {
        None => return Ok(None),
        Some(ResultRef::Name(name)) => name,
        Some(ResultRef::Ref(reference)) => reference.id,
        Some(ResultRef::Names(names)) => only(names.refs.into_values())?,
        Some(ResultRef::Refs(refs)) => only(refs.refs.into_values().map(|reference| reference.id))?,
    };
    match name.as_str() {
        "" => Ok(None),
        name => job.result(name).map(Some),
    }
}

fn only(mut names: impl Iterator<Item = String>) -> Result<String, Status> {
    match (names.next(), names.next()) {
        (None, _) => Ok(String::new()),
        (Some(name), None) => Ok(name),
        (Some(_), Some(_)) => Err(Status::unimplemented(
            "images for several platforms are not supported by micad yet",
        )),
    }
}

/// Builds what is asked.
pub(super) async fn build(daemon: &Arc<Daemon>, job: &Arc<Job>, asked: Asked) -> Result<ImageId, Status> {
    let (request, input) = tokio::select! {
        gathered = asked.gather(job) => gathered?,
        () = cancelled(&job.cancel) => return Err(Status::cancelled("the build was given up")),
    };
    let (reporter, mut told) = events();
    let (engine, cancel) = (daemon.engine.clone(), job.cancel.clone());
    let busy = daemon.activity.begin();
    let building = tokio::spawn(async move {
        blocking(move || {
            let built = engine.build(request, input, reporter, cancel);
            let held = built.and_then(|outcome| {
                let held = engine.hold(&outcome.image)?;
                Ok((held, outcome.attestations))
            });
            drop(busy);
            held
        })
        .await
    });
    while let Some(event) = told.recv().await {
        // naming the image is the client's last step, not the build's
        let is_export = matches!(
            &event,
            Event::Begun { chore: Chore::Export }
                | Event::Ended {
                    chore: Chore::Export,
                    ..
                }
                | Event::Built { .. }
        );
        if !is_export {
            job.tell(event).await;
        }
    }
    let built = building
        .await
        .map_err(|_| Status::internal("the build broke down"))?;
    let (held, said) = built.map_err(|error| refused(&error, job.dockerfile().as_ref()))?;
    let image = held.id();
    job.attest(image, said);
    job.hold(held);
    Ok(image)
}
