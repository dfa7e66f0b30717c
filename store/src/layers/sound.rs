//! Tars that are read in place: held against their digest before the first file in them is handed out.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, OnceLock};

use mica_layer::{Content, Finding, ImagePath, LayerView, Name, TarView};
use mica_oci::DiffId;

use crate::blobs::Blob;
use crate::flights::Flights;
use crate::locks::lock;
use crate::store::Inner;

/// How many tars are remembered, about 100 bytes each; beyond that all are forgotten and read once more.
const KEPT: usize = 4096;

/// The tars whose bytes this process wrote, or read to their end, and which are what they are called.
#[derive(Debug, Default)]
pub(crate) struct Sound {
    seen: Mutex<HashMap<DiffId, Stamp>>,
    /// One lock for each tar that is being read.
    readings: Flights,
}

/// What tells whether somebody changed a file since: nobody can without leaving another time of change (inode(7), "ctime").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(blob: &Blob) -> io::Result<Self> {
        let meta = fs_err::symlink_metadata(blob.path())?;
        Ok(Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

impl Sound {
    /// The tar was written here and hashed on the way.
    pub(super) fn was_written(&self, blob: &Blob) {
        // one that cannot be looked at is read before it is used
        if let Ok(stamp) = Stamp::of(blob) {
            self.keep(DiffId(blob.digest), stamp);
        }
    }

    fn keep(&self, diff_id: DiffId, stamp: Stamp) {
        let mut seen = lock(&self.seen);
        if seen.len() >= KEPT {
            seen.clear();
        }
        seen.insert(diff_id, stamp);
    }

    /// Reads the tar to its end, unless that was done before.
    fn see(&self, blob: &Blob) -> io::Result<()> {
        let diff_id = DiffId(blob.digest);
        self.readings.alone(&diff_id, || {
            let before = Stamp::of(blob)?;
            if lock(&self.seen).get(&diff_id) == Some(&before) {
                return Ok(());
            }
            let mut whole = blob.open_checked().map_err(io::Error::other)?;
            io::copy(&mut whole, &mut io::sink())?;
            self.keep(diff_id, before);
            Ok(())
        })
    }
}

/// A layer read out of its tar, none of whose files is handed out while the tar may be damaged.
pub(super) struct CheckedTar {
    tar: TarView,
    blob: Blob,
    store: Arc<Inner>,
    is_sound: OnceLock<()>,
}

impl CheckedTar {
    /// `tar` reads the file of `blob`.
    pub(super) fn new(store: &Arc<Inner>, blob: Blob, tar: TarView) -> Self {
        Self {
            tar,
            blob,
            store: store.clone(),
            is_sound: OnceLock::new(),
        }
    }

    fn see(&self) -> Result<(), mica_layer::Error> {
        let failed = mica_layer::Error::io(format!("cannot read layer {}", self.blob.digest));
        let seen = self.store.sound.see(&self.blob);
        if seen.is_err() {
            // what was made of damaged bytes may be anything
            self.store.indexes.forget(&DiffId(self.blob.digest));
        }
        seen.map_err(failed)
    }
}

impl LayerView for CheckedTar {
    fn find(&self, path: &ImagePath) -> Result<Finding, mica_layer::Error> {
        self.tar.find(path)
    }

    fn names(&self, path: &ImagePath) -> Result<Vec<Name>, mica_layer::Error> {
        self.tar.names(path)
    }

    fn open(&self, path: &ImagePath) -> Result<Content, mica_layer::Error> {
        if self.is_sound.get().is_none() {
            self.see()?;
            self.is_sound.get_or_init(|| ());
        }
        self.tar.open(path)
    }
}
