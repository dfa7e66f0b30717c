//! Bytes on their way in: hashed as they are written, gone if they are not committed.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use fs_err::File;
use mica_layer::Holes;
use mica_oci::{Digest, Hashing};

use crate::blobs::Blob;
use crate::disk;
use crate::error::Error;
use crate::lease::Lease;
use crate::locks::share;
use crate::space;
use crate::store::{Inner, Store};

/// Small writes are gathered to this many bytes.
const BUFFER: usize = 128 << 10;

/// A blob of no more than this many bytes that is there already is hashed before it is kept: most configs and manifests are no longer.
const SMALL: u64 = 1 << 20;

/// A blob that is being written. Dropped before it is committed, it is gone.
pub struct Ingest {
    staged: Staged,
    out: Out,
    lease: Lease,
}

/// Where the bytes go.
enum Out {
    Hashed(Hashing<BufWriter<Holes>>),
    /// Whoever writes hashes; with the number of bytes so far.
    Plain(BufWriter<Holes>, u64),
}

/// A blob that is written but not visible yet; its file is closed. Dropped, it is gone.
pub(crate) struct Staged {
    store: Arc<Inner>,
    path: PathBuf,
    /// Of what was written.
    pub(crate) digest: Digest,
    /// In bytes.
    pub(crate) size: u64,
}

impl fmt::Debug for Ingest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ingest").field(&self.staged.path).finish()
    }
}

impl Write for Ingest {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match &mut self.out {
            Out::Hashed(out) => out.write(buf),
            Out::Plain(out, bytes) => {
                let count = out.write(buf)?;
                *bytes += count as u64;
                Ok(count)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.out {
            Out::Hashed(out) => out.flush(),
            Out::Plain(out, _) => out.flush(),
        }
    }
}

impl Store {
    /// Starts a blob.
    pub fn ingest(&self, lease: &Lease) -> Result<Ingest, Error> {
        self.start(lease, |out| Out::Hashed(Hashing::new(out)))
    }

    /// Starts the tar of a layer that is hashed as it is packed: only [`Store::add_layer_tar`] takes it.
    pub fn ingest_packed(&self, lease: &Lease) -> Result<Ingest, Error> {
        self.start(lease, |out| Out::Plain(out, 0))
    }

    fn start(&self, lease: &Lease, out: impl FnOnce(BufWriter<Holes>) -> Out) -> Result<Ingest, Error> {
        let path = self.inner.paths.fresh(self.inner.paths.ingest());
        let file = disk::create(&path).map_err(Error::io("start a blob"))?;
        Ok(Ingest {
            staged: Staged {
                store: self.inner.clone(),
                path,
                digest: Digest::from_raw([0; 32]),
                size: 0,
            },
            out: out(BufWriter::with_capacity(BUFFER, Holes::new(file))),
            lease: lease.clone(),
        })
    }
}

impl Ingest {
    /// Another handle on the file, which what is written reaches at every flush.
    pub(crate) fn reader(&self) -> Result<File, Error> {
        File::open(&self.staged.path).map_err(Error::io("read what is written"))
    }

    /// How many bytes were written so far.
    pub fn bytes(&self) -> u64 {
        match &self.out {
            Out::Hashed(out) => out.bytes(),
            Out::Plain(_, bytes) => *bytes,
        }
    }

    /// Makes the blob visible and durable; fine if it is there already. Bytes other than `expected` are refused with
    /// [`Error::Digest`] and thrown away.
    pub fn commit(self, expected: Option<Digest>) -> Result<Blob, Error> {
        let lease = self.lease.clone();
        let staged = self.stage()?;
        if let Some(expected) = expected
            && expected != staged.digest
        {
            return Err(Error::Digest {
                expected,
                actual: staged.digest,
            });
        }
        staged.commit(&lease)
    }

    /// Ends the writing.
    pub(crate) fn stage(self) -> Result<Staged, Error> {
        self.end(None)
    }

