//! What is done after a sync that failed.
//!
//! Linux tells once that it could not write something, drops it, and takes it for written: the next sync of the same bytes says
//! that all is well (fsync(2), "errseq"). So a sync that failed is never tried again on the same bytes: they are written anew.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::database::Durability;
use crate::error::Error;
use crate::store::Inner;
use crate::{disk, gc};

/// How often a sync failed in this process.
#[derive(Debug, Default)]
pub(crate) struct Doubt {
    count: AtomicU64,
    /// Whether the forms that are not durable are still to be forgotten.
    waiting: AtomicBool,
}

impl Doubt {
    /// How often a sync failed so far: what was found on disk before it changes may be nowhere.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// Whether a file that is there, but of which no row says that it is durable, must be written again.
    pub(crate) fn any(&self) -> bool {
        self.count() > 0
    }
}

impl Inner {
    /// Takes note of how a sync of what is in place already went. If it failed, all forms of layers that are not durable are
    /// forgotten, as after a restart of the machine: whoever needs them makes them again.
    pub(crate) fn synced(&self, result: io::Result<()>) -> io::Result<()> {
        if result.is_err() {
            self.doubt.waiting.store(true, Ordering::SeqCst);
            self.doubt.count.fetch_add(1, Ordering::SeqCst);
            // tried again before anything is made to count on them
            let _ = self.settle_doubt();
        }
        result
    }

    /// Forgets what is in doubt, if that could not be done at once.
    pub(crate) fn settle_doubt(&self) -> Result<(), Error> {
        if self.doubt.waiting.load(Ordering::SeqCst) {
            self.database.write(Durability::Full, |db| gc::forget_loose(db))?;
            self.unnamed.lose_count();
            self.doubt.waiting.store(false, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Refuses to go on if a sync failed since there were so many failures.
    pub(crate) fn still_sure(&self, count: u64) -> Result<(), Error> {
        match self.doubt.count() == count {
            true => Ok(()),
            false => Err(Error::io("sync the store")(io::Error::other(
                "another sync failed meanwhile; see that the disk is well, then try again",
            ))),
        }
    }

    /// Syncs a blob that is in place.
    pub(crate) fn sync_blob(&self, path: &std::path::Path) -> io::Result<()> {
        self.synced(disk::sync_file(path))
    }

    /// Syncs the names of all blobs.
    pub(crate) fn sync_blobs(&self) -> Result<(), Error> {
        self.synced(disk::sync_folder(&self.paths.blobs()))
            .map_err(Error::io("sync the blobs"))
    }
}
