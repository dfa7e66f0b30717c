//! Blobs that were found damaged on reading: the next sound bytes under their digest take their place.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use fs_err as fs;
use mica_oci::Digest;

use crate::disk;
use crate::error::Error;
use crate::locks::lock;
use crate::store::Inner;

/// The most digests that are remembered; whatever is forgotten is found again by a check.
const LIMIT: usize = 100_000;

/// The digests whose files were found to hold other bytes, until sound ones took their place. Lost when the store closes.
#[derive(Debug, Default)]
pub(crate) struct Damaged(Mutex<HashSet<Digest>>);

/// The right to replace a damaged file: while it lives nobody else takes note of one or replaces one.
pub(crate) struct Replacing<'a> {
    known: MutexGuard<'a, HashSet<Digest>>,
    digest: Digest,
}

impl Damaged {
    /// Takes note that the file of this digest holds other bytes.
    pub(crate) fn note(&self, digest: &Digest) {
        let mut known = lock(&self.0);
        if known.len() < LIMIT {
            known.insert(*digest);
        }
    }

    /// Whether the file of this digest is known to hold other bytes.
    pub(crate) fn holds(&self, digest: &Digest) -> bool {
        lock(&self.0).contains(digest)
    }

    /// The right to replace the file of this digest, if it is known to hold other bytes.
    pub(crate) fn replacing(&self, digest: &Digest) -> Option<Replacing<'_>> {
        let known = lock(&self.0);
        known.contains(digest).then_some(Replacing {
            known,
            digest: *digest,
        })
    }
}

impl Replacing<'_> {
    /// Sound bytes are in place, or none.
    pub(crate) fn done(mut self) {
        self.known.remove(&self.digest);
    }
}

impl Inner {
    /// Moves what is damaged out of the way, to where it is kept for people to look at under this name; gives that place.
    /// Absent is fine.
    pub(crate) fn set_aside(&self, damaged: &Path, name: &str) -> Result<Option<PathBuf>, Error> {
        if fs::symlink_metadata(damaged).is_err() {
            return Ok(None);
        }
        let fail = || Error::io("set a damaged file aside");
        disk::make_folder(&self.paths.bad(), 0o700).map_err(fail())?;
        let to = self.paths.bad().join(name);
        // one that was damaged before under the same name
        self.trash.take(&to)?;
        disk::rename(damaged, &to).map_err(fail())?;
        Ok(Some(to))
    }
}
