//! A writer whose bytes are hashed and written by another thread, behind the one that gathers them, where there are many.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, Scope, ScopedJoinHandle};

use mica_oci::{Digest, Hashing};

/// How much is hashed and written by the caller itself, in bytes: for less a thread costs more than it saves.
const WORTH_A_THREAD: u64 = 1 << 20;

/// How many pieces may wait for the thread, each as long as what one `write` takes in.
const QUEUE: usize = 4;

/// Where the bytes of a tar go.
type Out<'o> = Hashing<&'o mut (dyn Write + Send)>;

/// Hashes and writes what it is given.
pub(crate) struct Behind<'scope, 'env, 'o> {
    scope: &'scope Scope<'scope, 'env>,
    place: Place<'scope, 'o>,
}

enum Place<'scope, 'o> {
    Here(Out<'o>),
    There(Worker<'scope, 'o>),
    /// The thread has ended with an error that was told.
    Failed,
}

struct Worker<'scope, 'o> {
    pieces: SyncSender<Vec<u8>>,
    spare: Receiver<Vec<u8>>,
    thread: ScopedJoinHandle<'scope, io::Result<Out<'o>>>,
}

impl<'scope, 'env, 'o: 'scope> Behind<'scope, 'env, 'o> {
    /// Writes to `out`; a thread it needs lives in `scope`.
    pub(crate) fn new(scope: &'scope Scope<'scope, 'env>, out: &'o mut (dyn Write + Send)) -> Self {
        Self {
            scope,
            place: Place::Here(Hashing::new(out)),
        }
    }

    /// Waits until all is written and flushed; gives the digest and the number of bytes.
    pub(crate) fn finish(self) -> io::Result<(Digest, u64)> {
        let hashing = match self.place {
            Place::Here(hashing) => hashing,
            Place::There(worker) => worker.end()?,
            Place::Failed => return Err(io::Error::other("writing failed before")),
        };
        let (out, digest, bytes) = hashing.finish();
        out.flush()?;
        Ok((digest, bytes))
    }
}

impl<'o> Worker<'_, 'o> {
    fn end(self) -> io::Result<Out<'o>> {
        drop(self.pieces);
        let ended = self.thread.join();
        ended.unwrap_or_else(|_| Err(io::Error::other("the writing thread ended too early")))
    }
}

impl<'scope, 'o: 'scope> Write for Behind<'scope, '_, 'o> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if let Place::Here(hashing) = &mut self.place {
            if hashing.bytes() < WORTH_A_THREAD {
                return hashing.write(buf);
            }
            let Place::Here(hashing) = std::mem::replace(&mut self.place, Place::Failed) else {
                return Ok(0);
            };
            self.place = start(self.scope, hashing)?;
        }
        let Place::There(worker) = &self.place else {
            return Err(io::Error::other("writing failed before"));
        };
        let mut piece = worker.spare.try_recv().unwrap_or_default();
        piece.clear();
        piece.extend_from_slice(buf);
        if worker.pieces.send(piece).is_ok() {
            return Ok(buf.len());
        }
        // the thread stops taking pieces only when it failed
        match std::mem::replace(&mut self.place, Place::Failed) {
            Place::There(worker) => worker.end().and(Err(io::Error::other("writing stopped"))),
            _ => Err(io::Error::other("writing failed before")),
        }
    }

    /// Nothing: what was taken in is on its way, and [`Behind::finish`] waits for it.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn start<'scope, 'o: 'scope>(
    scope: &'scope Scope<'scope, '_>,
    out: Out<'o>,
) -> io::Result<Place<'scope, 'o>> {
    let (pieces, incoming) = sync_channel(QUEUE);
    let (give_back, spare) = channel();
    let thread = thread::Builder::new()
        .name("layer-writer".to_owned())
        .spawn_scoped(scope, move || write_all(out, &incoming, &give_back))?;
    Ok(Place::There(Worker {
        pieces,
        spare,
        thread,
    }))
}

fn write_all<'o>(
    mut out: Out<'o>,
    incoming: &Receiver<Vec<u8>>,
    give_back: &Sender<Vec<u8>>,
) -> io::Result<Out<'o>> {
    while let Ok(piece) = incoming.recv() {
        out.write_all(&piece)?;
        // nobody may want it back any more
        let _ = give_back.send(piece);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(pieces: &[Vec<u8>], out: &mut (dyn Write + Send)) -> io::Result<(Digest, u64)> {
        thread::scope(|scope| {
            let mut behind = Behind::new(scope, out);
            for piece in pieces {
                behind.write_all(piece)?;
            }
            behind.finish()
        })
    }

    #[test]
    fn few_and_many_bytes_arrive_in_order() {
        for count in [0, 1, 3, 20, 64] {
            let pieces: Vec<Vec<u8>> = (0..count).map(|n: u8| vec![n; 100_000]).collect();
            let mut out = Vec::new();
            let (digest, bytes) = written(&pieces, &mut out).unwrap();
            assert_eq!(out, pieces.concat());
            assert_eq!((digest, bytes), (Digest::of(&out), out.len() as u64));
        }
    }

    /// Takes so many bytes and no more.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(buf.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(buf.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_error_of_the_thread_is_told_as_it_is() {
        for room in [0, 500_000, 2_000_000, 6_350_000] {
            let pieces = vec![vec![7; 100_000]; 64];
            let error = written(&pieces, &mut Full(room)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{room}");
        }
    }
}
