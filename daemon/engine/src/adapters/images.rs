//! Base images out of the store, or from their registry.

use mica_builder::ports::{BaseImage, Images, PortError};
use std::io::Read as _;

use mica_oci::document::DOCUMENT_LIMIT;
use mica_oci::{Digest, Index, Platform, Raw, Received, Reference};
use mica_registry::Keyring;
use mica_store::{Image, Lease};
use mica_task::{Cancel, Event, Reporter};

use crate::bridge::{Runtime, blocking};
use crate::engine::Engine;
use crate::error::Error;
use crate::resolve::{fits, whole_id};
use crate::transfer::{PullRequest, or_latest, sink};

/// Finds base images among those that are in the store, and pulls those that are not. An image that is here makes no request.
pub(crate) struct BaseImages<'a> {
    pub(crate) engine: &'a Engine,
    /// Whether images that are here are asked for again.
    pub(crate) pull: bool,
    /// Of a build for several platforms: the one whose base images have their names here.
    pub(crate) main: Option<Platform>,
    /// The user's, for all registries.
    pub(crate) credentials: &'a Keyring,
    pub(crate) reporter: &'a Reporter,
    /// What its connections are driven by: stages are built on threads of the builder's own.
    pub(crate) runtime: &'a Runtime,
}

impl Images for BaseImages<'_> {
    fn resolve(
        &self,
        name: &str,
        platform: Option<&Platform>,
        lease: &Lease,
        cancel: &Cancel,
    ) -> Result<BaseImage, PortError> {
        let image = self.find(name, platform, lease, cancel)?;
        let config = image.config.value().clone();
        Ok(BaseImage {
            id: image.id,
            manifest: origin(name, &image),
            layers: config.rootfs.diff_ids.clone(),
            config,
        })
    }
}

/// The digest that the registry which `name` means has the image under.
fn origin(name: &str, image: &Image) -> Option<Digest> {
    let reference: Reference = name.parse().ok()?;
    let by_digest = image.references.iter().rev().filter(|known| known.tag.is_none());
    let mut same = by_digest.filter(|known| known.repository == reference.repository);
    reference.digest.or_else(|| same.find_map(|known| known.digest))
}

impl Engine {
    /// The image that a build would start from: of the store, or pulled if it is not there or `pull` says so. Blocks.
    pub fn base_image(
        &self,
        name: &str,
        platform: Option<&Platform>,
        pull: bool,
        credentials: &Keyring,
        cancel: &Cancel,
    ) -> Result<Image, Error> {
        let images = BaseImages {
            engine: self,
            pull,
            main: None,
            credentials,
            reporter: &Reporter::silent(),
            runtime: &Runtime::current(),
        };
        images.find(name, platform, &self.store().lease(), cancel)
    }
}

impl Engine {
    /// The image for another platform of the index that the image called `name` was pulled by, if it was pulled too.
    fn sibling(
        &self,
        name: &str,
        platform: Option<&Platform>,
        lease: &Lease,
    ) -> Result<Option<Image>, Error> {
        let (Some(platform), Ok(reference)) = (platform, name.parse::<Reference>()) else {
            return Ok(None);
        };
        let named = self.image_without_names(name)?;
        for digest in self.store().documents(lease, &named.id)? {
            let Some(index) = self.index(&digest, lease)? else {
                continue;
            };
            let Some(chosen) = platform.choose(&index.manifests) else {
                continue;
            };
            let by_digest = Reference {
                repository: reference.repository.clone(),
                tag: None,
                digest: Some(chosen.digest),
            };
            if let Some(id) = self.store().resolve(&by_digest)?
                && let Some(image) = self.store().hold_image(lease, &id)?
                && fits(&image, platform)
            {
                return Ok(Some(image));
            }
        }
        Ok(None)
    }

    /// An index that is kept here; `None` if it is no index.
    fn index(&self, digest: &Digest, lease: &Lease) -> Result<Option<Raw<Index>>, Error> {
        let Some(blob) = self.store().blob(lease, digest)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        let limit = DOCUMENT_LIMIT as u64;
        blob.open()?
            .take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(Error::sending)?;
        Ok(match Received::read(&bytes, None) {
            Ok(Received::Index(index)) => Some(index),
            _ => None,
        })
    }
}

impl BaseImages<'_> {
    fn find(
        &self,
        name: &str,
        platform: Option<&Platform>,
        lease: &Lease,
        cancel: &Cancel,
    ) -> Result<Image, Error> {
        let may_pull = whole_id(name).is_none();
        if !(self.pull && may_pull) {
            match self.engine.image_for(name, platform) {
                Ok(image) => {
                    if let Some(image) = self.engine.store().hold_image(lease, &image.id)? {
                        return Ok(image);
                    }
                }
                Err(Error::OtherPlatform { .. }) if may_pull => {
                    if let Some(image) = self.engine.sibling(name, platform, lease)? {
                        return Ok(image);
                    }
                }
                Err(Error::NoSuchImage { .. }) if may_pull => {}
                Err(error) => return Err(error),
            }
        }
        let reference: Reference = name.parse()?;
        let request = PullRequest {
            credential: self.credentials.of(reference.repository.registry()),
            reference: or_latest(reference),
            is_unnamed: self.main.is_some() && platform != self.main.as_ref(),
            platform: platform.cloned(),
        };
        let pulled = self.fetch(name, &request, cancel)?;
        let id = pulled.first().ok_or(Error::Worker)?.image;
        self.engine
            .store()
            .hold_image(lease, &id)?
            .ok_or_else(|| Error::NoSuchImage {
                name: name.to_owned(),
            })
    }

    fn fetch(
        &self,
        name: &str,
        request: &PullRequest,
        cancel: &Cancel,
    ) -> Result<Vec<crate::transfer::Pulled>, Error> {
        let (sink, mut events) = sink();
        let (reporter, image) = (self.reporter.clone(), name.to_owned());
        self.runtime.wait(cancel, async {
            // a reporter may wait for its client, which the pull's connections must not
            let telling = blocking(move || {
                while let Some(event) = events.blocking_recv() {
                    let image = image.clone();
                    reporter.report(Event::Transfer { image, event });
                }
                Ok(())
            });
            let pulling = async {
                let pulled = self.engine.pull(request, &sink).await;
                drop(sink);
                pulled
            };
            let (pulled, told) = tokio::join!(pulling, telling);
            told.and(pulled)
        })
    }
}
