//! Where async ends: the one place that moves work to threads and bytes between threads and sockets.

use std::io::{self, Read, Write};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use mica_task::{Cancel, Event, Reporter};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::Error;

/// How many chunks wait between a socket and a thread. A chunk is what the socket gave at once, so the bytes that wait are
/// bounded by this times the socket's read buffer.
const WAITING_CHUNKS: usize = 8;

/// Bytes gathered before a chunk goes from a thread to a socket.
const CHUNK: usize = 64 << 10;

/// How many events wait for a slow client before the work itself waits.
const WAITING_EVENTS: usize = 64;

/// Runs blocking work on a thread of its own and waits for it. The work goes on if the waiting is given up.
pub async fn blocking<T, F>(work: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Error> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(Error::Worker),
    }
}

/// Stops the work when it is dropped.
#[derive(Debug)]
pub struct CancelOnDrop(Cancel);

impl CancelOnDrop {
    /// Stops what obeys `cancel` when the value goes away.
    pub fn new(cancel: Cancel) -> Self {
        Self(cancel)
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

enum Piece {
    Bytes(Bytes),
    Failed(io::Error),
    End,
}

/// The socket's side of a body that is read on a thread.
pub struct BodySender(mpsc::Sender<Piece>);

/// The reading side is gone: the rest of the body interests nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unwanted;

impl BodySender {
    /// Hands over bytes, waiting while the reader is behind.
    pub async fn send(&self, bytes: Bytes) -> Result<(), Unwanted> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.0.send(Piece::Bytes(bytes)).await.map_err(|_| Unwanted)
    }

    /// The body broke off: the reader gets `error`.
    pub async fn fail(self, error: io::Error) {
        // nobody reads any more: then nobody needs to know
        let _ = self.0.send(Piece::Failed(error)).await;
    }

    /// The body is complete. A sender dropped without this makes the reader fail.
    pub async fn finish(self) {
        let _ = self.0.send(Piece::End).await;
    }
}

/// The thread's side of a body.
pub struct BodyReader {
    pieces: mpsc::Receiver<Piece>,
    current: Bytes,
    ended: bool,
}

/// A body that comes from a socket and is read on a thread. At most a few chunks wait in between.
pub fn body() -> (BodySender, BodyReader) {
    let (sender, pieces) = mpsc::channel(WAITING_CHUNKS);
    let reader = BodyReader {
        pieces,
        current: Bytes::new(),
        ended: false,
    };
    (BodySender(sender), reader)
}

impl Read for BodyReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.pieces.blocking_recv() {
                Some(Piece::Bytes(bytes)) => self.current = bytes,
                Some(Piece::End) => self.ended = true,
                Some(Piece::Failed(error)) => {
                    self.ended = true;
                    return Err(error);
                }
                None => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the client went away before the body was complete",
                    ));
                }
            }
        }
        let count = buf.len().min(self.current.len());
        self.current.copy_to_slice(&mut buf[..count]);
        Ok(count)
    }
}

/// What a thread writes into for a socket. Writes wait while the socket is behind and fail once it is gone.
pub struct ChunkWriter {
    chunks: mpsc::Sender<Bytes>,
    gathered: BytesMut,
}

/// Chunks written on a thread, for a socket.
pub type Chunks = mpsc::Receiver<Bytes>;

/// A body that is written on a thread and goes to a socket. At most a few chunks wait in between.
pub fn chunks() -> (ChunkWriter, Chunks) {
    let (chunks, receiver) = mpsc::channel(WAITING_CHUNKS);
    let writer = ChunkWriter {
        chunks,
        gathered: BytesMut::with_capacity(CHUNK),
    };
    (writer, receiver)
}

impl Write for ChunkWriter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let count = buf.len().min(CHUNK - self.gathered.len());
        self.gathered.extend_from_slice(&buf[..count]);
        if self.gathered.len() == CHUNK {
            self.flush()?;
        }
        Ok(count)
    }

    /// Sends what was gathered on its way.
    fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.gathered, BytesMut::with_capacity(CHUNK));
        self.chunks
            .blocking_send(full.freeze())
            .map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the client went away"))
    }
}

/// Bytes gathered before a piece of a file goes from a thread to a socket.
const PIECE: usize = 256 << 10;

