//! The handle everything in the store is reached through.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, RwLock};

use mica_oci::CacheKey;

use crate::cache::Uses;
use crate::catalogue::Catalogue;
use crate::configs::Configs;
use crate::contexts::Contexts;
use crate::damaged::Damaged;
use crate::database::Database;
use crate::disk::Output;
use crate::doubt::Doubt;
use crate::error::Error;
use crate::flights::Flights;
use crate::format;
use crate::layers::views::Indexes;
use crate::lease::{Lease, Pins};
use crate::locks::lock;
use crate::mounts::Mounts;
use crate::partial::Busy;
use crate::paths::Paths;
use crate::trash::Trash;

/// A handle to the store; clones share it. The directory is locked until the last one, and the last [`Ingest`] and
/// [`WorkDir`] drop.
///
/// [`Ingest`]: crate::Ingest
/// [`WorkDir`]: crate::WorkDir
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

/// What the handles share. The fields drop in this order: the lock goes last.
pub(crate) struct Inner {
    pub(crate) paths: Paths,
    /// Shared: look something up and pin it. Exclusive: mark what is unused and move it to the trash.
    pub(crate) gate: RwLock<()>,
    pub(crate) catalogue: Catalogue,
    pub(crate) database: Arc<Database>,
    pub(crate) pins: Arc<Pins>,
    pub(crate) trash: Trash,
    pub(crate) configs: Configs,
    pub(crate) contexts: Contexts,
    pub(crate) flights: Flights,
    /// One lock for each layer that is being compressed.
    pub(crate) compressions: Flights,
    pub(crate) busy: Busy,
    pub(crate) doubt: Doubt,
    pub(crate) damaged: Arc<Damaged>,
    pub(crate) indexes: Indexes,
    pub(crate) mounts: Mounts,
    /// Uses of cache records that are not written yet.
    pub(crate) uses: Mutex<HashMap<CacheKey, Uses>>,
    _lock: Output,
}

impl Store {
    /// Opens the store at `root`, or makes one there. What an earlier process left half-made is swept.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let root = std::path::absolute(root).map_err(Error::io("find the store"))?;
        let paths = Paths::new(&root);
        let lock = format::take(&paths)?;
        let database =
            Arc::new(Database::open(&paths.database()).map_err(|error| format::damaged(&paths, error))?);
        format::settle(&paths)?;
        let store = Self {
            inner: Arc::new(Inner {
                gate: RwLock::new(()),
                catalogue: Catalogue::open(&paths, &database)?,
                database,
                pins: Arc::default(),
                trash: Trash::open(&paths)?,
                configs: Configs::default(),
                contexts: Contexts::default(),
                flights: Flights::default(),
                compressions: Flights::default(),
                busy: Busy::default(),
                doubt: Doubt::default(),
                damaged: Arc::default(),
                indexes: Indexes::default(),
                mounts: Mounts::default(),
                uses: Mutex::default(),
                _lock: lock,
                paths,
            }),
        };
        store.sweep()?;
        store.inner.catalogue.changed();
        Ok(store)
    }

    /// A new lease, which keeps nothing yet.
    pub fn lease(&self) -> Lease {
        Lease::new(self.inner.pins.clone())
    }

    /// The directory the store lies in.
    pub fn root(&self) -> &Path {
        self.inner.paths.root()
    }

    /// What went wrong in the background since the store was opened and has not gone right since: the derived files could
    /// not be written, or the trash not be emptied.
    pub fn troubles(&self) -> Vec<String> {
        [self.inner.catalogue.trouble(), self.inner.trash.trouble()]
            .into_iter()
            .flatten()
            .collect()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.root()).finish()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let uses = std::mem::take(&mut *lock(&self.uses));
        // when a record was last used may be lost
        let _ = crate::cache::write_uses(&self.database, &uses);
    }
}
