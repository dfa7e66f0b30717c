//! The images of a build for several platforms to their registry: each by its digest, then an index of them under the tags.

use std::collections::BTreeMap;

use bytes::Bytes;
use mica_oci::media::OCI_INDEX;
use mica_oci::{
    Attested, Compression, Descriptor, Digest, Index, Platform, PlatformImage, Raw, Reference, Repository,
    Tag,
};
use mica_registry::{Credential, Intent, Which};

use crate::bridge::blocking;
use crate::engine::Engine;
use crate::error::Error;
use crate::transfer::push::{Push, PushRequest, Pushed};
use crate::transfer::sink::Sink;

/// What is pushed as an index.
#[derive(Debug, Clone)]
pub struct IndexRequest {
    /// To where.
    pub repository: Repository,
    /// Under which tags.
    pub tags: Vec<Tag>,
    /// Of what, in this order.
    pub images: Vec<PlatformImage>,
    /// Who asks.
    pub credential: Credential,
    /// How layers that were made here are compressed; gzip, or whatever they were pushed in before, if `None`.
    pub compression: Option<Compression>,
    /// What is said of them, which is in the index after all images.
    pub attested: Attested,
}

/// An index that was pushed.
#[derive(Debug, Clone)]
pub struct PushedIndex {
    /// What it is.
    pub descriptor: Descriptor,
    /// The tags that lead to it.
    pub tags: Vec<Pushed>,
}

impl Engine {
    /// Pushes images for several platforms and an index of them. The images must be held by the caller.
    pub async fn push_index(&self, request: &IndexRequest, sink: &Sink) -> Result<PushedIndex, Error> {
        let pushed = self.push_several(request, sink).await;
        self.told_later(pushed).await
    }

    async fn push_several(&self, request: &IndexRequest, sink: &Sink) -> Result<PushedIndex, Error> {
        let whole = Reference {
            repository: request.repository.clone(),
            tag: None,
            digest: None,
        };
        let remote = self.remote(&whole, Intent::Push, &request.credential, sink)?;
        let push = Push {
            engine: self,
            remote: &remote,
            request: &PushRequest {
                repository: request.repository.clone(),
                tag: None,
                platform: None,
                credential: request.credential.clone(),
                compression: request.compression,
                attested: request.attested.clone(),
            },
            sink,
            lease: self.store().lease(),
        };
        let (mut manifests, mut entries) = (Vec::new(), Vec::new());
        // two platforms may have come to one image
        let mut known: BTreeMap<Digest, Descriptor> = BTreeMap::new();
        for PlatformImage { platform, image } in &request.images {
            let (store, lease, id) = (self.store().clone(), push.lease.clone(), *image);
            let held = blocking(move || {
                let image = store.hold_image(&lease, &id)?;
                image.ok_or_else(|| Error::NoSuchImage { name: id.to_string() })
            });
            let image = held.await?;
            let config = image.config.clone();
            let descriptor = match known.get(id.digest()) {
                Some(descriptor) => descriptor.clone(),
                None => {
                    let (descriptor, entry) = send(&push, image, platform, &request.tags).await?;
                    entries.extend(entry);
                    descriptor
                }
            };
            known.insert(*id.digest(), descriptor.clone());
            manifests.push(descriptor.of_platform(platform, &config));
        }
        manifests.append(&mut entries);
        let index = Raw::of(Index::new(manifests)).map_err(|source| Error::Config {
            reference: request.repository.familiar(),
            source,
        })?;
        let mut tags = Vec::new();
        for tag in &request.tags {
            let bytes = Bytes::copy_from_slice(index.bytes());
            let which = Which::Tag(tag.clone());
            let put = remote.put_manifest(&which, OCI_INDEX, bytes).await;
            let digest = put.map_err(|error| push.failed(error))?;
            tags.push(push.pushed(tag, digest, index.bytes().len()).await);
        }
        let descriptor = Descriptor::new(OCI_INDEX, index.digest(), index.bytes().len() as u64);
        Ok(PushedIndex { descriptor, tags })
    }
}

/// Sends an image and puts its manifest under its digest; gives what stands in an index for it, and for what is said of it.
async fn send(
    push: &Push<'_>,
    image: mica_store::Image,
    platform: &Platform,
    tags: &[Tag],
) -> Result<(Descriptor, Option<Descriptor>), Error> {
    let sent = push.send_image(image).await?;
    push.put(&Which::Digest(sent.manifest.digest()), &sent).await?;
    let entry = push.say_of(&sent, platform, tags).await?;
    let descriptor = sent.descriptor();
    push.remember(sent, Vec::new(), None).await?;
    Ok((descriptor, entry))
}
