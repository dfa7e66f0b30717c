//! The service `moby.buildkit.v1.frontend.LLBBridge`: what a client asks while a build of its own goes on. Each call names the
//! build in its metadata.

use std::collections::HashMap;
use std::sync::Arc;

use mica_buildkit::Methods;
use mica_buildkit::message::gateway::{
    ApiCap, BuildResult, EvaluateRequest, EvaluateResponse, InputsRequest, InputsResponse, NameMap,
    PingRequest, PongResponse, Ref, RefMap, ResultRef, ReturnRequest, ReturnResponse, SolveRequest,
    SolveResponse, WarnRequest, WarnResponse,
};
use mica_engine::{blocking, events};
use mica_oci::{ImageId, PlatformImage};
use mica_task::{Chore, Event};
use tonic::{Code, Request, Status};

use crate::daemon::Daemon;
use crate::grpc::frontend::Asked;
use crate::grpc::job::{Job, Returned, cancelled};
use crate::grpc::{plan, platforms, refused, status, worker};

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
        let id = image.map(name_of).unwrap_or_default();
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
    match build(daemon, job, asked).await? {
        Returned::Nothing => Ok(answer(None, HashMap::new())),
        Returned::Image(image) => {
            job.keep(name_of(&image), image);
            Ok(answer(Some(&image), HashMap::new()))
        }
        Returned::Images(images) => {
            if !request.allow_result_return {
                return Err(Status::unimplemented(
                    "the client takes no result for several platforms: name one platform",
                ));
            }
            for image in &images {
                job.keep(name_of(&image.image), image.image);
            }
            Ok(SolveResponse {
                reference: String::new(),
                result: Some(BuildResult {
                    result: Some(by_platform(&images, request.allow_result_array_ref)),
                    metadata: platforms::metadata(&images)?,
                }),
            })
        }
    }
}

/// What an image is called among the results of its build.
fn name_of(image: &ImageId) -> String {
    image.digest().hex()
}

/// The names of images by platform.
fn by_platform(images: &[PlatformImage], with_plans: bool) -> ResultRef {
    let id = |image: &PlatformImage| (image.platform.to_string(), name_of(&image.image));
    match with_plans {
        false => ResultRef::Names(NameMap {
            refs: images.iter().map(id).collect(),
        }),
        true => {
            let reference = |image: &PlatformImage| {
                let (platform, id) = id(image);
                let def = Some(plan::of(&image.image));
                (platform, Ref { id, def })
            };
            ResultRef::Refs(RefMap {
                refs: images.iter().map(reference).collect(),
            })
        }
    }
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
    let Some(result) = request.result else {
        return Ok(Returned::Nothing);
    };
    let names: HashMap<String, String> = match result.result {
        None => return Ok(Returned::Nothing),
        Some(ResultRef::Name(name)) => return one(job, &name),
        Some(ResultRef::Ref(reference)) => return one(job, &reference.id),
        Some(ResultRef::Names(names)) => names.refs,
        Some(ResultRef::Refs(refs)) => {
            let refs = refs.refs.into_iter();
            refs.map(|(key, reference)| (key, reference.id)).collect()
        }
    };
    let found = platforms::read(&result.metadata, &names, |name| job.result(name))?;
    match (found, names.values().next()) {
        (Some(images), _) => Ok(Returned::Images(images)),
        (None, None) => Ok(Returned::Nothing),
        (None, Some(name)) if names.len() == 1 => one(job, name),
        // BuildKit's words
        (None, Some(_)) => Err(Status::invalid_argument(
            "unable to export multiple refs, missing platforms mapping",
        )),
    }
}

fn one(job: &Job, name: &str) -> Result<Returned, Status> {
    match name {
        "" => Ok(Returned::Nothing),
        name => job.result(name).map(Returned::Image),
    }
}

/// Builds what is asked.
pub(super) async fn build(daemon: &Arc<Daemon>, job: &Arc<Job>, asked: Asked) -> Result<Returned, Status> {
    let is_by_platform = asked.is_by_platform();
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
                let held = outcome.images.iter().map(|image| engine.hold(&image.image));
                Ok((
                    held.collect::<Result<Vec<_>, _>>()?,
                    outcome.image,
                    outcome.images,
                    outcome.attestations,
                ))
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
    let (held, image, images, said) = built.map_err(|error| refused(&error, job.dockerfile().as_ref()))?;
    job.attest(said);
    for held in held {
        job.hold(held);
    }
    Ok(match is_by_platform {
        true => Returned::Images(images),
        false => Returned::Image(image),
    })
}
