//! Blobs that are on their way in from elsewhere: written in pieces, in any order, and kept over a restart.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use fs_err as fs;
use mica_oci::{Digest, Hasher};
use rustix::fs::{Advice, SeekFrom};
use rustix::io::Errno;

use crate::blobs::Blob;
use crate::disk::{self, Output};
use crate::error::{Error, is_full_disk};
use crate::ingest::Staged;
use crate::lease::Lease;
use crate::locks::lock;
use crate::store::{Inner, Store};

/// What holds less than this is not worth keeping when its download ends early, in bytes.
const WORTH_KEEPING: u64 = 1 << 20;
/// A piece with a gap before it that is shorter than this is fetched again together with the gap, in bytes.
const WORTH_A_GAP: u64 = 256 << 10;
/// So much of a piece with a gap before it is held in memory until the gap is closed, in bytes: a gap can only be told from what lies
/// around it if it is longer than the blocks of the file.
const HEAD: usize = 2 * BLOCK as usize;
/// What was not written to for so long is thrown away when the store is opened.
pub(crate) const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// The length of what holes in files are aligned to, at most.
const BLOCK: u64 = 64 << 10;
/// How much is read back at once to be hashed, in bytes.
const BUFFER: usize = 256 << 10;
/// After so many bytes the kernel is asked to begin writing, so that the sync at the end has little left to do.
const WRITE_BACK: u64 = 8 << 20;

/// The blobs that are being written at this moment; each by one at a time.
#[derive(Debug, Default)]
pub(crate) struct Busy {
    taken: Mutex<HashSet<Digest>>,
    freed: Condvar,
}

impl Busy {
    fn take(&self, digest: &Digest) {
        let mut taken = lock(&self.taken);
        while !taken.insert(*digest) {
            taken = self.freed.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn free(&self, digest: &Digest) {
        lock(&self.taken).remove(digest);
        self.freed.notify_all();
    }
}

/// A blob of known digest and size of which some bytes may be there. Dropped early, what is there stays for the next attempt, if it
/// is 1 MiB or more.
pub struct Partial {
    store: Arc<Inner>,
    lease: Lease,
    file: Output,
    path: PathBuf,
    digest: Digest,
    size: u64,
    hasher: Hasher,
    /// All before this is there and hashed.
    hashed: u64,
    /// What is there behind it, by where it starts.
    beyond: BTreeMap<u64, Piece>,
    /// Up to where the kernel was asked to write.
    written_back: u64,
    /// Whether it met a full disk, which it is not to take up room of.
    is_unwanted: bool,
}

/// Bytes that are there behind a gap.
struct Piece {
    end: u64,
    /// Its first bytes, as far as they are not in the file yet.
    head: Vec<u8>,
    /// Whether more of its first bytes are to be held.
    grows: bool,
}

impl fmt::Debug for Partial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partial")
            .field("digest", &self.digest)
            .field("offset", &self.hashed)
            .finish()
    }
}

impl Store {
    /// The blob with what an earlier attempt left of it, which is read and hashed again; the digest is kept by the lease. Waits
    /// while another thread has it: one that asks twice waits for itself.
    pub fn partial(&self, lease: &Lease, digest: &Digest, size: u64) -> Result<Partial, Error> {
        let path = self.inner.paths.partial(digest);
        lease.pin_blob(digest);
        self.inner.busy.take(digest);
        let file = match disk::open(&path) {
            Ok(file) => file,
            Err(error) => {
                self.inner.busy.free(digest);
                return Err(Error::io("open a partial blob")(error));
            }
        };
        let mut partial = Partial {
            store: self.inner.clone(),
            lease: lease.clone(),
            file,
            path,
            digest: *digest,
            size,
            hasher: Hasher::new(),
            hashed: 0,
            beyond: BTreeMap::new(),
            written_back: 0,
            is_unwanted: false,
        };
        partial.resume().map_err(Error::io("read a partial blob"))?;
        Ok(partial)
    }

