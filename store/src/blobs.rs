//! Blobs: immutable bytes under their digest.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fs_err::File;
use mica_oci::Digest;

use crate::error::Error;
use crate::lease::Lease;
use crate::locks::share;
use crate::store::Store;

/// A blob in the store. Its bytes never change; it may vanish once no lease, image or cache record keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    path: PathBuf,
}

impl Blob {
    pub(crate) fn at(digest: Digest, size: u64, path: PathBuf) -> Self {
        Self { digest, size, path }
    }

    /// Opens it for reading.
    pub fn open(&self) -> Result<File, Error> {
        File::open(&self.path).map_err(Error::io("open a blob"))
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Store {
    /// The blob with this digest, if it is there; kept by the lease.
    pub fn blob(&self, lease: &Lease, digest: &Digest) -> Result<Option<Blob>, Error> {
        let path = self.inner.paths.blob(digest);
        let _gate = share(&self.inner.gate);
        match fs_err::symlink_metadata(&path) {
            Ok(meta) if meta.is_file() => {
                lease.pin_blob(digest);
                Ok(Some(Blob::at(*digest, meta.len(), path)))
            }
            Ok(_) => Err(Error::corrupt(digest, "not a regular file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("look for a blob")(error)),
        }
    }

    /// Puts bytes in: visible and durable when this returns.
    pub fn put_blob(&self, lease: &Lease, bytes: &[u8]) -> Result<Blob, Error> {
        let mut ingest = self.ingest(lease)?;
        ingest.write_all(bytes).map_err(Error::io("write a blob"))?;
        ingest.commit(None)
    }
}
