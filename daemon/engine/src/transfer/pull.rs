//! The verb pull: what a name leads to at its registry, brought here whole; nothing is unpacked.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, TryStreamExt as _};
use mica_oci::config::ImageConfig;
use mica_oci::{Compression, Descriptor, DiffId, Digest, ImageId, Manifest, Platform, Raw, Reference, Tag};
use mica_registry::{Credential, Fetched, Intent, Remote, Which};
use mica_store::{Blob, Image, Lease};
use mica_task::{LayerState, TransferEvent};

use crate::bridge::blocking;
use crate::engine::Engine;
use crate::error::Error;
use crate::feed::Action;
use crate::resolve::fits;
use crate::transfer::manifest::{Resolved, resolve};
use crate::transfer::sink::Sink;
use crate::transfer::words::{listener, pull_error};

/// The most layers an image may have (overlayfs takes 500, and no builder makes more than 127).
const LAYERS: usize = 500;
/// A name that means no image.
const SCRATCH: &str = "scratch";

/// What a client asks to be pulled.
#[derive(Debug, Clone)]
pub struct PullRequest {
    /// Which: with a tag or a digest, or neither for all tags.
    pub reference: Reference,
    /// For which platform; this machine's if `None`.
    pub platform: Option<Platform>,
    /// Whether the image is called by its own digest alone, so that its name goes on to mean the image for another platform.
    pub is_unnamed: bool,
    /// Who asks.
    pub credential: Credential,
}

/// What came of a pull.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// The image.
    pub image: ImageId,
    /// The name it was asked for by.
    pub reference: Reference,
    /// What the name led to at the registry: the digest of a manifest or index.
    pub digest: Digest,
}

impl Engine {
    /// Pulls what the request names. A name with neither tag nor digest means all tags.
    pub async fn pull(&self, request: &PullRequest, sink: &Sink) -> Result<Vec<Pulled>, Error> {
        let reference = &request.reference;
        if reference.repository.familiar() == SCRATCH {
            return Err(Error::Scratch);
        }
        let remote = self.remote(reference, Intent::Pull, &request.credential, sink)?;
        let whiches = match (&reference.digest, &reference.tag) {
            (Some(digest), _) => vec![Which::Digest(*digest)],
            (None, Some(tag)) => vec![Which::Tag(tag.clone())],
            (None, None) => {
                let tags = remote
                    .tags()
                    .await
                    .map_err(|error| pull_error(reference, error))?;
                tags.into_iter().map(Which::Tag).collect()
            }
        };
        let mut pulled = Vec::new();
        for which in whiches {
            let one = Reference {
                repository: reference.repository.clone(),
                tag: match &which {
                    Which::Tag(tag) => Some(tag.clone()),
                    Which::Digest(_) => None,
                },
                digest: match &which {
                    Which::Tag(_) => None,
                    Which::Digest(digest) => Some(*digest),
                },
            };
            let pull = Pull {
                engine: self,
                remote: &remote,
                reference: one,
                platform: request.platform.as_ref(),
                is_unnamed: request.is_unnamed,
                sink,
            };
            pulled.push(pull.run(&which).await?);
        }
        Ok(pulled)
    }

    /// A repository at its registry.
    pub(crate) fn remote(
        &self,
        reference: &Reference,
        intent: Intent,
        credential: &Credential,
        sink: &Sink,
    ) -> Result<Arc<Remote>, Error> {
        let remote = self
            .registries()
            .remote(&reference.repository, intent, credential, &listener(sink));
        Ok(Arc::new(
            remote.map_err(|error| Error::Registry(Box::new(error)))?,
        ))
    }
}

struct Pull<'a> {
    engine: &'a Engine,
    remote: &'a Arc<Remote>,
    reference: Reference,
    platform: Option<&'a Platform>,
    is_unnamed: bool,
    sink: &'a Sink,
}

/// A layer on its way: what its manifest says of it, and what it must hold.
type Layer = (Descriptor, DiffId);

