//! A blob in memory that is to be sent.

use std::io;

use bytes::Bytes;
use mica_oci::Digest;
use mica_registry::{Content, Later, Source};
use tokio::sync::mpsc;

/// The blob; whether it is known what it is before it is sent is for the test to say.
pub(crate) struct Memory {
    bytes: Bytes,
    known: bool,
}

impl Memory {
    /// A blob that is known from the start.
    pub(crate) fn known(bytes: &[u8]) -> Self {
        Self {
            bytes: Bytes::copy_from_slice(bytes),
            known: true,
        }
    }

    /// A blob still in the making.
    pub(crate) fn unknown(bytes: &[u8]) -> Self {
        Self {
            known: false,
            ..Self::known(bytes)
        }
    }

    pub(crate) fn own(&self) -> Content {
        Content {
            digest: Digest::of(&self.bytes),
            size: self.bytes.len() as u64,
        }
    }
}

impl Source for Memory {
    fn content(&self) -> Option<Content> {
        self.known.then(|| self.own())
    }

    fn open(&self) -> mpsc::Receiver<io::Result<Bytes>> {
        let (sender, receiver) = mpsc::channel(4);
        let mut left = self.bytes.clone();
        tokio::spawn(async move {
            while !left.is_empty() {
                let piece = left.split_to(left.len().min(64 << 10));
                if sender.send(Ok(piece)).await.is_err() {
                    return;
                }
            }
        });
        receiver
    }

    fn complete(&self) -> Later<'_, io::Result<Content>> {
        Box::pin(async { Ok(self.own()) })
    }
}
