//! What packing a layer gave.

use mica_oci::{ContentDigest, DiffId};

/// What packing a layer gave.
#[derive(Debug, Clone, Copy)]
pub struct Packed {
    /// Digest of the tar.
    pub diff_id: DiffId,
    /// Length of the tar in bytes.
    pub size: u64,
    /// What the layer holds, times aside.
    pub content: ContentDigest,
}
