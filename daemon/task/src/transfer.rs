//! What a pull or push tells of itself while it goes on.

use mica_oci::{Digest, Reference, Repository};

/// Something that happened on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransferEvent {
    /// What is pulled was found.
    Found {
        /// The repository.
        repository: Repository,
        /// The tag or digest.
        which: String,
        /// The digest of the manifest or index.
        digest: Digest,
    },
    /// A layer got somewhere. `digest` is the compressed blob's when pulling, the diff id when pushing.
    Layer {
        /// Which.
        digest: Digest,
        /// Where it got.
        state: LayerState,
    },
    /// Something the user should know.
    Note(String),
    /// A pull ended; the digest is what the name led to at the registry.
    Pulled {
        /// What was asked for.
        reference: Reference,
        /// The digest of the manifest or index.
        digest: Digest,
        /// Whether the name leads to another image than before.
        is_new: bool,
    },
    /// A tag was pushed.
    Pushed {
        /// The tag.
        tag: String,
        /// The manifest's digest.
        digest: Digest,
        /// The manifest's length in bytes.
        size: u64,
    },
}

/// Where a layer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerState {
    /// It will be fetched.
    Wanted,
    /// It is here.
    AlreadyHere,
    /// It comes.
    Fetching {
        /// Bytes so far.
        current: u64,
        /// Bytes in all.
        total: u64,
    },
    /// It came and is looked at.
    Verifying,
    /// All of it is here.
    Fetched,
    /// It belongs to the image now.
    Done,
    /// It will be sent.
    Prepared,
    /// It goes.
    Sending {
        /// Bytes so far.
        current: u64,
        /// Bytes in all, where that is known.
        total: Option<u64>,
    },
    /// It was sent.
    Sent,
    /// The registry has it.
    AlreadyThere,
    /// The registry took it over from another repository.
    Mounted(Repository),
    /// It is not to be sent (foreign layers).
    Left,
}