    /// Throws away what is left of the download of a blob, once nobody is at it, which is waited for as long as `patience`.
    pub fn drop_partial(&self, digest: &Digest, patience: Duration) -> Result<(), Error> {
        let taken = lock(&self.inner.busy.taken);
        let waited = self
            .inner
            .busy
            .freed
            .wait_timeout_while(taken, patience, |taken| taken.contains(digest));
        let (taken, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match taken.contains(digest) {
            true => Ok(()),
            // held meanwhile, so that it is not gone on with
            false => self.inner.trash.take(&self.inner.paths.partial(digest)),
        }
    }

    /// How many bytes of a blob are there already for its next download, as far as its file tells.
    pub fn partial_bytes(&self, digest: &Digest) -> u64 {
        let meta = fs::symlink_metadata(self.inner.paths.partial(digest));
        meta.map_or(0, |meta| std::os::unix::fs::MetadataExt::blocks(&meta) * 512)
    }

    /// Throws away what is left of downloads that nobody is at and that was not written to for at least `age`; gives the number of
    /// bytes. What of them `keep` says yes to stays.
    pub(crate) fn drop_partials(&self, age: Duration, keep: &dyn Fn(&Digest) -> bool) -> Result<u64, Error> {
        let look = || Error::io("look at partial blobs");
        // held to the end, so that none of them is gone on with meanwhile
        let taken = lock(&self.inner.busy.taken);
        let now = SystemTime::now();
        let mut bytes = 0;
        for entry in fs::read_dir(self.inner.paths.partials()).map_err(look())? {
            let entry = entry.map_err(look())?;
            let digest = entry
                .file_name()
                .to_str()
                .and_then(|name| Digest::from_hex(name).ok());
            if digest.is_some_and(|digest| taken.contains(&digest) || keep(&digest)) {
                continue;
            }
            let meta = entry.metadata().map_err(look())?;
            // a clock that was set back makes everything young
            let old = meta
                .modified()
                .ok()
                .and_then(|time| now.duration_since(time).ok())
                .unwrap_or_default();
            if digest.is_none() || old >= age {
                bytes += std::os::unix::fs::MetadataExt::blocks(&meta) * 512;
                self.inner.trash.take(&entry.path())?;
            }
        }
        Ok(bytes)
    }
}

impl Partial {
    /// How many bytes from the start are there for sure.
    pub fn offset(&self) -> u64 {
        self.hashed
    }

    /// What is still to be written, in order.
    pub fn missing(&self) -> Vec<Range<u64>> {
        let starts = std::iter::once(self.hashed).chain(self.beyond.values().map(|piece| piece.end));
        let ends = self.beyond.keys().copied().chain([self.size]);
        let gaps = starts.zip(ends).map(|(start, end)| start..end);
        gaps.filter(|gap| !gap.is_empty()).collect()
    }

    /// What of the file is of use, in order.
    fn written(&self) -> Vec<Range<u64>> {
        let beyond = self.beyond.iter();
        let beyond = beyond.map(|(start, piece)| start + piece.head.len() as u64..piece.end);
        let written = std::iter::once(0..self.hashed).chain(beyond);
        written.filter(|range| !range.is_empty()).collect()
    }

    /// The length of the whole blob in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Puts bytes where they belong. What is there already is not written again; what lies behind the end is refused.
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let end = offset.checked_add(bytes.len() as u64);
        if end.is_none_or(|end| end > self.size) {
            return Err(Error::Oversize {
                digest: self.digest,
                size: self.size,
            });
        }
        let known = self.hashed.saturating_sub(offset).min(bytes.len() as u64);
        let (offset, bytes) = (offset + known, &bytes[known as usize..]);
        if bytes.is_empty() {
            return Ok(());
        }
        let write = || Error::io("write a partial blob");
        let written = match offset == self.hashed {
            true => self.append(bytes),
            false => self.put(offset, bytes),
        };
        self.is_unwanted |= written.as_ref().is_err_and(|error| is_full_disk(error));
        written.map_err(write())?;
        disk::failpoint("partial.written");
        self.write_back();
        Ok(())
    }

