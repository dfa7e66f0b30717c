//! What can go wrong in the store.

use std::io;
use std::path::PathBuf;

use mica_oci::{DiffId, Digest, DocumentError, ImageId};
use thiserror::Error;

/// What can go wrong in the store.
#[derive(Debug, Error)]
pub enum Error {
    /// The disk failed.
    #[error("cannot {action}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// What the system said, with the path.
        #[source]
        source: io::Error,
    },
    /// The database failed.
    #[error("the store's database mica/db.sqlite failed")]
    Database {
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// Another process has the store open.
    #[error("the store {} is in use by {}", root.display(), owner.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")))]
    Locked {
        /// The store.
        root: PathBuf,
        /// The other process, if it said who it is.
        owner: Option<u32>,
    },
    /// The directory holds something else.
    #[error("{} is not a mica store and not empty", root.display())]
    NotAStore {
        /// The directory.
        root: PathBuf,
    },
    /// The store was written by a program that knows more than this one, or its description is damaged.
    #[error("cannot open the store {}: {reason}", root.display())]
    Format {
        /// The store.
        root: PathBuf,
        /// What is not understood.
        reason: String,
    },
    /// Bytes do not have the digest they should have.
    #[error("content has digest {actual}, expected {expected}")]
    Digest {
        /// The digest that was promised.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// More bytes came than the blob has.
    #[error("blob {digest} has {size} bytes, and more came")]
    Oversize {
        /// The blob.
        digest: Digest,
        /// Its length in bytes.
        size: u64,
    },
    /// A blob was to be completed before all of it came.
    #[error("only {have} of the {size} bytes of blob {digest} came")]
    Incomplete {
        /// The blob.
        digest: Digest,
        /// How many bytes from the start are there.
        have: u64,
        /// Its length in bytes.
        size: u64,
    },
    /// An image says of a blob that it holds a layer, which it does not.
    #[error("blob {blob} is not layer {diff_id} as its image says: {reason}")]
    FalseClaim {
        /// The layer.
        diff_id: DiffId,
        /// The blob.
        blob: Digest,
        /// What it is instead.
        reason: String,
    },
    /// A layer that is needed is not in the store.
    #[error("layer {diff_id} is not in the store")]
    MissingLayer {
        /// The layer.
        diff_id: DiffId,
    },
    /// An image that is needed is not in the store.
    #[error("no such image: {image}")]
    MissingImage {
        /// The image.
        image: ImageId,
    },
    /// What lies in the store is not what it should be.
    #[error("the store is damaged: {what}: {reason}")]
    Corrupt {
        /// The blob, layer or image.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// A manifest does not fit the config it names.
    #[error("the manifest of image {image} does not fit its config: {reason}")]
    Manifest {
        /// The image.
        image: ImageId,
        /// What does not fit.
        reason: String,
    },
    /// An image that still has names was to be removed.
    #[error("image {image} still has {references} references")]
    InUse {
        /// The image.
        image: ImageId,
        /// How many.
        references: usize,
    },
    /// A document cannot be read or written.
    #[error("cannot read {what}")]
    Document {
        /// Which.
        what: String,
        /// Why.
        #[source]
        source: DocumentError,
    },
    /// A layer cannot be read, packed or unpacked.
    #[error("cannot {action} layer {diff_id}")]
    Layer {
        /// What was being done.
        action: &'static str,
        /// The layer.
        diff_id: DiffId,
        /// Why.
        #[source]
        source: mica_layer::Error,
    },
    /// A directory that was to become a layer does not lie in the store's scratch space.
    #[error("{} is not in the store's scratch space", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// An archive of images is not one. The text is docker's.
    #[error("invalid archive: {reason}")]
    Archive {
        /// What is wrong with it.
        reason: String,
    },
    /// The bytes of an archive of images cannot be read.
    #[error("invalid archive: {reason}")]
    ArchiveData {
        /// What was being read.
        reason: String,
        /// Why.
        #[source]
        source: mica_layer::Error,
    },
}

/// Whether a full disk, or a quota that is used up, is at the bottom of an error.
pub fn is_full_disk(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            let kind = error.kind();
            if matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
                return true;
            }
            // what is wrapped is not told as a source, only that one's source is
            if let Some(inner) = error.get_ref() {
                cause = Some(inner);
                continue;
            }
        }
        if let Some(errno) = error.downcast_ref::<rustix::io::Errno>()
            && matches!(*errno, rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT)
        {
            return true;
        }
        if let Some(rusqlite::Error::SqliteFailure(failure, _)) = error.downcast_ref() {
            return failure.code == rusqlite::ErrorCode::DiskFull
                || failure.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
        }
        // this one is as good as its source
        if let Some(error) = error.downcast_ref::<Error>() {
            return error.is_full_disk();
        }
        cause = error.source();
    }
    false
}

impl Error {
    /// Whether a full disk, or a quota that is used up, is at the bottom of it.
    pub fn is_full_disk(&self) -> bool {
        std::error::Error::source(self).is_some_and(is_full_disk)
    }

    /// The failure and its causes in one line.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        text
    }

    /// Whether SQLite cannot make sense of its file.
    pub(crate) fn is_damaged_database(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        match self {
            Self::Database { source } => {
                matches!(source.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
            }
            _ => false,
        }
    }

    /// Wraps an I/O error with what was being done.
    pub(crate) fn io(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, source }
    }

    /// Wraps a layer's error with what was being done to it.
    pub(crate) fn layer(action: &'static str, diff_id: DiffId) -> impl FnOnce(mica_layer::Error) -> Self {
        move |source| Self::Layer {
            action,
            diff_id,
            source,
        }
    }

    /// Something in the store that cannot be if nobody but the store wrote there.
    pub(crate) fn corrupt(what: impl ToString, reason: impl Into<String>) -> Self {
        Self::Corrupt {
            what: what.to_string(),
            reason: reason.into(),
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(source: rusqlite::Error) -> Self {
        Self::Database { source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_known_however_it_is_wrapped() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let layer = |source| mica_layer::Error::io("write /a")(source);
        let sqlite = |code| {
            Error::from(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(code),
                None,
            ))
        };
        for error in [
            Error::io("write a blob")(full()),
            Error::io("write a blob")(io::Error::from_raw_os_error(122)),
            Error::io("write a blob")(io::Error::other(layer(full()))),
            Error::io("write a blob")(io::Error::other(Error::io("inflate")(full()))),
            Error::layer("unpack", Digest::of(b"").into())(layer(full())),
            sqlite(rusqlite::ffi::SQLITE_FULL),
            sqlite(rusqlite::ffi::SQLITE_IOERR_SHMSIZE),
        ] {
            assert!(error.is_full_disk(), "{}", error.chain());
        }
        for error in [
            Error::io("write a blob")(io::Error::other("No space left on device")),
            sqlite(rusqlite::ffi::SQLITE_IOERR),
            Error::corrupt("x", "y"),
        ] {
            assert!(!error.is_full_disk(), "{}", error.chain());
        }
    }
}
