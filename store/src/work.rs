//! Scratch space of running jobs, on the same file system as the trees.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk;
use crate::error::Error;
use crate::lease::Lease;
use crate::locks::lock;
use crate::space;
use crate::store::{Inner, Store};

/// A directory of one job's own. Removed when dropped, in the background; swept at open if the process died.
pub struct WorkDir {
    store: Arc<Inner>,
    path: PathBuf,
    _lease: Lease,
}

impl WorkDir {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Has what is in it count as taken, now that whoever wrote there is done and it is kept all the same; gives how many bytes.
    pub fn count(&self) -> u64 {
        let bytes = space::of_tree(&self.path);
        lock(&self.store.kept_work).insert(self.path.clone(), bytes);
        bytes
    }
}

impl fmt::Debug for WorkDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WorkDir").field(&self.path).finish()
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        lock(&self.store.kept_work).remove(&self.path);
        // whatever cannot be moved away now is swept at the next open
        let _ = self.store.trash.take(&self.path);
    }
}

impl Store {
    /// A new, empty directory of mode 0700 on the same file system as the trees.
    pub fn work(&self, lease: &Lease) -> Result<WorkDir, Error> {
        let path = self.inner.paths.fresh(self.inner.paths.work());
        disk::make_folder(&path, 0o700).map_err(Error::io("make scratch space"))?;
        Ok(WorkDir {
            store: self.inner.clone(),
            path,
            _lease: lease.clone(),
        })
    }
}
