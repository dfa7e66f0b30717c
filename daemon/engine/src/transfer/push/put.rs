//! The end of a push: manifests, and indexes of an image with what is said of it.

use bytes::Bytes;
use mica_oci::media::OCI_MANIFEST;
use mica_oci::{Attestation, AttestationManifest, Descriptor, Digest, Index, Raw, Reference, Tag};
use mica_registry::Which;
use mica_task::TransferEvent;

use super::{HEAD_START, Push, Pushed, Sent};
use crate::bridge::blocking;
use crate::error::Error;
use crate::transfer::layer_source::StoredSource;
use crate::transfer::parcel::Parcel;

/// How often a manifest is put while the registry says that it lacks a blob of it.
const MANIFEST_TRIES: u32 = 5;

impl Push<'_> {
    /// Sends what is said of an image; gives the index of both.
    pub(super) async fn say(&self, sent: &Sent, said: &[Attestation]) -> Result<Raw<Index>, Error> {
        let named = |tag: &Tag| Reference::tagged(self.request.repository.clone(), tag.clone());
        let names: Vec<Reference> = sent.order.tags.iter().map(named).collect();
        let image = Descriptor::new(
            sent.media_type(),
            sent.manifest.digest(),
            sent.manifest.bytes().len() as u64,
        );
        let config = sent.order.image.config.value();
        let (said, index) =
            AttestationManifest::with_image(image, config, &names, said).map_err(Error::Attestation)?;
        for (_, bytes) in said.blobs {
            let (store, lease) = (self.engine.store().clone(), self.lease.clone());
            let blob = blocking(move || Ok(store.put_blob(&lease, &bytes)?)).await?;
            let uploaded = self.remote.upload(&StoredSource(blob), &[], &|_| {}).await;
            uploaded.map_err(|error| self.failed(error))?;
        }
        let which = Which::Digest(sent.manifest.digest());
        self.put_one(sent, &which, sent.media_type(), sent.manifest.bytes())
            .await?;
        let which = Which::Digest(said.manifest.digest());
        self.put_one(sent, &which, OCI_MANIFEST, said.manifest.bytes())
            .await?;
        Ok(index)
    }

    /// Puts a manifest or an index under all tags.
    pub(super) async fn put(
        &self,
        sent: &Sent,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Vec<Pushed>, Error> {
        let mut pushed = Vec::new();
        for tag in &sent.order.tags {
            let digest = self
                .put_one(sent, &Which::Tag(tag.clone()), media_type, bytes)
                .await?;
            let size = bytes.len() as u64;
            self.sink
                .tell(TransferEvent::Pushed {
                    tag: tag.to_string(),
                    digest,
                    size,
                })
                .await;
            pushed.push(Pushed {
                tag: tag.clone(),
                digest,
                size,
            });
        }
        Ok(pushed)
    }

    async fn put_one(
        &self,
        sent: &Sent,
        which: &Which,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Digest, Error> {
        let mut tries = 0;
        loop {
            let bytes = Bytes::copy_from_slice(bytes);
            match self.remote.put_manifest(which, media_type, bytes).await {
                Ok(digest) => return Ok(digest),
                Err(error) if lacks_a_blob(&error) && tries < MANIFEST_TRIES => {
                    tries += 1;
                    self.mend(sent, &error).await?;
                }
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    /// The registry says that it lacks a blob it had a moment ago: what is missing is sent again.
    async fn mend(&self, sent: &Sent, error: &mica_registry::Error) -> Result<(), Error> {
        let text =
            format!("the registry lacks a blob of the manifest: looking for it and trying again ({error})");
        self.sink.tell(TransferEvent::Note(text)).await;
        tokio::time::sleep(HEAD_START).await;
        for ((diff_id, parcel), descriptor) in sent.parcels.iter().zip(&sent.manifest.layers) {
            if !matches!(parcel, Parcel::Left(_)) {
                let blob = self.blob(descriptor.digest).await?;
                self.send(diff_id, &StoredSource(blob), Some(descriptor.size))
                    .await?;
            }
        }
        self.send_config(&sent.order.image).await
    }
}

/// Whether a manifest was refused because a blob of it is not there.
fn lacks_a_blob(error: &mica_registry::Error) -> bool {
    error.refusal().is_some_and(|refusal| {
        ["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"]
            .iter()
            .any(|code| refusal.has_code(code))
            || refusal.message.to_ascii_lowercase().contains("blob unknown")
    })
}