    /// Adds to what is hashed.
    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write_all_at(bytes, self.hashed)?;
        self.hasher.update(bytes);
        self.hashed += bytes.len() as u64;
        self.catch_up()
    }

    /// Asks the kernel to begin writing what is new. Pages that are still to be written are not dropped by that.
    fn write_back(&mut self) {
        let length = NonZeroU64::new(self.hashed.saturating_sub(self.written_back));
        if let Some(length) = length.filter(|length| length.get() >= WRITE_BACK) {
            // what the kernel makes of it changes nothing but how long the sync takes
            let _ = rustix::fs::fadvise(&self.file, self.written_back, Some(length), Advice::DontNeed);
            self.written_back = self.hashed;
        }
    }

    /// Forgets all that is there.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.hasher = Hasher::new();
        self.hashed = 0;
        self.written_back = 0;
        self.beyond.clear();
        self.file.cut(0).map_err(Error::io("empty a partial blob"))
    }

    /// Makes the blob visible and durable.
    ///
    /// # Errors
    /// [`Error::Incomplete`] if not all of it is there, which leaves what is; [`Error::Digest`] if it is not what it should be,
    /// which throws all of it away.
    pub fn commit(mut self) -> Result<Blob, Error> {
        if self.hashed != self.size {
            return Err(Error::Incomplete {
                digest: self.digest,
                have: self.hashed,
                size: self.size,
            });
        }
        let actual = std::mem::take(&mut self.hasher).finish();
        if actual != self.digest {
            // not worth keeping
            self.hashed = 0;
            return Err(Error::Digest {
                expected: self.digest,
                actual,
            });
        }
        Staged::of(self.store.clone(), self.path.clone(), self.digest, self.size).commit(&self.lease)
    }

    /// Puts bytes behind what is hashed.
    fn put(&mut self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        let end = offset + bytes.len() as u64;
        // the piece they begin in or go on with
        let before = self.beyond.range(..=offset).next_back();
        let start = match before {
            Some((start, piece)) if piece.end >= offset => *start,
            _ => offset,
        };
        let mut piece = self.beyond.remove(&start).unwrap_or_else(|| Piece {
            end: offset,
            head: Vec::new(),
            grows: true,
        });
        self.extend(start, &mut piece, offset, bytes)?;
        // those they reach become one with it
        while let Some((&next_start, next)) = self.beyond.range(start..).next()
            && next_start <= piece.end
        {
            let held = end.saturating_sub(next_start).min(next.head.len() as u64);
            let Some(next) = self.beyond.remove(&next_start) else {
                break;
            };
            self.extend(start, &mut piece, next_start + held, &next.head[held as usize..])?;
            piece.end = piece.end.max(next.end);
            piece.grows &= next.grows;
        }
        self.beyond.insert(start, piece);
        Ok(())
    }

    /// Adds bytes to a piece that ends where they begin or later: to its head while that grows, and to the file.
    fn extend(&self, start: u64, piece: &mut Piece, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        let end = offset + bytes.len() as u64;
        let head_end = start + piece.head.len() as u64;
        // what is held is not written
        let held = head_end.saturating_sub(offset).min(bytes.len() as u64) as usize;
        let (mut offset, mut bytes) = (offset + held as u64, &bytes[held..]);
        if piece.grows && offset == head_end {
            let (head, rest) = bytes.split_at(bytes.len().min(HEAD - piece.head.len()));
            piece.head.extend_from_slice(head);
            (offset, bytes) = (offset + head.len() as u64, rest);
            piece.grows = piece.head.len() < HEAD;
        }
        piece.end = piece.end.max(end);
        match bytes.is_empty() {
            true => Ok(()),
            false => self.file.write_all_at(bytes, offset),
        }
    }

    /// Hashes what is there behind what is hashed.
    fn catch_up(&mut self) -> std::io::Result<()> {
        while let Some(entry) = self.beyond.first_entry()
            && *entry.key() <= self.hashed
        {
            let (start, piece) = entry.remove_entry();
            let known = (self.hashed - start).min(piece.head.len() as u64);
            let head = &piece.head[known as usize..];
            if !head.is_empty() {
                self.file.write_all_at(head, start + known)?;
            }
            self.hash_up_to(piece.end)?;
        }
        Ok(())
    }

    fn hash_up_to(&mut self, end: u64) -> std::io::Result<()> {
        let mut buffer = vec![0; BUFFER];
        while self.hashed < end {
            let length = usize::try_from(end - self.hashed).unwrap_or(BUFFER).min(BUFFER);
            self.file
                .file()
                .file()
                .read_exact_at(&mut buffer[..length], self.hashed)?;
            self.hasher.update(&buffer[..length]);
            self.hashed += length as u64;
        }
        Ok(())
    }

    /// Finds out how much an earlier attempt left: all between holes. The blocks next to a hole may be filled up with zeros. What
    /// is taken for more than it is shows at the end, by the digest.
    fn resume(&mut self) -> std::io::Result<()> {
        let length = self.file.file().metadata()?.len();
        if length > self.size {
            self.file.cut(0)?;
            return Ok(());
        }
        let mut kept = 0;
        for piece in pieces(&self.file, length)? {
            if piece.start == 0 {
                self.hash_up_to(piece.end)?;
            } else if piece.end - piece.start >= WORTH_A_GAP {
                let there = Piece {
                    end: piece.end,
                    head: Vec::new(),
                    grows: false,
                };
                self.beyond.insert(piece.start, there);
            } else {
                continue;
            }
            kept = piece.end;
        }
        self.file.cut(kept)?;
        disk::failpoint("partial.cut");
        self.written_back = self.hashed;
        Ok(())
    }
}

/// What of a file of this length was written for sure, in order: all but holes and the blocks at their edges.
fn pieces(file: &Output, length: u64) -> std::io::Result<Vec<Range<u64>>> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < length {
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            // nothing but a hole is left
            Err(Errno::NXIO) => break,
            // it tells of no holes
            Err(_) if at == 0 => 0,
            Err(errno) => return Err(errno.into()),
        };
        let hole = rustix::fs::seek(file, SeekFrom::Hole(start)).unwrap_or(length);
        let from = match start {
            0 => 0,
            start => (start / BLOCK + 1) * BLOCK,
        };
        let to = match hole < length {
            true => hole.saturating_sub(1) / BLOCK * BLOCK,
            false => length,
        };
        if from < to {
            pieces.push(from..to);
        }
        // so that a file system that errs is no loop
        at = hole.max(at + 1);
    }
    Ok(pieces)
}

impl Drop for Partial {
    fn drop(&mut self) {
        let written = self.written();
        let bytes: u64 = written.iter().map(|range| range.end - range.start).sum();
        let is_short = |pair: &&[Range<u64>]| pair[1].start - pair[0].end < 2 * BLOCK;
        if bytes < WORTH_KEEPING || self.is_unwanted {
            // absent once committed; what cannot be removed now goes when it is old
            let _ = disk::remove(&self.path);
        } else if let Some(pair) = written.windows(2).find(is_short) {
            // so short a gap could not be told from what is there
            let _ = self.file.cut(pair[0].end);
        }
        self.store.busy.free(&self.digest);
    }
}
