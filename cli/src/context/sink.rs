//! Bytes to pieces of equal size for the socket.

use std::io;

use bytes::Bytes;
use tokio::sync::mpsc::Sender;

use crate::error::Error;

/// The size of a piece.
pub(super) const PIECE_BYTES: usize = 128 * 1024;

/// Why writing ended early.
#[derive(Debug)]
pub(super) enum Stop {
    /// Nobody takes the pieces any more.
    Dropped,
    /// The context cannot be read.
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Collects bytes and sends them in pieces.
pub(super) struct Sink {
    pieces: Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
    filled: usize,
}

impl Sink {
    pub(super) fn new(pieces: Sender<io::Result<Bytes>>) -> Self {
        Self {
            pieces,
            buffer: vec![0; PIECE_BYTES],
            filled: 0,
        }
    }

    /// Adds bytes.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<(), Stop> {
        while !bytes.is_empty() {
            let room = self.room()?;
            let taken = room.len().min(bytes.len());
            room[..taken].copy_from_slice(&bytes[..taken]);
            self.add(taken);
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    /// Adds so many zeros.
    pub(super) fn zeros(&mut self, mut count: usize) -> Result<(), Stop> {
        while count > 0 {
            let room = self.room()?;
            let taken = room.len().min(count);
            room[..taken].fill(0);
            self.add(taken);
            count -= taken;
        }
        Ok(())
    }

    /// Room for more bytes, at least one; what is written there counts after [`Sink::add`].
    pub(super) fn room(&mut self) -> Result<&mut [u8], Stop> {
        if self.filled == self.buffer.len() {
            self.flush()?;
        }
        Ok(&mut self.buffer[self.filled..])
    }

    /// Says how many bytes were written into the room.
    pub(super) fn add(&mut self, count: usize) {
        self.filled = (self.filled + count).min(self.buffer.len());
    }

    fn flush(&mut self) -> Result<(), Stop> {
        let mut piece = std::mem::replace(&mut self.buffer, vec![0; PIECE_BYTES]);
        piece.truncate(self.filled);
        self.filled = 0;
        self.pieces
            .blocking_send(Ok(piece.into()))
            .map_err(|_| Stop::Dropped)
    }

    /// Ends the archive and sends what is left.
    pub(super) fn finish(mut self) -> Result<(), Stop> {
        self.zeros(1024)?;
        let mut piece = std::mem::take(&mut self.buffer);
        piece.truncate(self.filled);
        self.pieces
            .blocking_send(Ok(piece.into()))
            .map_err(|_| Stop::Dropped)
    }
}
