//! Blobs that were found damaged on reading: the next sound bytes under their digest take their place.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use fs_err as fs;
use mica_oci::{Digest, ImageId};

use crate::disk;
use crate::error::Error;
use crate::locks::lock;
use crate::store::{Inner, Store};

/// The most digests that are remembered; whatever is forgotten is found again by a check.
const LIMIT: usize = 100_000;

/// The digests whose files were found to hold other bytes, until sound ones took their place. Lost when the store closes.
#[derive(Debug, Default)]
pub(crate) struct Damaged {
    known: Mutex<HashSet<Digest>>,
    configs: Mutex<Configs>,
}

/// Configs that could not be read.
#[derive(Debug, Default)]
struct Configs {
    /// All of them, so that each is told of once.
    seen: HashSet<ImageId>,
    /// Those that were not told of yet, and why they could not be read.
    untold: Vec<(ImageId, String)>,
}

/// The right to replace a damaged file: while it lives nobody else takes note of one or replaces one.
pub(crate) struct Replacing<'a> {
    known: MutexGuard<'a, HashSet<Digest>>,
    digest: Digest,
}

impl Damaged {
    /// Takes note that the file of this digest holds other bytes.
    pub(crate) fn note(&self, digest: &Digest) {
        let mut known = lock(&self.known);
        if known.len() < LIMIT {
            known.insert(*digest);
        }
    }

    /// Takes note that the config of an image cannot be read.
    pub(crate) fn note_config(&self, image: &ImageId, error: &Error) {
        let mut configs = lock(&self.configs);
        if configs.seen.len() < LIMIT && configs.seen.insert(*image) {
            configs.untold.push((*image, error.chain()));
        }
    }

    /// Whether the file of this digest is known to hold other bytes.
    pub(crate) fn holds(&self, digest: &Digest) -> bool {
        lock(&self.known).contains(digest)
    }

    /// The right to replace the file of this digest, if it is known to hold other bytes or `is_wrong` finds that now.
    pub(crate) fn replacing(
        &self,
        digest: &Digest,
        is_wrong: impl FnOnce() -> bool,
    ) -> Option<Replacing<'_>> {
        let known = lock(&self.known);
        (known.contains(digest) || is_wrong()).then_some(Replacing {
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

impl Store {
    /// Images whose config was found damaged or gone since this was asked last, and how; each is told of once.
    pub fn new_damage(&self) -> Vec<(ImageId, String)> {
        std::mem::take(&mut lock(&self.inner.damaged.configs).untold)
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
