//! The engine: one handle on the store through which everything is done.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use mica_builder::Workshop;
use mica_registry::{Client, Settings};
use mica_store::Store;

use crate::attested::Kept;
use crate::error::Error;
use crate::feed::Feed;
use crate::tally::Tally;
use crate::transfer::Downloads;

/// What the engine has to know from the start.
#[derive(Debug, Clone)]
pub struct Config {
    /// The store's directory; made if it is not there.
    pub root: PathBuf,
    /// The program that is started with `mica_sandbox::HELPER_ARGUMENT` for every RUN.
    pub helper: PathBuf,
    /// What is known of registries.
    pub registries: Settings,
    /// Whether builds whose client allows it may have all rights of the daemon (`RUN --security=insecure`).
    pub insecure_allowed: bool,
}

/// Does everything that is done with images. Clones share one store.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    store: Store,
    config: Config,
    pruning: AtomicBool,
    workshop: Workshop,
    registries: RwLock<Client>,
    insecure_allowed: AtomicBool,
    tally: Tally,
    downloads: Downloads,
    feed: Feed,
    attested: Kept,
}

/// While it lives, no other prune begins.
pub(crate) struct Pruning(Arc<Inner>);

impl Engine {
    /// Opens the store, which no other process may have open.
    pub fn open(config: Config) -> Result<Self, Error> {
        // what a killed daemon left of its RUNs goes, as far as it can
        mica_sandbox::sweep_groups();
        let registries =
            Client::new(config.registries.clone()).map_err(|error| Error::Registry(Box::new(error)))?;
        Ok(Self(Arc::new(Inner {
            store: Store::open(&config.root)?,
            registries: RwLock::new(registries),
            insecure_allowed: AtomicBool::new(config.insecure_allowed),
            tally: Tally::default(),
            downloads: Downloads::default(),
            feed: Feed::new(),
            attested: Kept::default(),
            config,
            pruning: AtomicBool::new(false),
            workshop: Workshop::default(),
        })))
    }

    /// Whether these settings can be followed.
    pub fn check_registries(registries: Settings) -> Result<(), Error> {
        let client = Client::new(registries);
        client.map(drop).map_err(|error| Error::Registry(Box::new(error)))
    }

    /// Where the store is.
    pub fn root(&self) -> &Path {
        &self.0.config.root
    }

    /// What happens here.
    pub fn feed(&self) -> &Feed {
        &self.0.feed
    }

    pub(crate) fn config(&self) -> &Config {
        &self.0.config
    }

    pub(crate) fn workshop(&self) -> &Workshop {
        &self.0.workshop
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(crate) fn registries(&self) -> Client {
        let client = self.0.registries.read();
        client.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether builds whose client allows it may have all rights of the daemon.
    pub(crate) fn is_insecure_allowed(&self) -> bool {
        self.0.insecure_allowed.load(Ordering::Relaxed)
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.0.tally
    }

    /// Follows other settings from now on; work that goes on keeps those it began with. If they cannot be followed, nothing
    /// changes.
    pub fn reconfigure(&self, registries: Settings, insecure_allowed: bool) -> Result<(), Error> {
        let client = self.registries().renewed(registries);
        let client = client.map_err(|error| Error::Registry(Box::new(error)))?;
        *self.0.registries.write().unwrap_or_else(PoisonError::into_inner) = client;
        self.0.insecure_allowed.store(insecure_allowed, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn kept_attestations(&self) -> &Kept {
        &self.0.attested
    }

    pub(crate) fn downloads(&self) -> &Downloads {
        &self.0.downloads
    }

    /// Claims the right to prune images.
    pub(crate) fn begin_pruning(&self) -> Result<Pruning, Error> {
        if self.0.pruning.swap(true, Ordering::AcqRel) {
            return Err(Error::PruneRunning);
        }
        Ok(Pruning(self.0.clone()))
    }
}

impl Drop for Pruning {
    fn drop(&mut self) {
        self.0.pruning.store(false, Ordering::Release);
    }
}
