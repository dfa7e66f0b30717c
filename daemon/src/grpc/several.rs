//! Where a result for several platforms goes: to registries as an index, to the client as one archive or with a folder for
//! each platform; in the store a name means one image.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use mica_engine::{Engine, Error, ImageRoot, Roots};
use mica_oci::{Attested, Descriptor, PlatformImage, Reference};
use mica_task::{Cancel, Chore, Event};
use tonic::Status;

use crate::daemon::Daemon;
use crate::grpc::delivery::{Out, send_archive, send_files, tell};
use crate::grpc::export::{described, name_image};
use crate::grpc::job::Job;
use crate::grpc::target::Target;
use crate::grpc::{platforms, push};

/// BuildKit's words for what docker's archives cannot hold.
const NO_LISTS: &str = "docker exporter does not currently support exporting manifest lists";

/// Brings images to a place; what clients are told of it.
pub(super) async fn export(
    daemon: &Arc<Daemon>,
    job: &Arc<Job>,
    images: &[PlatformImage],
    target: Target,
) -> Result<HashMap<String, String>, Status> {
    let roots = |is_split| {
        let (images, said) = (images.to_vec(), job.attested());
        move |engine: &Engine, cancel: &Cancel| roots(engine, (&images, &said), is_split, cancel)
    };
    match target {
        Target::Store { names, push } => store(daemon, job, images, &names, push).await,
        Target::Archive { is_docker: true, .. } | Target::Blobs { is_docker: true, .. } => {
            Err(Status::invalid_argument(NO_LISTS))
        }
        Target::Blobs { .. } => Err(Status::unimplemented(
            "images for several platforms are not written as a folder by micad: use type=oci without tar=false",
        )),
        Target::Archive { number, names, .. } => {
            let (images, said) = (images.to_vec(), job.attested());
            let listed = names.clone();
            let write = move |engine: &Engine, out: &mut Out<'_>, cancel: &Cancel| {
                let saving = engine.prepare_index(&images, listed, said)?;
                engine.save_index(&saving, &mut cancel.guard(out))
            };
            let index = tell(job, true, send_archive(daemon, job, number, write)).await?;
            Ok(told(&index, &names))
        }
        Target::Tar { number, is_split } => {
            let roots = roots(is_split);
            let write = move |engine: &Engine, out: &mut Out<'_>, cancel: &Cancel| {
                roots(engine, cancel)?.write_tar(out, cancel)
            };
            tell(job, true, send_archive(daemon, job, number, write)).await?;
            Ok(HashMap::new())
        }
        Target::Files { number, is_split } => {
            tell(job, false, send_files(daemon, job, number, roots(is_split))).await?;
            Ok(HashMap::new())
        }
    }
}

fn roots(
    engine: &Engine,
    (images, said): (&[PlatformImage], &Attested),
    is_split: bool,
    cancel: &Cancel,
) -> Result<Roots, Error> {
    let root = |image: &PlatformImage| {
        let name = match is_split {
            true => platforms::folder(&image.platform),
            false => image.platform.to_string(),
        };
        let root = engine.root_of(&image.image)?;
        let said = said.get(&image.image).map_or(&[][..], |said| said);
        Ok((name, root.with_statements(said, cancel)?))
    };
    let roots: Vec<(String, ImageRoot)> = images.iter().map(root).collect::<Result<_, Error>>()?;
    Roots::new(roots, is_split, cancel)
}

/// Gives the image for this machine its names, and brings all to their registries if they are to be pushed.
async fn store(
    daemon: &Arc<Daemon>,
    job: &Job,
    images: &[PlatformImage],
    names: &[Reference],
    push: bool,
) -> Result<HashMap<String, String>, Status> {
    let chore = || Chore::Export;
    job.tell(Event::Begun { chore: chore() }).await;
    let stored = keep(daemon, job, images, names, push).await;
    let failure = stored.as_ref().err().map(|status| status.message().to_owned());
    let chore = chore();
    job.tell(Event::Ended { chore, failure }).await;
    stored
}

async fn keep(
    daemon: &Arc<Daemon>,
    job: &Job,
    images: &[PlatformImage],
    names: &[Reference],
    push: bool,
) -> Result<HashMap<String, String>, Status> {
    let main = PlatformImage::main(images).ok_or_else(|| Status::internal("a result of no platform"))?;
    name_image(daemon, job, main.image, names).await?;
    let mut answer = described(&main.image, names);
    if !push {
        if let Some(text) = left_out(images, main) {
            job.tell(Event::Note { step: None, text }).await;
        }
        return Ok(answer);
    }
    for name in names {
        let index = push::index(daemon, job, images, name).await?;
        answer = told(&index, names);
    }
    Ok(answer)
}

/// What is said where a name means one of several images; nothing where there is only one.
pub(crate) fn left_out(images: &[PlatformImage], main: &PlatformImage) -> Option<String> {
    let others = images.iter().filter(|image| image.image != main.image);
    let others: Vec<String> = others.map(|image| image.platform.to_string()).collect();
    (!others.is_empty()).then(|| {
        format!(
            "the name means the image for {}; those for {} are here without one: hand all on with --push, or with type=oci",
            main.platform,
            others.join(", ")
        )
    })
}

/// What clients are told of an index (BuildKit's keys).
fn told(index: &Descriptor, names: &[Reference]) -> HashMap<String, String> {
    let mut found = HashMap::from([("containerimage.digest".to_owned(), index.digest.to_string())]);
    if let Ok(bytes) = serde_json::to_vec(index) {
        found.insert("containerimage.descriptor".to_owned(), BASE64.encode(bytes));
    }
    if !names.is_empty() {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        found.insert("image.name".to_owned(), names.join(","));
    }
    found
}
