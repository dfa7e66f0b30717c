//! Looking into results and base images: `ReadFile`, `ReadDir`, `StatFile` and `ResolveImageConfig` of the bridge.

use std::io::Read;
use std::sync::Arc;

use mica_buildkit::Methods;
use mica_buildkit::message::gateway::{
    ReadDirRequest, ReadDirResponse, ReadFileRequest, ReadFileResponse, ResolveImageConfigRequest,
    ResolveImageConfigResponse, StatFileRequest, StatFileResponse,
};
use mica_engine::{Error, FileTree as _, FileType, ImageRoot, RootFile, blocking};
use mica_oci::Platform;
use tonic::{Request, Status};

use crate::daemon::Daemon;
use crate::grpc::bridge::job;
use crate::grpc::delivery::stat;
use crate::grpc::job::Job;
use crate::grpc::{lender, refused};

/// The most bytes of a file that go into one answer: a message may be 16 MiB.
const FILE_LIMIT: u64 = 15 << 20;

/// Adds the methods.
pub(super) fn methods(methods: Methods, daemon: &Arc<Daemon>) -> Methods {
    let with = || daemon.clone();
    let (files, folders, stats, images) = (with(), with(), with(), with());
    methods
        .unary(
            "/moby.buildkit.v1.frontend.LLBBridge/ReadFile",
            move |request: Request<ReadFileRequest>| read_file(files.clone(), request),
        )
        .unary(
            "/moby.buildkit.v1.frontend.LLBBridge/ReadDir",
            move |request: Request<ReadDirRequest>| read_dir(folders.clone(), request),
        )
        .unary(
            "/moby.buildkit.v1.frontend.LLBBridge/StatFile",
            move |request: Request<StatFileRequest>| stat_file(stats.clone(), request),
        )
        .unary(
            "/moby.buildkit.v1.frontend.LLBBridge/ResolveImageConfig",
            move |request: Request<ResolveImageConfigRequest>| image_config(images.clone(), request),
        )
}

/// Looks into the result of this name on a thread.
async fn look<T: Send + 'static>(
    daemon: &Daemon,
    job: &Job,
    name: &str,
    look: impl FnOnce(&ImageRoot) -> Result<T, Error> + Send + 'static,
) -> Result<T, Status> {
    let image = job.result(name)?;
    let engine = daemon.engine.clone();
    blocking(move || look(&engine.root_of(&image)?))
        .await
        .map_err(|error| refused(&error, None))
}

async fn read_file(
    daemon: Arc<Daemon>,
    request: Request<ReadFileRequest>,
) -> Result<ReadFileResponse, Status> {
    let job = job(&daemon, &request).await?;
    let ReadFileRequest {
        reference,
        path,
        range,
    } = request.into_inner();
    let range = range.unwrap_or_default();
    let (Ok(offset), Ok(length)) = (u64::try_from(range.offset), u64::try_from(range.length)) else {
        return Err(Status::invalid_argument("a range below 0"));
    };
    let limit = if length == 0 {
        FILE_LIMIT + 1
    } else {
        length.min(FILE_LIMIT)
    };
    let data = look(&daemon, &job, &reference, move |root| {
        let file = root.resolve(&path)?;
        let mut reader = root.open(&file.path)?;
        let skipped = std::io::copy(&mut (&mut reader).take(offset), &mut std::io::sink());
        let mut data = Vec::new();
        skipped
            .and_then(|_| reader.take(limit).read_to_end(&mut data))
            .map_err(Error::sending)?;
        Ok(data)
    })
    .await?;
    if length == 0 && data.len() as u64 > FILE_LIMIT {
        return Err(Status::resource_exhausted(format!(
            "the file is longer than {FILE_LIMIT} bytes: ask for a range of it"
        )));
    }
    Ok(ReadFileResponse { data })
}

async fn read_dir(daemon: Arc<Daemon>, request: Request<ReadDirRequest>) -> Result<ReadDirResponse, Status> {
    let job = job(&daemon, &request).await?;
    let ReadDirRequest {
        reference,
        path,
        include_pattern,
    } = request.into_inner();
    let entries = look(&daemon, &job, &reference, move |root| {
        let directory = root.resolve(&path)?;
        let files = root.list(&directory.path, &include_pattern)?;
        Ok(files.iter().map(named).collect())
    })
    .await?;
    Ok(ReadDirResponse { entries })
}

async fn stat_file(
    daemon: Arc<Daemon>,
    request: Request<StatFileRequest>,
) -> Result<StatFileResponse, Status> {
    let job = job(&daemon, &request).await?;
    let StatFileRequest { reference, path } = request.into_inner();
    let file = look(&daemon, &job, &reference, move |root| root.resolve(&path)).await?;
    Ok(StatFileResponse {
        stat: Some(named(&file)),
    })
}

/// A file by its name alone.
fn named(file: &RootFile) -> mica_buildkit::Stat {
    let mut found = stat(file);
    let name = found.path.rsplit('/').next().unwrap_or_default().to_owned();
    found.path = if name.is_empty() && file.meta.kind == FileType::Directory {
        "/".to_owned()
    } else {
        name
    };
    found
}

async fn image_config(
    daemon: Arc<Daemon>,
    request: Request<ResolveImageConfigRequest>,
) -> Result<ResolveImageConfigResponse, Status> {
    let job = job(&daemon, &request).await?;
    let ResolveImageConfigRequest {
        reference,
        platform,
        resolve_mode,
    } = request.into_inner();
    let platform = platform
        .map(|platform| {
            let text = [&platform.os, &platform.architecture, &platform.variant];
            let parts: Vec<&str> = text
                .iter()
                .map(|part| part.as_str())
                .filter(|part| !part.is_empty())
                .collect();
            parts.join("/").parse::<Platform>()
        })
        .transpose()
        .map_err(|error| Status::invalid_argument(format!("{error}")))?;
    let keyring = job
        .session
        .as_ref()
        .map(|named| lender::keyring(named.session.clone(), job.cancel.clone()))
        .unwrap_or_default();
    let (engine, cancel, name) = (daemon.engine.clone(), job.cancel.clone(), reference.clone());
    let image = blocking(move || {
        engine.base_image(
            &name,
            platform.as_ref(),
            resolve_mode == "pull",
            &keyring,
            &cancel,
        )
    })
    .await
    .map_err(|error| refused(&error, None))?;
    Ok(ResolveImageConfigResponse {
        digest: image.id.to_string(),
        config: image.config.bytes().to_vec(),
        reference,
    })
}
