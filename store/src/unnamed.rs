//! The blobs that came and that no row names, as far as this process knows: what a pull or a build that ended early leaves behind
//! is found by this, without a look at all names on the disk.

use std::collections::HashMap;
use std::sync::Mutex;

use mica_oci::Digest;

use crate::locks::lock;

/// How many are remembered. With more the disk is searched once.
const LIMIT: usize = 1 << 16;

/// Blobs that no row may name. They come and go under the gate: its shared side to add one, its exclusive side to delete.
#[derive(Debug, Default)]
pub(crate) struct Unnamed(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// With the bytes they take on disk.
    blobs: HashMap<Digest, u64>,
    /// Whether there may be more, or trees, that only a look at all names shows.
    more: bool,
}

impl Unnamed {
    /// A blob came, or lost the row that named it.
    pub(crate) fn add(&self, digest: &Digest, bytes: u64) {
        let mut known = lock(&self.0);
        if known.blobs.len() >= LIMIT && !known.blobs.contains_key(digest) {
            known.more = true;
            return;
        }
        known.blobs.insert(*digest, bytes);
    }

    /// Something is left behind that is not known by name.
    pub(crate) fn lose_count(&self) {
        lock(&self.0).more = true;
    }

    /// All that are known.
    pub(crate) fn all(&self) -> Vec<Digest> {
        lock(&self.0).blobs.keys().copied().collect()
    }

    /// Takes all that are known; and whether there may be more.
    pub(crate) fn take(&self) -> (HashMap<Digest, u64>, bool) {
        let known = std::mem::take(&mut *lock(&self.0));
        (known.blobs, known.more)
    }

    /// Takes back what was taken.
    pub(crate) fn put_back(&self, (blobs, more): (HashMap<Digest, u64>, bool)) {
        for (digest, bytes) in blobs {
            self.add(&digest, bytes);
        }
        if more {
            self.lose_count();
        }
    }

    /// These are named.
    pub(crate) fn forget(&self, named: &[Digest]) {
        let mut known = lock(&self.0);
        for digest in named {
            known.blobs.remove(digest);
        }
    }

    /// Bytes on disk of all that are known.
    pub(crate) fn bytes(&self) -> u64 {
        lock(&self.0).blobs.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_can_be_remembered_is_not_forgotten() {
        let unnamed = Unnamed::default();
        for n in 0..=LIMIT as u64 {
            unnamed.add(&Digest::of(&n.to_le_bytes()), 1);
        }
        // one that is known counts once
        unnamed.add(&Digest::of(&0_u64.to_le_bytes()), 1);
        assert_eq!(unnamed.bytes(), LIMIT as u64);
        let (blobs, more) = unnamed.take();
        assert_eq!((blobs.len(), more), (LIMIT, true));
        assert!(!unnamed.take().1);
        unnamed.put_back((blobs, more));
        assert_eq!((unnamed.all().len(), unnamed.take().1), (LIMIT, true));
    }
}
