//! The verb push: an image to its registry, only what the registry lacks, the manifest last.

mod put;

pub(super) use put::lacks_a_blob;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use mica_oci::media::{OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};
use mica_oci::{
    Attested, Compression, Descriptor, DiffId, Digest, Index, Manifest, Platform, Raw, Reference, Repository,
    Tag,
};
use mica_registry::{Arrival, Content, Credential, Intent, Remote, Source, Which};
use mica_store::{Blob, Image, Lease};
use mica_task::{LayerState, TransferEvent};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::bridge::blocking;
use crate::engine::Engine;
use crate::error::Error;
use crate::feed::Action;
use crate::transfer::layer_source::{GrowingSource, StoredSource};
use crate::transfer::parcel::{Parcel, Plan};
use crate::transfer::sink::Sink;
use crate::transfer::words::push_error;

/// How long a layer is compressed before it begins to go out: a small one is done by then, and what it is can be asked for
/// before anything is sent.
const HEAD_START: Duration = Duration::from_millis(300);
/// A layer over this length is more than ghcr takes (GitHub's documentation, "Working with the Container registry").
const GHCR_LAYER: u64 = 10_000_000_000;

/// What a client asks to be pushed.
#[derive(Debug, Clone)]
pub struct PushRequest {
    /// To where, and as what it is called here.
    pub repository: Repository,
    /// Which tag; all of the repository's if `None`.
    pub tag: Option<Tag>,
    /// For which platform the image must be.
    pub platform: Option<Platform>,
    /// Who asks.
    pub credential: Credential,
    /// How layers that were made here are compressed; gzip, or whatever they were pushed in before, if `None`.
    pub compression: Option<Compression>,
    /// What is said of images: one of which something is goes in an index with that.
    pub attested: Attested,
}

/// One tag that was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The tag.
    pub tag: Tag,
    /// The manifest's digest.
    pub digest: Digest,
    /// The manifest's length in bytes.
    pub size: u64,
}

/// An image with what it is pushed under.
struct Order {
    image: Image,
    tags: Vec<Tag>,
}

impl Engine {
    /// Pushes one tag, or all of a repository.
    pub async fn push(&self, request: &PushRequest, sink: &Sink) -> Result<Vec<Pushed>, Error> {
        let pushed = self.push_all(request, sink).await;
        self.told_later(pushed).await
    }

    async fn push_all(&self, request: &PushRequest, sink: &Sink) -> Result<Vec<Pushed>, Error> {
        let orders = self.orders(request).await?;
        let whole = Reference {
            repository: request.repository.clone(),
            tag: None,
            digest: None,
        };
        let remote = self.remote(&whole, Intent::Push, &request.credential, sink)?;
        let mut pushed = Vec::new();
        for order in orders {
            let push = Push {
                engine: self,
                remote: &remote,
                request,
                sink,
                lease: self.store().lease(),
            };
            pushed.extend(push.run(order).await?);
        }
        Ok(pushed)
    }

    /// Which images are meant; those with several tags once.
    async fn orders(&self, request: &PushRequest) -> Result<Vec<Order>, Error> {
        let (engine, request) = (self.clone(), request.clone());
        blocking(move || {
            if let Some(tag) = &request.tag {
                let reference = Reference::tagged(request.repository.clone(), tag.clone());
                if engine.store().resolve(&reference)?.is_none() {
                    return Err(nothing_to_push(&engine, reference)?);
                }
                let image = engine.image_for(&reference.to_string(), request.platform.as_ref())?;
                return Ok(vec![Order {
                    image,
                    tags: vec![tag.clone()],
                }]);
            }
            let found = engine.tagged_in(&request.repository, request.platform.as_ref())?;
            let order = |(image, names): (Image, Vec<Reference>)| Order {
                image,
                tags: names.into_iter().filter_map(|name| name.tag).collect(),
            };
            let orders: Vec<Order> = found.into_iter().map(order).collect();
            match orders.is_empty() {
                true => Err(Error::NothingToPush {
                    reference: request.repository.familiar(),
                }),
                false => Ok(orders),
            }
        })
        .await
    }
}

/// A push on its way.
pub(super) struct Push<'a> {
    pub(super) engine: &'a Engine,
    pub(super) remote: &'a Arc<Remote>,
    pub(super) request: &'a PushRequest,
    pub(super) sink: &'a Sink,
    pub(super) lease: Lease,
}

/// What a registry has of an image before its manifest.
pub(super) struct Sent {
    pub(super) image: Image,
    pub(super) manifest: Raw<Manifest>,
    parcels: Vec<(DiffId, Parcel)>,
}

impl Sent {
    /// What the manifest is sent as.
    fn media_type(&self) -> &str {
        self.manifest
            .media_type
            .as_ref()
            .map_or(OCI_MANIFEST, |own| own.as_str())
    }

    /// The manifest.
    pub(super) fn descriptor(&self) -> Descriptor {
        let size = self.manifest.bytes().len() as u64;
        Descriptor::new(self.media_type(), self.manifest.digest(), size)
    }
}

