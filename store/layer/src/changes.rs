//! One layer's worth of changes, collected by path before any of it is written.

use std::collections::BTreeMap;

use mica_oci::Digest;

use crate::entry::{LinkKey, Meta};
use crate::path::ImagePath;
use crate::source::Source;

/// What happens to one path.
#[derive(Clone)]
pub enum Change {
    /// The path becomes this file.
    Node {
        /// All but the bytes.
        meta: Meta,
        /// Where the bytes of a regular file come from.
        source: Source,
        /// The digest of those bytes, where it is known without reading them.
        content: Option<Digest>,
        /// Paths with equal keys become one file.
        link: Option<(u32, LinkKey)>,
        /// For directories: lower layers do not show through.
        opaque: bool,
    },
    /// The path vanishes.
    Whiteout,
}

/// The changes of one layer in the order a tar lists them.
pub type Changes = BTreeMap<ImagePath, Change>;
