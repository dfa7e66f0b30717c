//! A connection that sends descriptors along with its first bytes (`SCM_RIGHTS`, unix(7)).

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::UnixStream;

/// The most descriptors a request takes along; the daemon keeps no more.
pub(crate) const MAX_DESCRIPTORS: usize = 64;

/// A connection and what is still to be sent along with its next bytes.
#[derive(Debug)]
pub(crate) struct Handing {
    stream: UnixStream,
    descriptors: Vec<OwnedFd>,
}

impl Handing {
    /// Sends `descriptors`, of which there are at most [`MAX_DESCRIPTORS`], with the first bytes that are written.
    pub(crate) fn new(stream: UnixStream, descriptors: Vec<OwnedFd>) -> Self {
        Self { stream, descriptors }
    }

    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let borrowed: Vec<_> = self.descriptors.iter().map(OwnedFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
            return Err(io::Error::other("too many descriptors for one request"));
        }
        let slices = [IoSlice::new(bytes)];
        Ok(sendmsg(&self.stream, &slices, &mut control, SendFlags::NOSIGNAL)?)
    }
}

impl AsyncRead for Handing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Handing {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.descriptors.is_empty() {
            return Pin::new(&mut self.stream).poll_write(context, bytes);
        }
        loop {
            ready!(self.stream.poll_write_ready(context))?;
            let sent = self.stream.try_io(Interest::WRITABLE, || self.send(bytes));
            match sent {
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) => {}
                Ok(count) => {
                    // they are the daemon's now
                    self.descriptors.clear();
                    return Poll::Ready(Ok(count));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
