//! Brings the result of a build where it goes: into the store under names, or to the client as files or as a tar.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mica_engine::{Engine, blocking};
use mica_oci::{Attestation, Attested, ImageId, Reference};
use mica_task::{Cancel, Chore, Event};
use tonic::Status;

use crate::daemon::Daemon;
use crate::grpc::delivery::{Out, send_archive, send_blobs, send_files, tell};
use crate::grpc::job::{Job, Returned};
use crate::grpc::target::Target;
use crate::grpc::{push, refused, several};

/// In what clients are told of a result: the image's ID.
pub(super) const IMAGE: &str = "containerimage.config.digest";
/// What is told where an image goes without what is said of it.
const LEFT_OUT: &str =
    "attestations travel only with --push or an output of type oci, local or tar: here the image goes alone";

/// What is said of an image.
fn said_of(job: &Job, image: &ImageId) -> Arc<[Attestation]> {
    job.attested().remove(image).unwrap_or_default()
}

/// What goes with an image into an archive: docker's own form has no place for more than the image.
fn going_along(job: &Job, is_docker: bool) -> Attested {
    match is_docker {
        true => Attested::new(),
        false => job.attested(),
    }
}

/// Brings a result to all its places; what clients are told of it.
pub(super) async fn export(
    daemon: &Arc<Daemon>,
    job: &Arc<Job>,
    returned: Returned,
    targets: Vec<Target>,
) -> Result<HashMap<String, String>, Status> {
    let mut answer = HashMap::new();
    if !job.attested().is_empty() && targets.iter().any(Target::leaves_out) {
        job.tell(Event::Note {
            step: None,
            text: LEFT_OUT.to_owned(),
        })
        .await;
    }
    for target in targets {
        answer.extend(match &returned {
            Returned::Nothing => HashMap::new(),
            Returned::Image(image) => export_image(daemon, job, *image, target).await?,
            Returned::Images(images) => several::export(daemon, job, images, target).await?,
        });
    }
    Ok(answer)
}

async fn export_image(
    daemon: &Arc<Daemon>,
    job: &Arc<Job>,
    image: ImageId,
    target: Target,
) -> Result<HashMap<String, String>, Status> {
    match target {
        Target::Store { names, push } => {
            job.tell(Event::Begun { chore: Chore::Export }).await;
            let stored = store(daemon, job, image, &names, push).await;
            let failure = stored.as_ref().err().map(|status| status.message().to_owned());
            let chore = Chore::Export;
            job.tell(Event::Ended { chore, failure }).await;
            stored
        }
        Target::Tar { number, .. } => {
            let said = said_of(job, &image);
            let write = move |engine: &Engine, out: &mut Out<'_>, cancel: &Cancel| {
                let root = engine.root_of(&image)?.with_statements(&said, cancel)?;
                root.write_tar(out, cancel)
            };
            tell(job, true, send_archive(daemon, job, number, write)).await?;
            Ok(HashMap::new())
        }
        Target::Archive {
            number,
            names,
            is_docker,
        } => {
            let said = going_along(job, is_docker);
            let told = archived(daemon, image, &names, &said).await?;
            let write = move |engine: &Engine, out: &mut Out<'_>, cancel: &Cancel| {
                let saving = engine.prepare_image(&image, names, said)?;
                engine.save(&saving, &mut cancel.guard(out))
            };
            tell(job, true, send_archive(daemon, job, number, write)).await?;
            Ok(told)
        }
        Target::Blobs { names, is_docker } => {
            let said = going_along(job, is_docker);
            let sending = send_blobs(daemon, job, image, (names.clone(), said.clone()));
            tell(job, false, sending).await?;
            archived(daemon, image, &names, &said).await
        }
        Target::Files { number, .. } => {
            let said = said_of(job, &image);
            let root = move |engine: &Engine, cancel: &Cancel| {
                engine.root_of(&image)?.with_statements(&said, cancel)
            };
            tell(job, false, send_files(daemon, job, number, root)).await?;
            Ok(HashMap::new())
        }
    }
}

/// Gives the image its names, and brings it to their registries if it is to be pushed.
async fn store(
    daemon: &Arc<Daemon>,
    job: &Job,
    image: ImageId,
    names: &[Reference],
    push: bool,
) -> Result<HashMap<String, String>, Status> {
    name_image(daemon, job, image, names).await?;
    let mut answer = described(&image, names);
    for name in names.iter().filter(|_| push) {
        let digest = push::image(daemon, job, name).await?;
        answer.insert("containerimage.digest".to_owned(), digest.to_string());
    }
    Ok(answer)
}

/// Gives an image that was built its names.
pub(super) async fn name_image(
    daemon: &Arc<Daemon>,
    job: &Job,
    image: ImageId,
    names: &[Reference],
) -> Result<(), Status> {
    job.tell(Event::Built { image }).await;
    let (engine, tags, held) = (daemon.engine.clone(), names.to_vec(), job.held(&image)?);
    blocking(move || engine.name(&held, &tags))
        .await
        .map_err(|error| refused(&error, None))?;
    for reference in names {
        if let Some(user) = job.user {
            daemon.names.given(user, reference);
        }
        let reference = reference.clone();
        job.tell(Event::Tagged { reference }).await;
    }
    Ok(())
}

/// What clients are told of an image (engine API contract, section 6.4). Here an image is its config; it has a manifest once
/// it is pushed.
pub(super) fn described(image: &ImageId, names: &[Reference]) -> HashMap<String, String> {
    let mut found = HashMap::from([
        (IMAGE.to_owned(), image.to_string()),
        ("containerimage.digest".to_owned(), image.to_string()),
    ]);
    if !names.is_empty() {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        found.insert("image.name".to_owned(), names.join(","));
    }
    found
}

/// What clients are told of an image in an archive, or blob by blob: it has a manifest there.
async fn archived(
    daemon: &Arc<Daemon>,
    image: ImageId,
    names: &[Reference],
    said: &Attested,
) -> Result<HashMap<String, String>, Status> {
    let (engine, listed, said) = (daemon.engine.clone(), names.to_vec(), said.clone());
    let descriptor = blocking(move || engine.describe(&engine.prepare_image(&image, listed, said)?))
        .await
        .map_err(|error| refused(&error, None))?;
    let json = serde_json::to_vec(&descriptor).map_err(|error| Status::internal(error.to_string()))?;
    let mut found = described(&image, names);
    found.extend([
        ("containerimage.digest".to_owned(), descriptor.digest.to_string()),
        ("containerimage.descriptor".to_owned(), STANDARD.encode(json)),
    ]);
    Ok(found)
}