    /// Ends the writing of what `packed` is the digest of, unless it was hashed here.
    pub(crate) fn stage_as(self, packed: Digest) -> Result<Staged, Error> {
        self.end(Some(packed))
    }

    fn end(self, packed: Option<Digest>) -> Result<Staged, Error> {
        let Self { mut staged, out, .. } = self;
        let (buffer, digest, size) = match (out, packed) {
            (Out::Hashed(out), _) => out.finish(),
            (Out::Plain(buffer, bytes), Some(packed)) => (buffer, packed, bytes),
            (Out::Plain(..), None) => return Err(Error::corrupt("a packed tar", "nobody hashed it")),
        };
        let file = buffer.into_inner().map_err(io::IntoInnerError::into_error);
        file.and_then(Holes::finish).map_err(Error::io("write a blob"))?;
        staged.digest = digest;
        staged.size = size;
        Ok(staged)
    }
}

impl Staged {
    /// A file that holds all of a blob.
    pub(crate) fn of(store: Arc<Inner>, path: PathBuf, digest: Digest, size: u64) -> Self {
        Self {
            store,
            path,
            digest,
            size,
        }
    }

    /// Opens what was written.
    pub(crate) fn open(&self) -> Result<File, Error> {
        File::open(&self.path).map_err(Error::io("read what was staged"))
    }

    /// Makes the blob visible and durable.
    pub(crate) fn commit(self, lease: &Lease) -> Result<Blob, Error> {
        disk::sync_file(&self.path).map_err(Error::io("sync a blob"))?;
        let store = self.store.clone();
        let (blob, found) = self.publish(lease)?;
        if found {
            // it may have been published without being synced
            store.sync_blob(blob.path()).map_err(Error::io("sync a blob"))?;
        }
        store.sync_blobs()?;
        Ok(blob)
    }

    /// Makes the blob visible, but not durable yet. Says whether it was there already.
    pub(crate) fn publish(self, lease: &Lease) -> Result<(Blob, bool), Error> {
        let to = self.store.paths.blob(&self.digest);
        let doubt = self.store.doubt.any();
        if doubt {
            // what is there may be in memory only, and a file takes its place that is not
            disk::sync_file(&self.path).map_err(Error::io("sync a blob"))?;
        }
        let _gate = share(&self.store.gate);
        lease.pin_blob(&self.digest);
        let is_wrong = || fs_err::symlink_metadata(&to).is_ok() && !self.is_same(&to);
        let looks_wrong = is_wrong();
        // another writer may have put the right bytes there meanwhile
        let replacing = self
            .store
            .damaged
            .replacing(&self.digest, || looks_wrong && is_wrong());
        let there = match replacing {
            Some(_) => {
                self.store.set_aside(&to, &self.digest.hex())?;
                false
            }
            None => !doubt && fs_err::symlink_metadata(&to).is_ok(),
        };
        if !there {
            disk::rename(&self.path, &to).map_err(Error::io("publish a blob"))?;
        }
        if let Some(replacing) = replacing {
            replacing.done();
        }
        let bytes = fs_err::symlink_metadata(&to).map_or(0, |meta| space::of(&meta));
        self.store.unnamed.add(&self.digest, bytes);
        let blob = Blob::at(self.digest, self.size, to, &self.store.damaged);
        Ok((blob, there))
    }

    /// Whether the blob is there already, so that what was written is not needed.
    pub(crate) fn is_there(&self) -> bool {
        !self.store.damaged.holds(&self.digest) && self.is_same(&self.store.paths.blob(&self.digest))
    }

    /// Whether what is in the blob's place is the blob, as far as that can be told at little cost.
    fn is_same(&self, there: &std::path::Path) -> bool {
        let whole = |meta: std::fs::Metadata| meta.is_file() && meta.len() == self.size;
        fs_err::symlink_metadata(there).is_ok_and(whole)
            && (self.size > SMALL || fs_err::read(there).is_ok_and(|bytes| Digest::of(&bytes) == self.digest))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // absent once published; what cannot be removed now is swept at the next open
        let _ = disk::remove(&self.path);
    }
}