/// What a file or another reader holds, read on a thread of its own as it is wanted.
pub(crate) fn pieces(
    open: impl FnOnce() -> io::Result<Box<dyn Read + Send>> + Send + 'static,
) -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(WAITING_CHUNKS);
    tokio::task::spawn_blocking(move || {
        let mut reader = match open() {
            Ok(reader) => reader,
            Err(error) => {
                // whoever wanted it is gone, then
                let _ = sender.blocking_send(Err(error));
                return;
            }
        };
        loop {
            let mut piece = BytesMut::zeroed(PIECE);
            let piece = match reader.read(&mut piece) {
                Ok(0) => return,
                Ok(count) => {
                    piece.truncate(count);
                    Ok(piece.freeze())
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let is_last = piece.is_err();
            if sender.blocking_send(piece).is_err() || is_last {
                return;
            }
        }
    });
    receiver
}

/// How often a thread that waits for a socket looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(50);

/// What drives sockets, for threads that are none of its own.
#[derive(Debug, Clone)]
pub(crate) struct Runtime(Option<Handle>);

/// Work that goes on beside the thread that started it, and stops when this is dropped.
pub(crate) struct Beside<T>(JoinHandle<T>);

impl<T> Drop for Beside<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Runtime {
    /// The one of this thread, which [`blocking`] started.
    pub(crate) fn current() -> Self {
        Self(Handle::try_current().ok())
    }

    fn handle(&self) -> Result<&Handle, Error> {
        self.0.as_ref().ok_or(Error::Worker)
    }

    /// Waits for something that awaits sockets; gives up once the work is cancelled.
    pub(crate) fn wait<T>(
        &self,
        cancel: &Cancel,
        future: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.handle()?.block_on(async {
            let given_up = async {
                while !cancel.is_cancelled() {
                    tokio::time::sleep(LOOK).await;
                }
            };
            tokio::select! {
                result = future => result,
                () = given_up => Err(Error::Cancelled),
            }
        })
    }

    /// Starts something that awaits sockets.
    pub(crate) fn start<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Result<Beside<T>, Error> {
        Ok(Beside(self.handle()?.spawn(future)))
    }

    /// Waits for what was started.
    pub(crate) fn finish<T>(&self, cancel: &Cancel, mut beside: Beside<T>) -> Result<T, Error> {
        self.wait(cancel, async { (&mut beside.0).await.map_err(|_| Error::Worker) })
    }

    /// The next of what comes through a channel; `None` once nothing more can come.
    pub(crate) fn next<T>(
        &self,
        cancel: &Cancel,
        channel: &mut mpsc::Receiver<T>,
    ) -> Result<Option<T>, Error> {
        self.wait(cancel, async { Ok(channel.recv().await) })
    }
}

/// Events of work on a thread, for a socket.
pub type Events = mpsc::Receiver<Event>;

/// A reporter whose events are received elsewhere. Where the receiver is far behind the work waits for it, so that output
/// without end fills no memory; once the receiver is gone, events vanish.
pub fn events() -> (Reporter, Events) {
    let (sender, receiver) = mpsc::channel(WAITING_EVENTS);
    let reporter = Reporter::new(move |event| {
        // an error means that nobody listens
        let _ = sender.blocking_send(event);
    });
    (reporter, receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    #[test]
    fn a_body_arrives_whole_and_in_order() {
        runtime().block_on(async {
            let (sender, mut reader) = body();
            let read = blocking(move || {
                let mut text = String::new();
                reader.read_to_string(&mut text).map_err(|source| Error::Io {
                    action: "read",
                    source,
                })?;
                Ok(text)
            });
            let send = async move {
                for part in ["one ", "", "two ", "three"] {
                    sender.send(Bytes::from_static(part.as_bytes())).await.unwrap();
                }
                sender.finish().await;
            };
            let (text, ()) = tokio::join!(read, send);
            assert_eq!(text.unwrap(), "one two three");
        });
    }

    #[test]
    fn a_body_that_breaks_off_is_no_end() {
        runtime().block_on(async {
            let (sender, mut reader) = body();
            sender.send(Bytes::from_static(b"half")).await.unwrap();
            drop(sender);
            let error = blocking(move || {
                let mut bytes = Vec::new();
                reader.read_to_end(&mut bytes).map_err(|source| Error::Io {
                    action: "read",
                    source,
                })
            })
            .await
            .unwrap_err();
            assert!(error.describe().contains("went away"), "{}", error.describe());
        });
    }

    #[test]
    fn a_sender_learns_that_nobody_reads() {
        runtime().block_on(async {
            let (sender, reader) = body();
            drop(reader);
            assert_eq!(sender.send(Bytes::from_static(b"x")).await, Err(Unwanted));
        });
    }

    #[test]
    fn a_writer_waits_for_its_socket_and_fails_when_it_is_gone() {
        runtime().block_on(async {
            let (mut writer, mut chunks) = chunks();
            let work = tokio::spawn(blocking(move || {
                let data = vec![7; CHUNK * (WAITING_CHUNKS + 4)];
                writer.write_all(&data).map_err(|source| Error::Io {
                    action: "write",
                    source,
                })
            }));
            assert_eq!(chunks.recv().await.unwrap().len(), CHUNK);
            drop(chunks);
            assert!(work.await.unwrap().is_err());
        });
    }

    #[test]
    fn a_worker_that_panics_is_an_error() {
        runtime().block_on(async {
            let result: Result<(), Error> = blocking(|| panic!("boom")).await;
            assert!(matches!(result, Err(Error::Worker)));
        });
    }
}
