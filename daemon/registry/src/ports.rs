//! What this client needs of others: where bytes that are sent come from, where bytes that arrive go to, who wants to hear of it.

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use mica_oci::Digest;
use tokio::sync::mpsc;

/// A blob's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// A future of a port.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A blob that is to be sent; it may still be in the making.
pub trait Source: Send + Sync {
    /// What it is, once that is known.
    fn content(&self) -> Option<Content>;

    /// All its bytes from the start, as they become available. May be called again after a failure.
    fn open(&self) -> mpsc::Receiver<io::Result<Bytes>>;

    /// Waits until it is known what it is.
    fn complete(&self) -> Later<'_, io::Result<Content>>;
}

/// A part of a blob that arrived. Parts may come in any order and, after a failure, more than once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Where in the blob it belongs, in bytes from the start.
    pub offset: u64,
    /// The bytes.
    pub bytes: Bytes,
}

/// Where a blob's pieces go. Once nobody receives any more, the download ends.
pub type Pieces = mpsc::Sender<Piece>;

/// Something that goes on between us and a registry that its result does not tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A request failed and is made again after a pause.
    Retry {
        /// What is tried again.
        what: String,
        /// Why.
        reason: String,
        /// How long the pause is.
        pause: Duration,
    },
    /// The registry wants users to know something (`Warning` header, code 299).
    Warning(String),
    /// Another place than the registry itself answered.
    Mirror {
        /// The mirror's host.
        host: String,
    },
    /// A mirror failed, and the next place is asked.
    MirrorFailed {
        /// The mirror's host.
        host: String,
        /// Why.
        reason: String,
    },
}

/// How many different warnings are passed on at most: a registry can make up as many as it likes.
const MAX_WARNINGS: usize = 100;

/// Takes notices, the same warning once; clones lead to the same place.
#[derive(Clone)]
pub struct Listener {
    sink: Arc<dyn Fn(Notice) + Send + Sync>,
    warned: Arc<Mutex<BTreeSet<String>>>,
}

impl Listener {
    /// A listener that hands every notice to `sink`, which must not block.
    pub fn new(sink: impl Fn(Notice) + Send + Sync + 'static) -> Self {
        Self {
            sink: Arc::new(sink),
            warned: Arc::default(),
        }
    }

    /// Nobody listens.
    pub fn deaf() -> Self {
        Self::new(|_| {})
    }

    pub(crate) fn tell(&self, notice: Notice) {
        if let Notice::Warning(text) = &notice {
            let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
            if warned.len() >= MAX_WARNINGS || !warned.insert(text.clone()) {
                return;
            }
        }
        (self.sink)(notice);
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listener")
    }
}
