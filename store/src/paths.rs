//! Every path of the store is spelled here and nowhere else.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mica_oci::{BuildId, CacheKey, DiffId, Digest};

/// The paths below one store's root.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    root: PathBuf,
    /// Numbers what lives no longer than this process; what an earlier one left was swept at open.
    serial: Arc<AtomicU64>,
}

impl Paths {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            serial: Arc::default(),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn oci_layout(&self) -> PathBuf {
        self.root.join("oci-layout")
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.root.join("index.json")
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    /// All that is not part of the OCI layout.
    pub(crate) fn own(&self) -> PathBuf {
        self.root.join("mica")
    }

    pub(crate) fn format(&self) -> PathBuf {
        self.own().join("format.json")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.own().join("lock")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.own().join("db.sqlite")
    }

    pub(crate) fn refs(&self) -> PathBuf {
        self.own().join("refs.json")
    }

    pub(crate) fn ingest(&self) -> PathBuf {
        self.own().join("ingest")
    }

    /// Blobs on their way in from elsewhere, which may go on after a restart.
    pub(crate) fn partials(&self) -> PathBuf {
        self.own().join("partial")
    }

    pub(crate) fn partial(&self, digest: &Digest) -> PathBuf {
        self.partials().join(digest.hex())
    }

    pub(crate) fn trees(&self) -> PathBuf {
        self.own().join("trees")
    }

    /// What holds one layer's tree and nothing else.
    pub(crate) fn tree_folder(&self, diff_id: &DiffId) -> PathBuf {
        self.trees().join(diff_id.digest().hex())
    }

    /// The tree itself.
    pub(crate) fn tree(&self, diff_id: &DiffId) -> PathBuf {
        self.tree_folder(diff_id).join("fs")
    }

    /// Cache mounts; made with the first of them.
    pub(crate) fn mounts(&self) -> PathBuf {
        self.own().join("mounts")
    }

    /// What holds one cache mount and nothing else.
    pub(crate) fn mount_folder(&self, id: &CacheKey) -> PathBuf {
        self.mounts().join(id.digest().hex())
    }

    /// The cache mount itself.
    pub(crate) fn mount(&self, id: &CacheKey) -> PathBuf {
        self.mount_folder(id).join("fs")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.own().join("work")
    }

    /// What builds told.
    pub(crate) fn logs(&self) -> PathBuf {
        self.own().join("logs")
    }

    pub(crate) fn log(&self, build: &BuildId) -> PathBuf {
        self.logs().join(build.to_string())
    }

    /// Fingerprints of folders that were built from.
    pub(crate) fn contexts(&self) -> PathBuf {
        self.own().join("contexts")
    }

    /// Those of one folder, by its file system and its number there.
    pub(crate) fn context(&self, (device, inode): (u64, u64)) -> PathBuf {
        self.contexts().join(format!("{device:x}-{inode:x}"))
    }

    /// What was found damaged and is kept for people to look at; made at first need.
    pub(crate) fn bad(&self) -> PathBuf {
        self.own().join("bad")
    }

    pub(crate) fn trash(&self) -> PathBuf {
        self.own().join("trash")
    }

    /// Whether this process gave out the name.
    pub(crate) fn is_given_out(&self, name: &OsStr) -> bool {
        let number = name.to_str().and_then(|text| text.parse::<u64>().ok());
        number.is_some_and(|number| number < self.serial.load(Ordering::Relaxed))
    }

    /// A new name in `folder`, never given out before by this process.
    pub(crate) fn fresh(&self, folder: PathBuf) -> PathBuf {
        folder.join(self.serial.fetch_add(1, Ordering::Relaxed).to_string())
    }
}
