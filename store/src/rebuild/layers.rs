//! In which forms layers lie, as far as that can be told from the files: tars that were hashed, trees that were packed, and blobs
//! that images say hold them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use mica_layer::decompress;
use mica_oci::media::OCI_LAYER;
use mica_oci::{Compression, ContentDigest, Descriptor, DiffId, Digest, Hashing};

use crate::blobs::Blob;
use crate::error::Error;
use crate::layers::{claims, forms::copy};
use crate::paths::Paths;
use crate::rebuild::Tell;
use crate::rebuild::images::Known;
use crate::rebuild::inventory::Inventory;
use crate::rebuild::report::RebuildProgress;
use crate::rebuild::trees::{self, Tree};

/// What there is of a layer.
#[derive(Default)]
pub(super) struct Forms {
    /// The length of its tar.
    pub(super) tar: Option<u64>,
    /// Its tree, which gave the layer when it was packed.
    pub(super) tree: Option<Tree>,
    /// The blobs that are said to hold it.
    pub(super) claims: BTreeMap<Digest, Claim>,
    /// Whether a tree lies in its place that gives another layer.
    false_tree: bool,
}

/// A blob that is said to hold a layer.
pub(super) struct Claim {
    pub(super) blob: Blob,
    pub(super) compression: Compression,
    /// What it seems to hold, in bytes.
    pub(super) guess: u64,
}

impl Forms {
    /// Whether there is anything of it.
    pub(super) fn is_there(&self) -> bool {
        self.tar.is_some() || self.tree.is_some() || !self.claims.is_empty()
    }

    /// The length of its tar: known, or guessed from a blob.
    pub(super) fn size(&self) -> u64 {
        let tree = self.tree.as_ref().map(|tree| tree.size);
        let known = self.tar.or(tree);
        known
            .or_else(|| self.claims.values().next().map(|claim| claim.guess))
            .unwrap_or(0)
    }

    pub(super) fn content(&self) -> Option<ContentDigest> {
        self.tree.as_ref().map(|tree| tree.content)
    }

    /// How a manifest that is made here names it.
    pub(super) fn describe(&self, diff_id: &DiffId) -> Option<Descriptor> {
        if self.tar.is_some() || self.tree.is_some() {
            return Some(Descriptor::new(OCI_LAYER, *diff_id.digest(), self.size()));
        }
        let claim = self.claims.values().next()?;
        let media_type = claim.compression.layer_media_type();
        Some(Descriptor::new(media_type, claim.blob.digest, claim.blob.size))
    }
}

/// All layers of all images.
pub(super) struct Layers<'a> {
    paths: &'a Paths,
    inventory: &'a Inventory,
    forms: HashMap<DiffId, Forms>,
    none: Forms,
}

impl<'a> Layers<'a> {
    pub(super) fn new(paths: &'a Paths, inventory: &'a Inventory) -> Self {
        Self {
            paths,
            inventory,
            forms: HashMap::new(),
            none: Forms::default(),
        }
    }

    /// What there is of a layer.
    pub(super) fn of(&self, diff_id: &DiffId) -> &Forms {
        self.forms.get(diff_id).unwrap_or(&self.none)
    }

    /// The layers of which a tree that gives another layer is all that is there.
    pub(super) fn false_trees(&self) -> impl Iterator<Item = &DiffId> {
        let is_false = |(_, forms): &(&DiffId, &Forms)| forms.false_tree && !forms.is_there();
        self.forms.iter().filter(is_false).map(|(diff_id, _)| diff_id)
    }

    /// Looks at the layers of all images.
    pub(super) fn look(&mut self, images: &[Known], tell: Tell<'_>) -> Result<(), Error> {
        for diff_id in images.iter().flat_map(|image| &image.diff_ids) {
            self.forms.entry(*diff_id).or_insert_with(|| Forms {
                tar: self.inventory.blobs.get(diff_id.digest()).copied(),
                ..Forms::default()
            });
        }
        for image in images {
            for manifest in self.inventory.manifests_of(image.id.digest()) {
                if manifest.layers.len() == image.diff_ids.len() {
                    for (diff_id, named) in image.diff_ids.iter().zip(&manifest.layers) {
                        let said = named.media_type.layer_compression();
                        self.claim(diff_id, named.digest, said.unwrap_or(Compression::Gzip))?;
                    }
                }
            }
        }
        self.look_at_trees(tell);
        Ok(())
    }

