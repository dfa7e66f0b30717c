//! A connection that notices when its client goes away, even while nobody reads or writes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::UnixStream;

use crate::descriptors::Waiting;

/// How often a client that will send no more is looked after: it may still be reading.
const HALF_CLOSED_PAUSE: Duration = Duration::from_millis(200);

/// Bytes of a connection, for the HTTP side.
pub(crate) struct Shared {
    stream: Arc<UnixStream>,
    waiting: Waiting,
}

/// The same connection, to watch its client.
pub(crate) struct Watch(Arc<UnixStream>);

/// Splits a connection into its bytes and the look at its client. Descriptors that come with the bytes go to `waiting`.
pub(crate) fn share(stream: UnixStream, waiting: Waiting) -> (Shared, Watch) {
    let stream = Arc::new(stream);
    let shared = Shared {
        stream: stream.clone(),
        waiting,
    };
    (shared, Watch(stream))
}

impl Watch {
    /// Waits until the client has closed the connection. One that only ends its own sending is still there.
    pub(crate) async fn gone(&self) {
        loop {
            // of all interests this is the one that wakes for the client's end but not for bytes that wait to be read
            let ended = self.0.ready(Interest::PRIORITY).await;
            if ended.is_err() || self.is_closed() {
                return;
            }
            tokio::time::sleep(HALF_CLOSED_PAUSE).await;
        }
    }

    /// Whether the client has closed both directions, poll(2).
    fn is_closed(&self) -> bool {
        let mut sockets = [PollFd::new(&*self.0, PollFlags::empty())];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        match poll(&mut sockets, Some(&now)) {
            Ok(_) => sockets[0].revents().intersects(PollFlags::HUP | PollFlags::ERR),
            // interrupted: the next look tells
            Err(_) => false,
        }
    }
}

impl AsyncRead for Shared {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.stream.poll_read_ready(context))?;
            let bytes = buf.initialize_unfilled();
            let read = self
                .stream
                .try_io(Interest::READABLE, || self.waiting.receive(&*self.stream, bytes));
            match read {
                Ok(count) => {
                    buf.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Shared {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(context))?;
            match self.stream.try_write(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(context))?;
            match self.stream.try_write_vectored(bufs) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(
            match rustix::net::shutdown(&*self.stream, rustix::net::Shutdown::Write) {
                // the client was faster
                Err(rustix::io::Errno::NOTCONN) | Ok(()) => Ok(()),
                Err(error) => Err(error.into()),
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::timeout;

    const SOON: Duration = Duration::from_millis(300);
    const LATER: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_client_that_leaves_is_noticed_while_bytes_wait() {
        let (client, server) = UnixStream::pair().unwrap();
        let (mut bytes, watch) = share(server, Waiting::default());
        client.writable().await.unwrap();
        client.try_write(b"unread").unwrap();
        assert!(
            timeout(SOON, watch.gone()).await.is_err(),
            "the client is still there"
        );
        drop(client);
        timeout(LATER, watch.gone()).await.expect("the client is gone");
        let mut text = String::new();
        bytes.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "unread");
    }

    #[tokio::test]
    async fn a_client_that_only_stops_sending_is_still_there() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let (mut bytes, watch) = share(server, Waiting::default());
        client.shutdown().await.unwrap();
        assert!(timeout(SOON, watch.gone()).await.is_err());
        bytes.write_all(b"answer").await.unwrap();
        let mut buffer = [0; 6];
        client.read_exact(&mut buffer).await.unwrap();
        drop(client);
        timeout(LATER, watch.gone()).await.expect("the client is gone");
    }
}
