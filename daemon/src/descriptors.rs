//! Descriptors that clients send along with the bytes of a connection (`SCM_RIGHTS`, unix(7)), each kept for its request.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::{HeaderMap, StatusCode};
use mica_api::DESCRIPTORS_HEADER;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::wire::reply::Failure;

/// The most descriptors that wait for their request on one connection; the kernel or we close what is more.
const WAITING_LIMIT: usize = 64;

/// The descriptors of one connection that no request has taken yet.
///
/// They belong to the request whose first bytes they came with. The kernel ends a read behind the bytes that descriptors
/// came with, so that those of the next request are not there yet when a request's head is complete.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waiting(Arc<Mutex<Arrived>>);

#[derive(Debug, Default)]
struct Arrived {
    /// Each with how many requests had begun when it came.
    descriptors: VecDeque<(u64, OwnedFd)>,
    begun: u64,
}

/// What came with one request, closed with it.
#[derive(Debug, Default)]
pub(crate) struct Descriptors(Vec<Option<OwnedFd>>);

impl Waiting {
    /// Reads from the connection, and keeps the descriptors that come along.
    pub(crate) fn receive(&self, socket: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(WAITING_LIMIT))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(buffer)];
        let received = recvmsg(socket, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let mut arrived = self.lock();
        // whoever is still reading has not begun another request with what came before the last one
        let begun = arrived.begun;
        arrived.descriptors.retain(|(before, _)| *before == begun);
        for message in control.drain() {
            let RecvAncillaryMessage::ScmRights(descriptors) = message else {
                continue;
            };
            for descriptor in descriptors {
                if arrived.descriptors.len() < WAITING_LIMIT {
                    arrived.descriptors.push_back((begun, descriptor));
                }
            }
        }
        Ok(received.bytes)
    }

    /// A request begins: it gets the descriptors that its head speaks of.
    ///
    /// # Errors
    /// If as many did not arrive. Status 421 tells clients that this is no way for descriptors: whatever forwards the
    /// connection dropped them.
    pub(crate) fn begin(&self, headers: &HeaderMap) -> Result<Descriptors, Failure> {
        let mut arrived = self.lock();
        arrived.begun += 1;
        let Some(header) = headers.get(DESCRIPTORS_HEADER) else {
            return Ok(Descriptors::default());
        };
        let told: usize = header
            .to_str()
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| Failure::invalid(format!("invalid header {DESCRIPTORS_HEADER}: not a number")))?;
        let came: Vec<_> = arrived.descriptors.drain(..).map(|(_, fd)| Some(fd)).collect();
        if came.len() != told {
            return Err(Failure::new(
                StatusCode::MISDIRECTED_REQUEST,
                format!("{told} descriptors were announced and {} arrived", came.len()),
            ));
        }
        Ok(Descriptors(came))
    }

    fn lock(&self) -> MutexGuard<'_, Arrived> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Descriptors {
    /// The descriptor with this number, once.
    pub(crate) fn take(&mut self, number: usize) -> Result<OwnedFd, Failure> {
        let descriptor = self.0.get_mut(number).and_then(Option::take);
        descriptor.ok_or_else(|| {
            Failure::invalid(format!(
                "there is no descriptor {number}, or something else uses it"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::os::unix::net::UnixStream;

    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

    use super::*;

    fn send(socket: &UnixStream, bytes: &[u8], count: usize) {
        let files: Vec<OwnedFd> = (0..count)
            .map(|_| std::fs::File::open("/dev/null").unwrap().into())
            .collect();
        let borrowed: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if count > 0 {
            assert!(control.push(SendAncillaryMessage::ScmRights(&borrowed)));
        }
        sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::empty()).unwrap();
    }

    fn told(count: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(DESCRIPTORS_HEADER, count.parse().unwrap());
        headers
    }

    fn waiting(waiting: &Waiting) -> usize {
        waiting.lock().descriptors.len()
    }

    #[test]
    fn a_request_gets_what_came_with_it() {
        let (client, server) = UnixStream::pair().unwrap();
        let connection = Waiting::default();
        let mut buffer = [0; 64];
        send(&client, b"one", 2);
        assert_eq!(connection.receive(&server, &mut buffer).unwrap(), 3);
        let mut descriptors = connection.begin(&told("2")).unwrap();
        let file = descriptors.take(1).unwrap();
        assert!(
            rustix::io::fcntl_getfd(&file)
                .unwrap()
                .contains(rustix::io::FdFlags::CLOEXEC)
        );
        assert!(descriptors.take(1).is_err() && descriptors.take(2).is_err());
        descriptors.take(0).unwrap();
        assert_eq!(waiting(&connection), 0);
    }

    #[test]
    fn requests_in_a_row_get_their_own() {
        let (client, server) = UnixStream::pair().unwrap();
        let connection = Waiting::default();
        let mut buffer = [0; 64];
        send(&client, b"one", 1);
        send(&client, b"two", 3);
        send(&client, b"more of two", 0);
        assert_eq!(connection.receive(&server, &mut buffer).unwrap(), 3);
        assert_eq!(connection.begin(&told("1")).unwrap().0.len(), 1);
        assert_eq!(&buffer[..3], b"one");
        assert_eq!(connection.receive(&server, &mut buffer).unwrap(), 3);
        connection.receive(&server, &mut buffer).unwrap();
        assert_eq!(connection.begin(&told("3")).unwrap().0.len(), 3);
    }

    #[test]
    fn a_request_without_does_not_take_those_of_the_next() {
        let (client, server) = UnixStream::pair().unwrap();
        let connection = Waiting::default();
        let mut buffer = [0; 64];
        send(&client, b"one", 0);
        send(&client, b"two", 1);
        // both may come at once
        let mut read = connection.receive(&server, &mut buffer).unwrap();
        while read < 6 {
            read += connection.receive(&server, &mut buffer).unwrap();
        }
        assert!(connection.begin(&HeaderMap::new()).unwrap().0.is_empty());
        assert_eq!(connection.begin(&told("1")).unwrap().0.len(), 1);
    }

    #[test]
    fn what_nobody_wants_is_closed() {
        let (client, server) = UnixStream::pair().unwrap();
        let connection = Waiting::default();
        let mut buffer = [0; 64];
        send(&client, b"one", 5);
        connection.receive(&server, &mut buffer).unwrap();
        drop(connection.begin(&HeaderMap::new()).unwrap());
        send(&client, b"two", 0);
        connection.receive(&server, &mut buffer).unwrap();
        assert_eq!(waiting(&connection), 0);
        let failure = connection.begin(&told("5")).unwrap_err();
        assert!(
            failure.message().contains("5 descriptors were announced and 0"),
            "{failure:?}"
        );
    }

    #[test]
    fn more_than_is_kept_is_closed_and_told() {
        let (client, server) = UnixStream::pair().unwrap();
        let connection = Waiting::default();
        let mut buffer = [0; 64];
        send(&client, b"one", 200);
        connection.receive(&server, &mut buffer).unwrap();
        send(&client, b"one", 60);
        connection.receive(&server, &mut buffer).unwrap();
        assert_eq!(waiting(&connection), WAITING_LIMIT);
        assert!(connection.begin(&told("260")).is_err());
        assert_eq!(waiting(&connection), 0);
        assert!(connection.begin(&told("x")).is_err());
    }
}
