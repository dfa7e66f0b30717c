//! Blobs in the stores of a client: images of its OCI layouts come from there, results go there.

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use mica_buildkit::{BlobRead, ContentStore, Session};
use mica_engine::{Blobs, Source};
use mica_oci::Digest;
use mica_task::Cancel;
use tokio::runtime::Handle;
use tonic::Status;

use crate::grpc::lender::wait;

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
