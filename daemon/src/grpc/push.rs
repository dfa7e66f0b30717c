//! Pushing the result of a build, with the credentials of its client.

use std::sync::Arc;

use mica_engine::{Credential, Error, IndexRequest, PushRequest, Sink, blocking, sink};
use mica_oci::{Descriptor, Digest, PlatformImage, Reference};
use mica_task::{Chore, Event};
use tonic::Status;

use crate::daemon::Daemon;
use crate::grpc::job::Job;
use crate::grpc::{lender, refused};

/// Pushes the image that has a name; the digest of its manifest.
pub(super) async fn image(daemon: &Arc<Daemon>, job: &Job, name: &Reference) -> Result<Digest, Status> {
    let request = PushRequest {
        repository: name.repository.clone(),
        tag: name.tag.clone(),
        platform: None,
        credential: credential(job, name).await?,
        compression: None,
        attested: job.attested(),
    };
    tell(job, name, async |sink| {
        let pushed = daemon.engine.push(&request, sink).await?;
        Ok(pushed.last().map(|last| (last.digest, last.size)))
    })
    .await
}

/// Pushes an index of images under a name.
pub(super) async fn index(
    daemon: &Arc<Daemon>,
    job: &Job,
    images: &[PlatformImage],
    name: &Reference,
) -> Result<Descriptor, Status> {
    let request = IndexRequest {
        repository: name.repository.clone(),
        tags: name.tag.clone().into_iter().collect(),
        images: images.to_vec(),
        credential: credential(job, name).await?,
        compression: None,
        attested: job.attested(),
    };
    tell(job, name, async |sink| {
        let descriptor = daemon.engine.push_index(&request, sink).await?.descriptor;
        let size = descriptor.size;
        Ok(Some((descriptor, size)))
    })
    .await
}

/// What the client's keyring has for the registry of a name.
async fn credential(job: &Job, name: &Reference) -> Result<Credential, Status> {
    let keyring = job
        .session
        .as_ref()
        .map(|named| lender::keyring(named.session.clone(), job.cancel.clone()));
    let registry = name.repository.registry().to_owned();
    blocking(move || Ok(keyring.unwrap_or_default().of(&registry)))
        .await
        .map_err(|error| refused(&error, None))
}

/// Tells that something is pushed under a name, and at its end how many bytes its manifest has; gives what was pushed.
async fn tell<T>(
    job: &Job,
    name: &Reference,
    push: impl AsyncFnOnce(&Sink) -> Result<Option<(T, u64)>, Error>,
) -> Result<T, Status> {
    let told = |current| Event::Moved {
        chore: Chore::Export,
        // BuildKit's words
        what: format!("pushing manifest for {name}"),
        current,
        total: None,
    };
    job.tell(told(0)).await;
    let (sink, mut events) = sink();
    let unheard = async { while events.recv().await.is_some() {} };
    let pushing = async {
        let pushed = push(&sink).await;
        drop(sink);
        pushed
    };
    let (pushed, ()) = tokio::join!(pushing, unheard);
    let pushed = pushed.map_err(|error| refused(&error, None))?;
    let (pushed, size) = pushed.ok_or_else(|| Status::internal("nothing was pushed"))?;
    job.tell(told(size)).await;
    Ok(pushed)
}
