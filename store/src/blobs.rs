//! Blobs: immutable bytes under their digest.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err::File;
use mica_oci::{Digest, Hasher};

use crate::damaged::Damaged;
use crate::error::Error;
use crate::lease::Lease;
use crate::locks::share;
use crate::store::Store;

/// A blob in the store. Its bytes never change; it may vanish once no lease, image or cache record keeps it.
#[derive(Debug, Clone)]
pub struct Blob {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    path: PathBuf,
    damaged: Arc<Damaged>,
}

impl PartialEq for Blob {
    fn eq(&self, other: &Self) -> bool {
        (self.digest, self.size, &self.path) == (other.digest, other.size, &other.path)
    }
}

impl Eq for Blob {}

impl Blob {
    pub(crate) fn at(digest: Digest, size: u64, path: PathBuf, damaged: &Arc<Damaged>) -> Self {
        Self {
            digest,
            size,
            path,
            damaged: damaged.clone(),
        }
    }

    /// Opens it for reading.
    pub fn open(&self) -> Result<File, Error> {
        File::open(&self.path).map_err(Error::io("open a blob"))
    }

    /// Opens it for reading all of it by someone who must not get other bytes: the last of them come only if all have the
    /// digest.
    ///
    /// # Errors
    /// If it cannot be opened. Reading fails where the bytes are found to be others.
    pub fn open_checked(&self) -> Result<CheckedBlob, Error> {
        Ok(CheckedBlob {
            file: self.open()?,
            hasher: Some(Hasher::new()),
            left: self.size,
            digest: self.digest,
            damaged: self.damaged.clone(),
        })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A blob that is hashed while it is read.
pub struct CheckedBlob {
    file: File,
    /// Gone once all was read and is right.
    hasher: Option<Hasher>,
    /// Bytes that are not read yet.
    left: u64,
    digest: Digest,
    damaged: Arc<Damaged>,
}

impl CheckedBlob {
    /// What is read is not what it should be; whatever comes next under the digest takes its place.
    fn damaged(&self, what: &str) -> io::Error {
        self.damaged.note(&self.digest);
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "the store is damaged: blob {} {what}; `mica system check --full --repair` tells what is harmed and mends it",
                self.digest
            ),
        )
    }
}

impl Read for CheckedBlob {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(hasher) = &mut self.hasher else {
            return Ok(0);
        };
        let count = match self.left {
            0 => 0,
            left => {
                let most = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
                let count = self.file.read(&mut buf[..most])?;
                if count == 0 && most > 0 {
                    return Err(self.damaged("is shorter than it was"));
                }
                count
            }
        };
        hasher.update(&buf[..count]);
        self.left -= count as u64;
        if self.left == 0
            && let Some(hasher) = self.hasher.take()
            && hasher.finish() != self.digest
        {
            // whoever asks again gets no end either
            self.hasher = Some(Hasher::new());
            return Err(self.damaged("holds other bytes"));
        }
        Ok(count)
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
                Ok(Some(Blob::at(*digest, meta.len(), path, &self.inner.damaged)))
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
