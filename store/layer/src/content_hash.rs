//! Takes the digest of one file after the other, beside other work where that pays.

use std::io;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use mica_oci::{Digest, Hasher};

/// From which size on, in bytes, a file is hashed by a thread of its own: handing over costs more than hashing less.
const WORTH_A_THREAD: u64 = 1 << 20;

/// How many pieces may wait for the thread, each as long as what one `update` takes in.
const QUEUE: usize = 4;

/// Takes the digest of one file after the other.
#[derive(Default)]
pub(crate) struct ContentHash {
    hasher: Hasher,
    worker: Option<Worker>,
    /// Whether the current file goes to the thread.
    aside: bool,
}

struct Worker {
    pieces: SyncSender<Piece>,
    spare: Receiver<Vec<u8>>,
    digests: Receiver<Digest>,
    thread: JoinHandle<()>,
}

enum Piece {
    Bytes(Vec<u8>),
    End,
}

impl ContentHash {
    /// Begins a file of `size` bytes.
    pub(crate) fn start(&mut self, size: u64) {
        self.hasher = Hasher::new();
        if size >= WORTH_A_THREAD && self.worker.is_none() {
            // without a thread it is done here
            self.worker = Worker::start().ok();
        }
        self.aside = size >= WORTH_A_THREAD && self.worker.is_some();
    }

    /// Takes in more of the file.
    pub(crate) fn update(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &self.worker {
            Some(worker) if self.aside => worker.take(bytes),
            _ => {
                self.hasher.update(bytes);
                Ok(())
            }
        }
    }

    /// The digest of the file.
    pub(crate) fn finish(&mut self) -> io::Result<Digest> {
        match &self.worker {
            Some(worker) if self.aside => worker.digest(),
            _ => Ok(std::mem::take(&mut self.hasher).finish()),
        }
    }
}

impl Drop for ContentHash {
    fn drop(&mut self) {
        if let Some(Worker { pieces, thread, .. }) = self.worker.take() {
            drop(pieces);
            // it only hashes, and whoever waited for a digest knows if it failed
            thread.join().ok();
        }
    }
}

impl Worker {
    fn start() -> io::Result<Self> {
        let (pieces, incoming) = sync_channel(QUEUE);
        let (give_back, spare) = channel();
        let (done, digests) = channel();
        let thread = thread::Builder::new()
            .name("content-hash".to_owned())
            .spawn(move || hash_files(&incoming, &give_back, &done))?;
        Ok(Self {
            pieces,
            spare,
            digests,
            thread,
        })
    }

    fn take(&self, bytes: &[u8]) -> io::Result<()> {
        let mut piece = self.spare.try_recv().unwrap_or_default();
        piece.clear();
        piece.extend_from_slice(bytes);
        self.pieces.send(Piece::Bytes(piece)).map_err(|_| ended())
    }

    fn digest(&self) -> io::Result<Digest> {
        self.pieces.send(Piece::End).map_err(|_| ended())?;
        self.digests.recv().map_err(|_| ended())
    }
}

fn ended() -> io::Error {
    io::Error::other("the hashing thread ended too early")
}

/// Hashes until nobody sends or listens any more.
fn hash_files(pieces: &Receiver<Piece>, give_back: &Sender<Vec<u8>>, done: &Sender<Digest>) {
    let mut hasher = Hasher::new();
    for piece in pieces {
        let heard = match piece {
            Piece::Bytes(bytes) => {
                hasher.update(&bytes);
                give_back.send(bytes).is_ok()
            }
            Piece::End => done.send(std::mem::take(&mut hasher).finish()).is_ok(),
        };
        if !heard {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_files_get_their_own_digest() {
        let mut hash = ContentHash::default();
        for size in [0, 3, WORTH_A_THREAD as usize + 5, 7, 3 << 20, 3 << 20] {
            let content: Vec<u8> = (0..size).map(|at| (at * 31 % 251) as u8).collect();
            hash.start(size as u64);
            for piece in content.chunks(100_000) {
                hash.update(piece).unwrap();
            }
            assert_eq!(hash.finish().unwrap(), Digest::of(&content));
        }
    }

    #[test]
    fn a_file_given_up_amid_does_not_hang() {
        let mut hash = ContentHash::default();
        hash.start(WORTH_A_THREAD);
        hash.update(b"some").unwrap();
    }
}
