//! A blob that can be read while it is being written.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use fs_err::File;
use mica_oci::Digest;

use crate::locks::lock;

/// What is known of a blob in the making. Clones are about the same blob.
#[derive(Clone, Default)]
pub struct Growth(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Where it is written; `None` before that begins.
    file: Option<Arc<File>>,
    /// How much of it is there, in bytes.
    length: u64,
    stage: Stage,
    cancelled: bool,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    #[default]
    Growing,
    Whole(Digest),
    Failed,
}

impl Growth {
    /// Of a blob nothing of which is there.
    pub fn new() -> Self {
        Self::default()
    }

    /// How much of it is there, in bytes.
    pub fn length(&self) -> u64 {
        lock(&self.0.state).length
    }

    /// Nobody wants it any more: whoever makes it may stop.
    pub fn cancel(&self) {
        lock(&self.0.state).cancelled = true;
        self.0.changed.notify_all();
    }

    /// Reads it from the start. Waits for what is not there yet, ends with the blob, and fails if its making failed.
    pub fn reader(&self) -> GrowthReader {
        GrowthReader {
            growth: self.clone(),
            at: 0,
        }
    }

    /// The digest and the length of the whole, once all of it is there.
    pub fn outcome(&self) -> Option<(Digest, u64)> {
        let state = lock(&self.0.state);
        match state.stage {
            Stage::Whole(digest) => Some((digest, state.length)),
            Stage::Growing | Stage::Failed => None,
        }
    }

    /// Whether its making failed. Whoever makes it tells why a moment later.
    pub fn has_failed(&self) -> bool {
        lock(&self.0.state).stage == Stage::Failed
    }

    /// For whoever makes it.
    pub(crate) fn grower(&self) -> Grower<'_> {
        Grower(self)
    }
}

/// Makes a blob grow. Dropped before the blob is whole, its making failed, whatever the reason.
pub(crate) struct Grower<'a>(&'a Growth);

impl Grower<'_> {
    /// A writer that makes it grow in `file`.
    pub(crate) fn writer<'a, W: Write>(&'a self, file: File, out: &'a mut W) -> GrowthWriter<'a, W> {
        lock(&self.0.0.state).file = Some(Arc::new(file));
        GrowthWriter { growth: self.0, out }
    }

    /// All of it is in `file`.
    pub(crate) fn finish(&self, file: File, digest: Digest, length: u64) {
        let mut state = lock(&self.0.0.state);
        state.file = Some(Arc::new(file));
        state.length = length;
        state.stage = Stage::Whole(digest);
        self.0.0.changed.notify_all();
    }
}

impl Drop for Grower<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.0.state);
        if state.stage == Stage::Growing {
            state.stage = Stage::Failed;
            self.0.0.changed.notify_all();
        }
    }
}

impl fmt::Debug for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Growth").field(&self.length()).finish()
    }
}

/// Writes and tells readers how far it is. What is written must reach the file at once.
pub(crate) struct GrowthWriter<'a, W> {
    growth: &'a Growth,
    out: &'a mut W,
}

impl<W: Write> Write for GrowthWriter<'_, W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if lock(&self.growth.0.state).cancelled {
            return Err(io::Error::other("nobody wants it any more"));
        }
        self.out.write_all(buf)?;
        self.out.flush()?;
        lock(&self.growth.0.state).length += buf.len() as u64;
        self.growth.0.changed.notify_all();
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Reads a blob that grows.
pub struct GrowthReader {
    growth: Growth,
    at: u64,
}

impl fmt::Debug for GrowthReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GrowthReader").field(&self.at).finish()
    }
}

impl Read for GrowthReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let mut state = lock(&self.growth.0.state);
        let (file, length) = loop {
            match (&state.file, state.stage) {
                (Some(file), _) if state.length > self.at => break (file.clone(), state.length),
                (_, Stage::Whole(_)) => return Ok(0),
                (_, Stage::Failed) => return Err(io::Error::other("the blob could not be made")),
                (_, Stage::Growing) if state.cancelled => {
                    return Err(io::Error::other("nobody wants it any more"));
                }
                _ => {}
            }
            state = self
                .growth
                .0
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        };
        drop(state);
        let most = usize::try_from(length - self.at)
            .unwrap_or(buf.len())
            .min(buf.len());
        let count = file.file().read_at(&mut buf[..most], self.at)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += count as u64;
        Ok(count)
    }
}
