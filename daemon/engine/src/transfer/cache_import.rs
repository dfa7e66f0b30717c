//! Build caches in registries, read: what they know at once, their layers one by one when somebody wants them.

use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, TryStreamExt as _};
use mica_oci::cache::{cache_in_index, cache_in_manifest};
use mica_oci::document::DOCUMENT_LIMIT;
use mica_oci::{CacheConfig, CachedStep, Descriptor, DiffId, Raw, Received, Reference};
use mica_registry::{Credential, Intent, Remote, Which};
use mica_store::{Blob, Lease};
use mica_task::LayerState;

use crate::bridge::blocking;
use crate::engine::Engine;
use crate::error::Error;
use crate::transfer::manifest::read;
use crate::transfer::or_latest;
use crate::transfer::pull::seen_compression;
use crate::transfer::sink::Sink;
use crate::transfer::words::pull_error;

/// A cache in a registry.
pub(crate) struct ReadCache {
    /// Where it is.
    pub(crate) remote: Arc<Remote>,
    /// What it knows.
    pub(crate) steps: Vec<CachedStep>,
}

impl Engine {
    /// What the cache of this name knows; `None` if the registry has something else under it, an image say.
    pub(crate) async fn read_cache(
        &self,
        reference: Reference,
        credential: &Credential,
        sink: &Sink,
    ) -> Result<Option<ReadCache>, Error> {
        let reference = or_latest(reference);
        let failed = |error| pull_error(&reference, error);
        let remote = self.remote(&reference, Intent::Pull, credential, sink)?;
        let which = match (&reference.digest, &reference.tag) {
            (Some(digest), _) => Which::Digest(*digest),
            (None, Some(tag)) => Which::Tag(tag.clone()),
            (None, None) => return Ok(None),
        };
        let fetched = remote.manifest(&which).await.map_err(failed)?;
        let received = read(&fetched, &reference)?;
        let found = match &received {
            Received::Manifest(manifest) => cache_in_manifest(manifest),
            Received::Index(index) => cache_in_index(index),
        };
        let Some((config, blobs)) = found else {
            return Ok(None);
        };
        let bytes = remote.read_blob(config, DOCUMENT_LIMIT).await.map_err(failed)?;
        let config = Raw::<CacheConfig>::parse(&bytes).map_err(|source| Error::Config {
            reference: reference.familiar(),
            source,
        })?;
        let steps = config.steps(&blobs).map_err(|source| Error::Cache {
            reference: reference.familiar(),
            source,
        })?;
        Ok(Some(ReadCache { remote, steps }))
    }

    /// Brings layers here, several at a time, and looks into each: one that is not what it is said to be is thrown away.
    pub(crate) async fn fetch_cached(
        &self,
        remote: &Arc<Remote>,
        layers: &[(DiffId, Descriptor)],
        lease: &Lease,
        sink: &Sink,
    ) -> Result<(), Error> {
        let fetch = Fetch {
            engine: self,
            remote,
            lease,
            sink,
        };
        let fetching: FuturesUnordered<_> = layers
            .iter()
            .map(|(layer, blob)| fetch.one(layer, blob))
            .collect();
        fetching.try_collect::<()>().await
    }
}

struct Fetch<'a> {
    engine: &'a Engine,
    remote: &'a Arc<Remote>,
    lease: &'a Lease,
    sink: &'a Sink,
}

impl Fetch<'_> {
    async fn one(&self, layer: &DiffId, descriptor: &Descriptor) -> Result<(), Error> {
        let (store, lease, wanted) = (self.engine.store().clone(), self.lease.clone(), descriptor.digest);
        let (layer, is_here, here) = {
            let (store, lease, layer) = (store.clone(), lease.clone(), *layer);
            blocking(move || {
                let is_here = store.layer(&lease, &layer)?.is_some();
                Ok((layer, is_here, store.blob(&lease, &wanted)?))
            })
            .await?
        };
        if is_here {
            return Ok(());
        }
        let blob = match here {
            Some(blob) => blob,
            None => self.download(descriptor).await?,
        };
        let (repository, account) = (self.remote.repository().clone(), *self.remote.account());
        let said = descriptor.media_type.layer_compression();
        blocking(move || {
            take_in(&store, &lease, &blob, said, &layer).map_err(|error| match error {
                Error::Store(source @ mica_store::Error::Digest { .. }) => Error::WrongContent {
                    what: format!("layer {layer} from {}", repository.registry()),
                    source,
                },
                error => error,
            })?;
            Ok(store.add_sources(&[blob.digest], &repository, &account)?)
        })
        .await
    }

    async fn download(&self, descriptor: &Descriptor) -> Result<Blob, Error> {
        let tell = |current| {
            let total = descriptor.size;
            self.sink
                .layer_hint(&descriptor.digest, LayerState::Fetching { current, total });
        };
        let downloads = self.engine.downloads();
        let got = downloads
            .get(self.engine.store(), self.lease, self.remote, descriptor, &tell)
            .await;
        let blob = got.map_err(|error| Arc::try_unwrap(error).unwrap_or_else(Error::Shared))?;
        tell(blob.size);
        Ok(blob)
    }
}

/// Takes a layer in that holds what it should.
fn take_in(
    store: &mica_store::Store,
    lease: &Lease,
    blob: &Blob,
    said: Option<mica_oci::Compression>,
    layer: &DiffId,
) -> Result<(), Error> {
    let compression = match seen_compression(blob)? {
        // a way of compressing that cannot be seen is believed; what it holds is looked at in any case
        mica_oci::Compression::None => said.unwrap_or(mica_oci::Compression::None),
        seen => seen,
    };
    store.add_layer_blob(lease, blob, compression, layer)?;
    Ok(())
}
