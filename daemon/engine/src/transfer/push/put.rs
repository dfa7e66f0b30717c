//! The end of a push: manifests, and indexes of an image with what is said of it.

use bytes::Bytes;
use mica_oci::media::OCI_MANIFEST;
use mica_oci::{
    Attestation, AttestationManifest, Descriptor, Digest, Index, Platform, Raw, Reference, Subject, Tag,
};
use mica_registry::Which;
use mica_task::TransferEvent;

use super::{HEAD_START, Push, Sent};
use crate::bridge::blocking;
use crate::error::Error;
use crate::transfer::layer_source::StoredSource;
use crate::transfer::parcel::Parcel;

/// How often a manifest is put again while the registry says that it does not find a blob of it.
const MANIFEST_TRIES: u32 = 5;

impl Push<'_> {
    /// Sends what is said of an image, if anything is, and the image's manifest; gives the index of both, which is to be put
    /// under these tags.
    pub(super) async fn say(&self, sent: &Sent, tags: &[Tag]) -> Result<Option<Raw<Index>>, Error> {
        let Some(said) = self.said_of(sent) else {
            return Ok(None);
        };
        let (names, config) = (self.names(tags), sent.image.config.value());
        let (said, index) = AttestationManifest::with_image(sent.descriptor(), config, &names, said)
            .map_err(Error::Attestation)?;
        self.put(&Which::Digest(sent.manifest.digest()), sent).await?;
        self.send_said(sent, &said).await?;
        Ok(Some(index))
    }

    /// Sends what is said of an image that is one for several platforms; gives the entry of that in their index, if there is one.
    pub(in crate::transfer) async fn say_of(
        &self,
        sent: &Sent,
        platform: &Platform,
        tags: &[Tag],
    ) -> Result<Option<Descriptor>, Error> {
        let Some(said) = self.said_of(sent) else {
            return Ok(None);
        };
        let manifest = sent.manifest.digest();
        let subjects = Subject::image(&self.names(tags), platform, &manifest);
        let said = AttestationManifest::new(&manifest, &subjects, said).map_err(Error::Attestation)?;
        self.send_said(sent, &said).await?;
        Ok(Some(said.entry))
    }

    fn said_of(&self, sent: &Sent) -> Option<&[Attestation]> {
        let said = self.request.attested.get(&sent.image.id)?;
        (!said.is_empty()).then_some(said)
    }

    fn names(&self, tags: &[Tag]) -> Vec<Reference> {
        let named = |tag: &Tag| Reference::tagged(self.request.repository.clone(), tag.clone());
        tags.iter().map(named).collect()
    }

    async fn send_said(&self, sent: &Sent, said: &AttestationManifest) -> Result<(), Error> {
        for (_, bytes) in &said.blobs {
            let (store, lease, bytes) = (self.engine.store().clone(), self.lease.clone(), bytes.clone());
            let blob = blocking(move || Ok(store.put_blob(&lease, &bytes)?)).await?;
            let uploaded = self.remote.upload(&StoredSource(blob), &[], &|_| {}).await;
            uploaded.map_err(|error| self.failed(error))?;
        }
        let which = Which::Digest(said.manifest.digest());
        self.put_one(sent, &which, OCI_MANIFEST, said.manifest.bytes())
            .await?;
        Ok(())
    }

    /// Puts the manifest of an image under a tag or its digest.
    pub(in crate::transfer) async fn put(&self, which: &Which, sent: &Sent) -> Result<Digest, Error> {
        self.put_one(sent, which, sent.media_type(), sent.manifest.bytes())
            .await
    }

    /// Puts a manifest or an index that leads to an image.
    pub(super) async fn put_one(
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

    /// The registry does not find a blob it had a moment ago: what is missing is sent again.
    async fn mend(&self, sent: &Sent, error: &mica_registry::Error) -> Result<(), Error> {
        let text = format!(
            "the registry does not find a blob of the manifest: looking for it and trying again ({error})"
        );
        self.sink.tell(TransferEvent::Note(text)).await;
        tokio::time::sleep(HEAD_START).await;
        for ((diff_id, parcel), descriptor) in sent.parcels.iter().zip(&sent.manifest.layers) {
            if !matches!(parcel, Parcel::Left(_)) {
                let blob = self.blob(descriptor.digest).await?;
                self.send(diff_id, &StoredSource(blob), Some(descriptor.size))
                    .await?;
            }
        }
        self.send_config(&sent.image).await
    }
}

/// Whether a manifest was refused because a blob of it is not there, or could not be looked up: Debian's docker-registry
/// answers DIGEST_INVALID where it reads what leads to a blob while another upload of the same is just writing that.
pub(in crate::transfer) fn lacks_a_blob(error: &mica_registry::Error) -> bool {
    error.refusal().is_some_and(|refusal| {
        ["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "DIGEST_INVALID"]
            .iter()
            .any(|code| refusal.has_code(code))
            || refusal.message.to_ascii_lowercase().contains("blob unknown")
    })
}
