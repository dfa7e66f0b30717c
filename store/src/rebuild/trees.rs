//! Unpacked layers: one counts only if packing it gives the layer.

use std::path::Path;

use mica_layer::{Allowance, Packed, Policy, changes_of_tree, pack};
use mica_oci::{ContentDigest, DiffId};

use crate::layers::forms::PACKINGS;

/// A tree that gives its layer.
pub(super) struct Tree {
    /// The length of the tar it gives, in bytes.
    pub(super) size: u64,
    /// What it holds, times aside.
    pub(super) content: ContentDigest,
}

/// Packs a tree in all ways there are until one gives the layer; in the usual way only if the layer `is_elsewhere` too: then it can be
/// unpacked again, which is no more work than packing a foreign one in vain. What cannot be packed, or is too large to be, gives none.
pub(super) fn packed(tree: &Path, diff_id: &DiffId, is_elsewhere: bool) -> Option<Tree> {
    let ways = if is_elsewhere { 1 } else { PACKINGS.len() };
    PACKINGS.iter().take(ways).find_map(|(xattrs, times)| {
        let policy = Policy {
            xattrs: *xattrs,
            times: *times,
            clamp: None,
        };
        let changes = changes_of_tree(tree, *xattrs, Allowance::default(), &|| Ok(())).ok()?;
        let packed: Packed = pack(&changes, &policy, &mut std::io::sink(), None).ok()?;
        let tree = Tree {
            size: packed.size,
            content: packed.content,
        };
        (packed.diff_id == *diff_id).then_some(tree)
    })
}
