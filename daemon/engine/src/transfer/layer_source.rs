//! A layer as it is sent: a blob that is here, or one that is being compressed while it goes out.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use mica_oci::{Compression, DiffId, Digest};
use mica_registry::{Content, Later, Source};
use mica_store::{Blob, Growth, Lease, Store};
use tokio::sync::{mpsc, watch};

use crate::bridge::{blocking, pieces};
use crate::error::Error;

/// A blob that is here.
pub(crate) struct StoredSource(pub(crate) Blob);

impl Source for StoredSource {
    fn content(&self) -> Option<Content> {
        Some(content(&self.0))
    }

    fn open(&self) -> mpsc::Receiver<io::Result<Bytes>> {
        let blob = self.0.clone();
        pieces(move || {
            let file = blob.open_checked().map_err(io::Error::other)?;
            Ok(Box::new(file) as Box<dyn Read + Send>)
        })
    }

    fn complete(&self) -> Later<'_, io::Result<Content>> {
        Box::pin(async { Ok(content(&self.0)) })
    }
}

/// Bytes that are here.
pub(crate) struct BytesSource {
    bytes: Bytes,
    content: Content,
}

impl BytesSource {
    pub(crate) fn new(bytes: Bytes) -> Self {
        let content = Content {
            digest: Digest::of(&bytes),
            size: bytes.len() as u64,
        };
        Self { bytes, content }
    }
}

impl Source for BytesSource {
    fn content(&self) -> Option<Content> {
        Some(self.content)
    }

    fn open(&self) -> mpsc::Receiver<io::Result<Bytes>> {
        let (sender, receiver) = mpsc::channel(1);
        // there is room for one
        let _ = sender.try_send(Ok(self.bytes.clone()));
        receiver
    }

    fn complete(&self) -> Later<'_, io::Result<Content>> {
        Box::pin(async { Ok(self.content) })
    }
}

/// A layer that is being compressed.
pub(crate) struct GrowingSource {
    growth: Growth,
    outcome: watch::Receiver<Option<Result<Blob, Arc<Error>>>>,
}

impl GrowingSource {
    /// Begins to compress a layer with all processors. `done` is dropped when that is over.
    pub(crate) fn begin(
        store: &Store,
        lease: &Lease,
        diff_id: DiffId,
        compression: Compression,
        done: impl Send + 'static,
    ) -> Self {
        let growth = Growth::new();
        let (sender, outcome) = watch::channel(None);
        let (store, lease, grown) = (store.clone(), lease.clone(), growth.clone());
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        tokio::spawn(async move {
            let made =
                blocking(move || Ok(store.compress_layer(&lease, &diff_id, compression, threads, &grown)?))
                    .await;
            drop(done);
            sender.send_replace(Some(made.map_err(Arc::new)));
        });
        Self { growth, outcome }
    }

    /// Waits until all of it is compressed.
    pub(crate) async fn finished(&self) -> Result<Blob, Arc<Error>> {
        let mut outcome = self.outcome.clone();
        match outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or_else(|| Err(Arc::new(Error::Worker))),
            Err(_) => Err(Arc::new(Error::Worker)),
        }
    }

    /// Why it could not be compressed, if that is so; waits for it. An upload that reads it may fail before that is told.
    pub(crate) async fn failure(&self) -> Option<Arc<Error>> {
        match self.growth.has_failed() {
            true => self.finished().await.err(),
            false => None,
        }
    }

    fn made(&self) -> Option<Content> {
        match &*self.outcome.borrow() {
            Some(Ok(blob)) => Some(content(blob)),
            _ => None,
        }
    }
}

impl Drop for GrowingSource {
    fn drop(&mut self) {
        // nobody is left to send it: the compression may stop
        self.growth.cancel();
    }
}

impl Source for GrowingSource {
    fn content(&self) -> Option<Content> {
        self.made()
    }

    fn open(&self) -> mpsc::Receiver<io::Result<Bytes>> {
        let growth = self.growth.clone();
        pieces(move || Ok(Box::new(growth.reader()) as Box<dyn Read + Send>))
    }

    fn complete(&self) -> Later<'_, io::Result<Content>> {
        Box::pin(async {
            let blob = self.finished().await.map_err(io::Error::other)?;
            Ok(content(&blob))
        })
    }
}

fn content(blob: &Blob) -> Content {
    Content {
        digest: blob.digest,
        size: blob.size,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn why_it_failed_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let growth = Growth::new();
        let (sender, outcome) = watch::channel(None);
        let source = GrowingSource {
            growth: growth.clone(),
            outcome,
        };
        assert!(source.failure().await.is_none());
        // no layer is there
        let diff_id = DiffId(Digest::of(b"none"));
        let made = store.compress_layer(&store.lease(), &diff_id, Compression::Gzip, 1, &growth);
        let mut pieces = source.open();
        assert!(pieces.recv().await.unwrap().is_err());
        let failure = source.failure();
        tokio::pin!(failure);
        let early = tokio::time::timeout(Duration::from_millis(50), &mut failure).await;
        assert!(early.is_err(), "{early:?}");
        sender.send_replace(Some(made.map_err(|error| Arc::new(error.into()))));
        let text = failure.await.unwrap().describe();
        assert!(text.contains(&diff_id.to_string()), "{text}");
    }
}