    fn look_at_trees(&mut self, tell: Tell<'_>) {
        let has_tree = |diff_id: &&DiffId| fs_err::symlink_metadata(self.paths.tree(diff_id)).is_ok();
        let trees: BTreeSet<DiffId> = self.forms.keys().filter(has_tree).copied().collect();
        let (mut done, total) = (0, trees.len() as u64);
        for diff_id in trees {
            tell(RebuildProgress::Trees { done, total });
            done += 1;
            if let Some(forms) = self.forms.get_mut(&diff_id) {
                forms.tree = trees::packed(&self.paths.tree(&diff_id), &diff_id, forms.is_there());
                forms.false_tree = forms.tree.is_none();
            }
        }
        if total > 0 {
            tell(RebuildProgress::Trees { done, total });
        }
    }

    /// Looks for layers of listed images that nothing is known of: the manifest that named their blobs may be lost. Every blob that
    /// nothing names is looked into.
    pub(super) fn search(&mut self, images: &[Known], tell: Tell<'_>) -> Result<(), Error> {
        let listed = images.iter().filter(|image| image.is_listed);
        let mut missing: BTreeSet<DiffId> = listed.flat_map(|image| &image.diff_ids).copied().collect();
        missing.retain(|diff_id| !self.of(diff_id).is_there());
        if missing.is_empty() {
            return Ok(());
        }
        let mut known: HashSet<Digest> = images.iter().map(|image| *image.id.digest()).collect();
        for (diff_id, forms) in &self.forms {
            known.insert(*diff_id.digest());
            known.extend(forms.claims.keys());
        }
        let is_unknown = |digest: &&Digest| !known.contains(digest) && !self.inventory.is_manifest(digest);
        let unknown: Vec<Digest> = self.inventory.blobs.keys().filter(is_unknown).copied().collect();
        let (mut done, total) = (0, unknown.len() as u64);
        for digest in unknown {
            tell(RebuildProgress::Search { done, total });
            done += 1;
            let held = held(&self.paths.blob(&digest)).filter(|diff_id| missing.contains(diff_id));
            if let Some(diff_id) = held {
                self.claim(&diff_id, digest, Compression::Gzip)?;
            }
        }
        tell(RebuildProgress::Search { done, total });
        Ok(())
    }

    /// Notes that a blob is said to hold a layer, and how it is said to be compressed.
    fn claim(&mut self, diff_id: &DiffId, digest: Digest, said: Compression) -> Result<(), Error> {
        let Some(size) = self.inventory.blobs.get(&digest) else {
            return Ok(());
        };
        let Some(forms) = self.forms.get_mut(diff_id) else {
            return Ok(());
        };
        if digest == *diff_id.digest() || forms.claims.contains_key(&digest) {
            return Ok(());
        }
        let blob = Blob::at(digest, *size, self.paths.blob(&digest), &Arc::default());
        // one that is not compressed and not the tar is not the layer
        if let Some(compression) = claims::seen_compression(&blob, said)? {
            let guess = claims::guess(&blob, compression)?;
            let claim = Claim {
                blob,
                compression,
                guess,
            };
            forms.claims.insert(digest, claim);
        }
        Ok(())
    }
}

/// The layer that a blob holds; nothing if it is not one that is compressed.
fn held(blob: &Path) -> Option<DiffId> {
    let (plain, _) = decompress(fs_err::File::open(blob).ok()?).ok()?;
    let mut plain = Hashing::new(plain);
    copy(&mut plain, &mut std::io::sink()).ok()?;
    Some(DiffId(plain.finish().1))
}
