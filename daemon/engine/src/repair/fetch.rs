//! Fetching one damaged thing again from a repository that had it.

use std::sync::Arc;

use mica_oci::document::CONFIG_LIMIT;
use mica_oci::{Descriptor, DiffId, Digest, Repository};
use mica_registry::{Intent, Listener, Remote, Which};
use mica_store::{Errand, Goods, Lease};

use crate::bridge::blocking;
use crate::check::CheckNews;
use crate::engine::Engine;
use crate::error::Error;
use crate::repair::Repair;
use crate::transfer::pull::compression;

impl Repair {
    /// Fetches what an errand is about; the inner error is why it cannot be had there.
    pub(super) fn fetch(
        &mut self,
        errand: &Errand,
        repository: &Repository,
    ) -> Result<Result<(), String>, Error> {
        let registry = repository.registry();
        let place = (repository.clone(), digest_of(&errand.goods));
        if let Some(reason) = self.refused.get(&place) {
            return Ok(Err(reason.clone()));
        }
        if let Some(reason) = self.silent.get(registry) {
            return Ok(Err(reason.clone()));
        }
        let credential = self.credentials.of(registry);
        let (engine, news) = (&self.engine, &self.news);
        let fetched = self.runtime.wait(&self.cancel, async {
            let remote = engine
                .registries()
                .remote(repository, Intent::Pull, &credential, &Listener::deaf());
            let remote = Arc::new(remote.map_err(|error| Error::Registry(Box::new(error)))?);
            let lease = engine.store().lease();
            let tell = |bytes: u64, total: u64| {
                let doing = "what comes from registries";
                // it may be missed
                let _ = news.try_send(CheckNews::Progress { doing, bytes, total });
            };
            match &errand.goods {
                Goods::Document(digest) => {
                    let fetched = remote.manifest(&Which::Digest(*digest)).await;
                    let fetched = fetched.map_err(|error| Error::Registry(Box::new(error)))?;
                    engine.put(&lease, fetched.bytes).await
                }
                Goods::Config(config) => {
                    let bytes = remote.read_blob(config, CONFIG_LIMIT).await;
                    engine
                        .put(&lease, bytes.map_err(|error| Error::Registry(Box::new(error)))?)
                        .await
                }
                Goods::Layer(layer, diff_id) => {
                    engine.bring_again(&lease, &remote, layer, diff_id, &tell).await
                }
            }
        });
        match fetched {
            Ok(()) => Ok(Ok(())),
            Err(error @ (Error::Cancelled | Error::Worker | Error::Io { .. })) => Err(error),
            Err(Error::Store(
                error @ (mica_store::Error::Io { .. } | mica_store::Error::Database { .. }),
            )) => Err(error.into()),
            Err(error) => {
                let reason = error.describe();
                if is_silence(&error) {
                    self.silent.insert(registry.to_owned(), reason.clone());
                }
                self.refused.insert(place, reason.clone());
                Ok(Err(reason))
            }
        }
    }
}

fn digest_of(goods: &Goods) -> Digest {
    match goods {
        Goods::Document(digest) => *digest,
        Goods::Config(config) => config.digest,
        Goods::Layer(layer, _) => layer.digest,
    }
}

/// Whether a registry did not answer at all: then it is not asked for anything else.
fn is_silence(error: &Error) -> bool {
    match error {
        Error::Registry(error) => error.is_silence(),
        Error::Shared(error) => is_silence(error),
        _ => false,
    }
}

impl Engine {
    /// Puts a document that was fetched in its place.
    async fn put(&self, lease: &Lease, bytes: bytes::Bytes) -> Result<(), Error> {
        let (store, lease) = (self.store().clone(), lease.clone());
        blocking(move || Ok(store.put_blob(&lease, &bytes).map(drop)?)).await
    }

    /// Downloads a compressed layer in place of a damaged one.
    async fn bring_again(
        &self,
        lease: &Lease,
        remote: &Arc<Remote>,
        layer: &Descriptor,
        diff_id: &DiffId,
        tell: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<(), Error> {
        let total = layer.size;
        let downloads = self.downloads();
        let brought = downloads
            .get(self.store(), lease, remote, layer, &|bytes| tell(bytes, total))
            .await;
        let blob = brought.map_err(|error| match Arc::try_unwrap(error) {
            Ok(error) => error,
            Err(shared) => Error::Shared(shared),
        })?;
        let (store, lease, layer, diff_id) = (self.store().clone(), lease.clone(), layer.clone(), *diff_id);
        blocking(move || {
            let compression = compression(&layer, &blob)?;
            Ok(store.add_fetched_layer(&lease, &blob.digest, compression, &diff_id)?)
        })
        .await
    }
}
