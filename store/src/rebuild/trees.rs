//! Unpacked layers: one counts only if packing it gives the layer.

use std::path::Path;

use mica_layer::{Packed, Policy, changes_of_tree, pack};
use mica_oci::{ContentDigest, DiffId};

use crate::layers::forms::PACKINGS;

/// A tree that gives its layer.
pub(super) struct Tree {
    /// The length of the tar it gives, in bytes.
    pub(super) size: u64,
    /// What it holds, times aside.
    pub(super) content: ContentDigest,
}

/// Packs a tree in all ways there are until one gives the layer. What cannot be packed gives none.
pub(super) fn packed(tree: &Path, diff_id: &DiffId) -> Option<Tree> {
    let changes = changes_of_tree(tree).ok()?;
    PACKINGS.iter().find_map(|(xattrs, times)| {
        let policy = Policy {
            xattrs: *xattrs,
            times: *times,
            clamp: None,
        };
        let packed: Packed = pack(&changes, &policy, &mut std::io::sink(), None).ok()?;
        let tree = Tree {
            size: packed.size,
            content: packed.content,
        };
        (packed.diff_id == *diff_id).then_some(tree)
    })
}
