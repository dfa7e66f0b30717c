//! What the tests of the store share.
#![allow(dead_code)]

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use mica_oci::config::{ImageConfig, RootFs};
use mica_oci::{ContentDigest, DiffId, Digest, Raw, Reference};
use mica_store::{Lease, Packed, Store};
use tempfile::TempDir;

/// An empty store.
pub(crate) fn store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    (folder, store)
}

/// A reference.
pub(crate) fn name(text: &str) -> Reference {
    text.parse::<Reference>().unwrap().or_latest()
}

/// A layer whose tar is these bytes.
pub(crate) fn layer(store: &Store, lease: &Lease, bytes: &[u8]) -> DiffId {
    let packed = Packed {
        diff_id: DiffId(Digest::of(bytes)),
        size: bytes.len() as u64,
        content: ContentDigest(Digest::of(bytes)),
    };
    let mut ingest = store.ingest(lease).unwrap();
    ingest.write_all(bytes).unwrap();
    store.add_layer_tar(lease, ingest, &packed).unwrap().diff_id
}

/// A config of these layers.
pub(crate) fn config(author: &str, diff_ids: &[DiffId]) -> Raw<ImageConfig> {
    Raw::of(ImageConfig {
        author: author.into(),
        architecture: "amd64".into(),
        os: "linux".into(),
        created: Some("2026-01-02T03:04:05Z".parse().unwrap()),
        rootfs: RootFs {
            diff_ids: diff_ids.to_vec(),
            ..RootFs::default()
        },
        ..ImageConfig::default()
    })
    .unwrap()
}

/// The names of all blobs.
pub(crate) fn blob_files(root: &Path) -> BTreeSet<String> {
    names(&root.join("blobs/sha256"))
}

/// What lies in ingest/ and work/.
pub(crate) fn scratch_files(root: &Path) -> BTreeSet<String> {
    let mut all = names(&root.join("mica/ingest"));
    all.extend(names(&root.join("mica/work")));
    all
}

/// The names in a folder.
pub(crate) fn names(folder: &Path) -> BTreeSet<String> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}