impl Pull<'_> {
    async fn run(&self, which: &Which) -> Result<Pulled, Error> {
        let fetched = self
            .remote
            .manifest(which)
            .await
            .map_err(|error| self.failed(error))?;
        self.sink
            .tell(TransferEvent::Found {
                repository: self.reference.repository.clone(),
                which: which.to_string(),
                digest: fetched.digest,
            })
            .await;
        let digest = fetched.digest;
        let before = self.now().await?;
        let image = match self.known(&fetched).await? {
            Some(image) => image,
            None => self.fetch(fetched).await?,
        };
        self.sink
            .tell(TransferEvent::Pulled {
                reference: self.reference.clone(),
                digest,
                is_new: before != Some(image.id),
            })
            .await;
        if let Some(wanted) = self.platform
            && !fits(&image, wanted)
        {
            self.sink
                .tell(TransferEvent::Note(format!(
                    "WARNING: image with reference {} was found but does not match the specified platform: wanted {wanted}, \
                     actual: {}/{}",
                    self.reference.familiar(),
                    image.config.os,
                    image.config.architecture
                )))
                .await;
        }
        Ok(Pulled {
            image: image.id,
            reference: self.reference.clone(),
            digest,
        })
    }

    fn failed(&self, error: mica_registry::Error) -> Error {
        pull_error(&self.reference, error)
    }

    /// The image the name leads to here.
    async fn now(&self) -> Result<Option<ImageId>, Error> {
        let (store, reference) = (self.engine.store().clone(), self.reference.clone());
        blocking(move || Ok(store.resolve(&reference)?)).await
    }

    fn wanted(&self) -> Platform {
        self.platform.cloned().unwrap_or_else(Platform::host)
    }

    /// The names of the image: the tag, and what it led to.
    fn names(&self, digest: &Digest) -> Vec<Reference> {
        let by_digest = self.by_digest(digest);
        match &self.reference.tag {
            Some(_) => vec![self.reference.clone(), by_digest],
            None => vec![by_digest],
        }
    }

    fn by_digest(&self, digest: &Digest) -> Reference {
        Reference {
            repository: self.reference.repository.clone(),
            tag: None,
            digest: Some(*digest),
        }
    }

    /// The image, if it came by this very digest before and is for the platform that is wanted.
    async fn known(&self, fetched: &Fetched) -> Result<Option<Image>, Error> {
        let names = self.names(&fetched.digest);
        let (engine, wanted) = (self.engine.clone(), self.wanted());
        let asked = self.reference.clone();
        blocking(move || {
            let store = engine.store();
            let by_digest = names.last().expect("a name by digest is always there");
            let Some(id) = store.resolve(by_digest)? else {
                return Ok(None);
            };
            let lease = store.lease();
            // what is damaged or gone is fetched again
            if !store.is_image_whole(&id)? {
                return Ok(None);
            }
            let Some(image) = store
                .hold_image(&lease, &id)?
                .filter(|image| fits(image, &wanted))
            else {
                return Ok(None);
            };
            for name in &names {
                store.tag(name, &id)?;
            }
            // here, so that it is told even if the client goes away in this moment
            engine.feed().transfer(Action::Pull, &asked, &image);
            Ok(Some(image))
        })
        .await
    }

    async fn fetch(&self, top: Fetched) -> Result<Image, Error> {
        let Resolved {
            top,
            indexes,
            manifest,
        } = resolve(self.remote, &self.reference, top, &self.wanted()).await?;
        let lease = self.engine.store().lease();
        let config = self.config(&lease, &manifest).await?;
        let layers = self.layers(&manifest, &config)?;
        let brought = self.bring(&lease, &layers).await?;
        let names = match self.is_unnamed {
            true => vec![self.by_digest(&manifest.digest())],
            false => self.names(&top.digest),
        };
        let (engine, asked) = (self.engine.clone(), self.reference.clone());
        let account = *self.remote.account();
        let image = blocking(move || {
            let store = engine.store();
            for (layer, diff_id) in &layers {
                let blob = store.blob(&lease, &layer.digest)?.ok_or(Error::Worker)?;
                let compression = compression(layer, &blob)?;
                store.add_layer_blob_unchecked(&lease, &blob, compression, diff_id)?;
            }
            let committed = store.commit_pulled(&lease, &config, &manifest, &indexes, &names)?;
            let digests: Vec<Digest> = layers
                .iter()
                .map(|(layer, _)| layer.digest)
                .chain([config.digest()])
                .collect();
            engine.feed().transfer(Action::Pull, &asked, &committed.image);
            store.add_sources(&digests, &asked.repository, &account)?;
            Ok(committed.image)
        })
        .await?;
        for digest in &brought {
            self.sink.layer_hint(digest, LayerState::Done);
        }
        Ok(image)
    }

    async fn config(&self, lease: &Lease, manifest: &Manifest) -> Result<Raw<ImageConfig>, Error> {
        let descriptor = &manifest.config;
        if !descriptor.media_type.is_image_config() {
            return Err(Error::NoImage {
                reference: self.reference.familiar(),
                media_type: descriptor.media_type.to_string(),
            });
        }
        let limit = mica_oci::document::CONFIG_LIMIT;
        let (store, held) = (self.engine.store().clone(), lease.clone());
        let (digest, size) = (descriptor.digest, descriptor.size);
        let here = blocking(move || {
            // one that is larger is refused as if it were not here
            if size > limit as u64 || store.is_damaged(&digest, size)? {
                return Ok(None);
            }
            let Some(blob) = store.blob(&held, &digest)? else {
                return Ok(None);
            };
            // any blob may be named here, a layer of many GiB too
            check_size("config", &blob, size)?;
            let bytes = fs_err::read(blob.path()).map_err(|source| Error::Io {
                action: "read an image config",
                source,
            })?;
            // one that is damaged is fetched again, and takes its place when it is written
            Ok((Digest::of(&bytes) == digest).then(|| Bytes::from(bytes)))
        })
        .await?;
        let bytes = match here {
            Some(bytes) => bytes,
            None => self
                .remote
                .read_blob(descriptor, limit)
                .await
                .map_err(|error| self.failed(error))?,
        };
        Raw::parse(&bytes).map_err(|source| Error::Config {
            reference: self.reference.familiar(),
            source,
        })
    }

    /// The layers with what the config says they hold.
    fn layers(&self, manifest: &Manifest, config: &ImageConfig) -> Result<Vec<Layer>, Error> {
        let diff_ids = &config.rootfs.diff_ids;
        if manifest.layers.len() != diff_ids.len() || diff_ids.len() > LAYERS {
            return Err(Error::LayerCount {
                reference: self.reference.familiar(),
                manifest: manifest.layers.len(),
                config: diff_ids.len(),
            });
        }
        Ok(manifest
            .layers
            .iter()
            .cloned()
            .zip(diff_ids.iter().copied())
            .collect())
    }

    /// Fetches the layers that are not here, each once, several at a time; gives their digests.
    async fn bring(&self, lease: &Lease, layers: &[Layer]) -> Result<Vec<Digest>, Error> {
        let mut seen = HashSet::new();
        let mut missing = Vec::new();
        for (layer, _) in layers {
            if !seen.insert(layer.digest) {
                continue;
            }
            if self.is_here(lease, layer).await? {
                self.sink.layer(&layer.digest, LayerState::AlreadyHere).await;
            } else {
                self.sink.layer(&layer.digest, LayerState::Wanted).await;
                missing.push(layer);
            }
        }
        let bringing: FuturesUnordered<_> =
            missing.iter().map(|layer| self.bring_one(lease, layer)).collect();
        bringing.try_collect::<()>().await?;
        Ok(missing.iter().map(|layer| layer.digest).collect())
    }

    async fn is_here(&self, lease: &Lease, layer: &Descriptor) -> Result<bool, Error> {
        let (store, held) = (self.engine.store().clone(), lease.clone());
        let (digest, size) = (layer.digest, layer.size);
        let here = blocking(move || match store.is_damaged(&digest, size)? {
            true => Ok(None),
            false => Ok(store.blob(&held, &digest)?),
        });
        match here.await? {
            Some(blob) => check_size("layer", &blob, layer.size).map(|()| true),
            None => Ok(false),
        }
    }

    async fn bring_one(&self, lease: &Lease, layer: &Descriptor) -> Result<(), Error> {
        let digest = layer.digest;
        let tell = |current| {
            let total = layer.size;
            self.sink
                .layer_hint(&digest, LayerState::Fetching { current, total });
        };
        let downloads = self.engine.downloads();
        downloads
            .get(self.engine.store(), lease, self.remote, layer, &tell)
            .await
            .map_err(|error| self.shared(error))?;
        self.sink.layer(&digest, LayerState::Verifying).await;
        self.sink.layer(&digest, LayerState::Fetched).await;
        Ok(())
    }

    /// The error of a download that others may have waited for too.
    fn shared(&self, error: Arc<Error>) -> Error {
        match Arc::try_unwrap(error) {
            Ok(Error::Registry(error)) => self.failed(*error),
            Ok(error) => error,
            Err(error) => Error::Shared(error),
        }
    }
}

