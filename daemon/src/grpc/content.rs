//! Blobs in the stores of a client: images of its OCI layouts come from there, results go there.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes, BytesMut};
use mica_buildkit::{BlobRead, BlobWrite, ContentStore, Session, SyncError};
use mica_engine::{BlobSink, Blobs, Source};
use mica_oci::Digest;
use mica_task::Cancel;
use tokio::runtime::Handle;
use tonic::Status;

use crate::grpc::job::cancelled;
use crate::grpc::lender::wait;

/// How many bytes of a blob are sent at once.
const PIECE: usize = 256 << 10;

/// An image of a client's OCI layout: `STORE@DIGEST`, with a tag or a path behind the store that mean nothing here.
pub(super) fn layout(session: Session, place: &str, cancel: &Cancel) -> Result<Source, Status> {
    let invalid = |why: &str| Status::invalid_argument(format!("invalid OCI layout {place:?}: {why}"));
    let (name, digest) = place
        .split_once('@')
        .ok_or_else(|| invalid("it needs a digest, oci-layout://STORE@sha256:…"))?;
    let image = digest.parse().map_err(|error| invalid(&format!("{error}")))?;
    let store = name.split(':').next().unwrap_or_default();
    if store.is_empty() {
        return Err(invalid("it names no store"));
    }
    Ok(Source::Blobs {
        blobs: Box::new(SessionBlobs {
            session,
            store: ContentStore::Layout(store.to_owned()),
            cancel: cancel.clone(),
            runtime: Handle::current(),
        }),
        image,
    })
}

/// Reads blobs of one store of a client's, on threads that may wait.
pub(super) struct SessionBlobs {
    session: Session,
    store: ContentStore,
    cancel: Cancel,
    runtime: Handle,
}

impl Blobs for SessionBlobs {
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send>> {
        let digest = digest.to_string();
        let begun = BlobRead::begin(&self.session, &self.store, &digest);
        let read = wait(&self.runtime, &self.cancel, begun).map_err(|error| failed(&digest, &error))?;
        Ok(Box::new(BlobReader {
            digest,
            read,
            piece: Bytes::new(),
            cancel: self.cancel.clone(),
            runtime: self.runtime.clone(),
        }))
    }
}

/// A blob as it comes.
struct BlobReader {
    digest: String,
    read: BlobRead,
    piece: Bytes,
    cancel: Cancel,
    runtime: Handle,
}

impl Read for BlobReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            let next = wait(&self.runtime, &self.cancel, self.read.next());
            match next.map_err(|error| failed(&self.digest, &error))? {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let count = buf.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buf[..count]);
        Ok(count)
    }
}

/// Writes blobs into a client's store, on threads that may wait.
pub(super) struct SessionSink {
    session: Session,
    /// What distinguishes its writings from those of other builds.
    name: String,
    cancel: Cancel,
    runtime: Handle,
    open: Option<BlobWrite>,
    gathered: BytesMut,
    /// Bytes that were sent.
    pub(super) sent: u64,
}

impl SessionSink {
    /// Writes to where a client has its results go. The name must be this build's alone.
    pub(super) fn new(session: Session, name: &str, cancel: Cancel) -> Self {
        Self {
            session,
            name: name.to_owned(),
            cancel,
            runtime: Handle::current(),
            open: None,
            gathered: BytesMut::new(),
            sent: 0,
        }
    }

    fn wait<T>(&self, answer: impl Future<Output = Result<T, SyncError>>) -> io::Result<T> {
        self.runtime.block_on(async {
            tokio::select! {
                answer = answer => answer.map_err(io::Error::other),
                () = cancelled(&self.cancel) => Err(io::Error::other("the build was stopped before the client had its result")),
            }
        })
    }

    fn send(&mut self) -> io::Result<()> {
        let piece = self.gathered.split().freeze();
        let count = piece.len() as u64;
        let Some(mut open) = self.open.take().filter(|_| count > 0) else {
            return Ok(());
        };
        let sent = self.wait(open.send(piece));
        self.open = Some(open);
        self.sent += count;
        sent
    }
}

impl Write for SessionSink {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let count = buf.len().min(PIECE - self.gathered.len());
        self.gathered.extend_from_slice(&buf[..count]);
        if self.gathered.len() == PIECE {
            self.send()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobSink for SessionSink {
    fn begin(&mut self, digest: &Digest, size: u64) -> io::Result<bool> {
        let digest = digest.to_string();
        let begun = BlobWrite::begin(
            &self.session,
            ContentStore::Export,
            format!("{}-{digest}", self.name),
            &digest,
            size,
        );
        self.open = self.wait(begun)?;
        Ok(self.open.is_some())
    }

    fn end(&mut self) -> io::Result<()> {
        self.send()?;
        match self.open.take() {
            Some(open) => self.wait(open.finish()),
            None => Ok(()),
        }
    }
}

impl Drop for SessionSink {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            // nobody waits for a client to tidy up
            self.runtime.spawn(open.abandon());
        }
    }
}

fn failed(digest: &str, error: &str) -> io::Error {
    io::Error::other(format!("blob {digest}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn layouts_are_named_by_store_and_digest() {
        let digest = Digest::of(b"x");
        let (near, _far) = tokio::io::duplex(1024);
        let (session, _attached) = Session::attach(near, []).await.unwrap();
        let layout = |place: &str| layout(session.clone(), place, &Cancel::new());
        for place in [format!("a@{digest}"), format!("a:latest@{digest}")] {
            match layout(&place) {
                Ok(Source::Blobs { image, .. }) => assert_eq!(image, digest, "{place}"),
                other => panic!("{place}: {other:?}"),
            }
        }
        for place in ["a", "a:latest", &format!("@{digest}"), "a@sha256:12", "a@md5:12"] {
            assert!(layout(place).is_err(), "{place}");
        }
    }
}