impl Push<'_> {
    async fn run(&self, order: Order) -> Result<Vec<Pushed>, Error> {
        let sent = self.send_image(order.image).await?;
        let index = self.say(&sent, &order.tags).await?;
        let (media_type, bytes) = match &index {
            Some(index) => (OCI_INDEX, index.bytes()),
            None => (sent.media_type(), sent.manifest.bytes()),
        };
        let mut pushed = Vec::new();
        for tag in &order.tags {
            let which = Which::Tag(tag.clone());
            let digest = self.put_one(&sent, &which, media_type, bytes).await?;
            pushed.push(self.pushed(tag, digest, bytes.len()).await);
        }
        self.remember(sent, order.tags, index).await?;
        Ok(pushed)
    }

    /// Sends all that the manifest of an image names.
    pub(super) async fn send_image(&self, image: Image) -> Result<Sent, Error> {
        let plan = {
            let (store, lease, id) = (self.engine.store().clone(), self.lease.clone(), image.id);
            let wanted = self.request.compression;
            blocking(move || Plan::of(&store, &lease, &id, wanted)).await?
        };
        for (diff_id, _) in &plan.parcels {
            self.sink.layer(diff_id.digest(), LayerState::Prepared).await;
        }
        let layers = self.send_layers(&plan.parcels).await?;
        let manifest = match plan.manifest {
            Some(manifest) => manifest,
            None => self.manifest(&image, layers)?,
        };
        self.send_config(&image).await?;
        Ok(Sent {
            image,
            manifest,
            parcels: plan.parcels,
        })
    }

    /// Tells that a tag leads to what was put.
    pub(super) async fn pushed(&self, tag: &Tag, digest: Digest, size: usize) -> Pushed {
        let size = size as u64;
        self.sink
            .tell(TransferEvent::Pushed {
                tag: tag.to_string(),
                digest,
                size,
            })
            .await;
        Pushed {
            tag: tag.clone(),
            digest,
            size,
        }
    }

    /// Sends the layers, each once, and gives their descriptors, lowest first.
    pub(super) async fn send_layers(&self, parcels: &[(DiffId, Parcel)]) -> Result<Vec<Descriptor>, Error> {
        // one after the other, each on all processors
        let compressing = Arc::new(Semaphore::new(1));
        let mut distinct: HashMap<DiffId, &Parcel> = HashMap::new();
        let mut sending = FuturesUnordered::new();
        for (diff_id, parcel) in parcels {
            if distinct.insert(*diff_id, parcel).is_none() {
                let (diff_id, compressing) = (*diff_id, compressing.clone());
                sending.push(async move {
                    Ok::<_, Error>((diff_id, self.send_layer(&diff_id, parcel, compressing).await?))
                });
            }
        }
        let mut sent = HashMap::new();
        while let Some(result) = sending.next().await {
            let (diff_id, descriptor) = result?;
            sent.insert(diff_id, descriptor);
        }
        Ok(parcels
            .iter()
            .filter_map(|(diff_id, _)| sent.get(diff_id).cloned())
            .collect())
    }

    async fn send_layer(
        &self,
        diff_id: &DiffId,
        parcel: &Parcel,
        compressing: Arc<Semaphore>,
    ) -> Result<Descriptor, Error> {
        match parcel {
            Parcel::Left(descriptor) => {
                self.sink.layer(diff_id.digest(), LayerState::Left).await;
                Ok(descriptor.clone())
            }
            Parcel::Ready(descriptor, blob) => {
                self.send(diff_id, &StoredSource(blob.clone()), Some(blob.size))
                    .await?;
                Ok(descriptor.clone())
            }
            Parcel::Raw(diff_id, compression) => {
                let turn = compressing.acquire_owned().await.map_err(|_| Error::Worker)?;
                let content = self.compress_and_send(diff_id, *compression, turn).await?;
                Ok(Descriptor::new(
                    compression.layer_media_type(),
                    content.digest,
                    content.size,
                ))
            }
        }
    }

    async fn compress_and_send(
        &self,
        diff_id: &DiffId,
        compression: Compression,
        turn: OwnedSemaphorePermit,
    ) -> Result<Content, Error> {
        let source = GrowingSource::begin(self.engine.store(), &self.lease, *diff_id, compression, turn);
        if let Ok(Err(error)) = tokio::time::timeout(HEAD_START, source.finished()).await {
            return Err(Error::Shared(error));
        }
        let size = source.content().map(|content| content.size);
        match self.send(diff_id, &source, size).await {
            // the compression failed, and with it the upload: the first is the reason
            Err(error) => Err(source.failure().await.map_or(error, Error::Shared)),
            content => content,
        }
    }

    async fn send(
        &self,
        diff_id: &DiffId,
        source: &dyn Source,
        total: Option<u64>,
    ) -> Result<Content, Error> {
        self.warn_of_size(total).await;
        let candidates = match source.content() {
            Some(content) => self.candidates(content.digest).await?,
            None => Vec::new(),
        };
        let tell = |current| {
            let total = total.or_else(|| source.content().map(|content| content.size));
            self.sink
                .layer_hint(diff_id.digest(), LayerState::Sending { current, total });
        };
        let uploaded = self
            .remote
            .upload(source, &candidates, &tell)
            .await
            .map_err(|error| self.failed(error))?;
        let state = match uploaded.arrival {
            Arrival::Present => LayerState::AlreadyThere,
            Arrival::Mounted(from) => LayerState::Mounted(from),
            Arrival::Sent => LayerState::Sent,
        };
        self.sink.layer(diff_id.digest(), state).await;
        Ok(uploaded.content)
    }

    async fn warn_of_size(&self, size: Option<u64>) {
        if self.request.repository.registry() == "ghcr.io"
            && let Some(size) = size.filter(|size| *size > GHCR_LAYER)
        {
            let text = format!(
                "WARNING: a layer of {size} bytes is sent, and ghcr.io takes at most {GHCR_LAYER} in ten minutes"
            );
            self.sink.tell(TransferEvent::Note(text)).await;
        }
    }

    pub(super) fn failed(&self, error: mica_registry::Error) -> Error {
        push_error(&self.request.repository, error)
    }

    /// Other repositories of the registry where this account saw the blob, those with the longest common path first.
    async fn candidates(&self, digest: Digest) -> Result<Vec<Repository>, Error> {
        let (store, target) = (self.engine.store().clone(), self.request.repository.clone());
        let account = self.request.credential.account(target.registry());
        blocking(move || {
            let sources = store.sources(&digest, target.registry())?;
            let mut found: Vec<Repository> = sources
                .into_iter()
                .filter(|(repository, owner)| *owner == account && *repository != target)
                .map(|(repository, _)| repository)
                .collect();
            found.sort_by_key(|repository| std::cmp::Reverse(common(repository.path(), target.path())));
            Ok(found)
        })
        .await
    }

    async fn send_config(&self, image: &Image) -> Result<(), Error> {
        let blob = self.blob(*image.id.digest()).await?;
        let digest = blob.digest;
        let candidates = self.candidates(digest).await?;
        let source = StoredSource(blob);
        let uploaded = self.remote.upload(&source, &candidates, &|_| {}).await;
        uploaded.map(drop).map_err(|error| self.failed(error))
    }

    async fn blob(&self, digest: Digest) -> Result<Blob, Error> {
        let (store, lease) = (self.engine.store().clone(), self.lease.clone());
        blocking(move || {
            store.blob(&lease, &digest)?.ok_or_else(|| {
                Error::Store(mica_store::Error::Corrupt {
                    what: digest.to_string(),
                    reason: "it is not in the store".to_owned(),
                })
            })
        })
        .await
    }

    fn manifest(&self, image: &Image, layers: Vec<Descriptor>) -> Result<Raw<Manifest>, Error> {
        let config = Descriptor::new(
            OCI_CONFIG,
            image.config.digest(),
            image.config.bytes().len() as u64,
        );
        Raw::of(Manifest::new(config, layers)).map_err(|source| Error::Config {
            reference: self.request.repository.familiar(),
            source,
        })
    }

    /// The next push sends the same manifest, compresses nothing, and knows where the blobs are.
    pub(super) async fn remember(
        &self,
        sent: Sent,
        tags: Vec<Tag>,
        index: Option<Raw<Index>>,
    ) -> Result<(), Error> {
        let Sent { image, manifest, .. } = sent;
        let (engine, lease, config) = (self.engine.clone(), self.lease.clone(), image.config.clone());
        let repository = self.request.repository.clone();
        let account = self.request.credential.account(repository.registry());
        let name = Reference {
            repository: repository.clone(),
            tag: None,
            digest: Some(index.as_ref().map_or(manifest.digest(), Raw::digest)),
        };
        blocking(move || {
            let store = engine.store();
            store.commit_pulled(&lease, &config, &manifest, index.as_slice(), &[name])?;
            for tag in tags {
                let pushed = Reference::tagged(repository.clone(), tag);
                engine.feed().transfer(Action::Push, &pushed, &image);
            }
            let layers = manifest
                .layers
                .iter()
                .filter(|layer| !layer.media_type.is_nondistributable());
            let digests: Vec<Digest> = layers
                .map(|layer| layer.digest)
                .chain([config.digest()])
                .collect();
            Ok(store.add_sources(&digests, &repository, &account)?)
        })
        .await
    }
}

/// Why a tag that is not here cannot be pushed, in docker's words: it tells apart whether the repository has other tags.
fn nothing_to_push(engine: &Engine, reference: Reference) -> Result<Error, Error> {
    let images = engine.store().images()?;
    let mut names = images.iter().flat_map(|image| &image.references);
    let is_known = names.any(|name| name.repository == reference.repository && name.tag.is_some());
    Ok(match is_known {
        true => Error::NoSuchTag {
            reference: reference.familiar(),
        },
        false => Error::NothingToPush {
            reference: reference.repository.familiar(),
        },
    })
}

/// How many components two paths have in common from the start.
fn common(one: &str, other: &str) -> usize {
    one.split('/')
        .zip(other.split('/'))
        .take_while(|(one, other)| one == other)
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_repositories_come_first() {
        assert_eq!(common("o/app/web", "o/app/db"), 2);
        assert_eq!(common("o/x", "p/x"), 0);
    }
}