/// Makes sure that a blob that is here is as long as a manifest says.
fn check_size(what: &str, blob: &Blob, expected: u64) -> Result<(), Error> {
    match blob.size == expected {
        true => Ok(()),
        false => Err(Error::WrongSize {
            what: format!("{what} {}", blob.digest),
            expected,
            actual: blob.size,
        }),
    }
}

/// How a layer's blob is compressed: as its media type says, or where that is not known, as it looks.
pub(crate) fn compression(layer: &Descriptor, blob: &Blob) -> Result<Compression, Error> {
    match layer.media_type.layer_compression() {
        Some(compression) => Ok(compression),
        None => seen_compression(blob),
    }
}

/// How a blob looks compressed.
pub(super) fn seen_compression(blob: &Blob) -> Result<Compression, Error> {
    use std::io::Read;
    let mut beginning = [0; 6];
    let read = |source| Error::Io {
        action: "look at a layer",
        source,
    };
    let mut file = blob.open()?.take(beginning.len() as u64);
    let mut length = 0;
    while length < beginning.len() {
        match file.read(&mut beginning[length..]).map_err(read)? {
            0 => break,
            count => length += count,
        }
    }
    Ok(match mica_layer::Format::of(&beginning[..length]) {
        mica_layer::Format::Gzip => Compression::Gzip,
        mica_layer::Format::Zstd => Compression::Zstd,
        _ => Compression::None,
    })
}

/// The tag of a name that is asked for without one.
pub(crate) fn or_latest(reference: Reference) -> Reference {
    match (&reference.tag, &reference.digest) {
        (None, None) => Reference {
            tag: Some(Tag::latest()),
            ..reference
        },
        _ => reference,
    }
}
