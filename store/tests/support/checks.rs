//! What a check finds of a store, and the files that tests damage for it.

use std::path::{Path, PathBuf};

use mica_oci::{DiffId, Digest};
use mica_store::{CheckEvent, Finding, Level, Store, Watch};

/// All that a check finds.
pub(crate) fn check(store: &Store, level: Level) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut tell = |event| {
        if let CheckEvent::Found(finding) = event {
            found.push(*finding);
        }
    };
    let mut watch = Watch {
        go_on: &|| Ok(()),
        tell: &mut tell,
    };
    let checked = store.check(level, &mut watch).unwrap();
    assert_eq!(checked.findings, found.len() as u64);
    found
}

/// Fails if a check finds anything.
pub(crate) fn find_nothing(store: &Store, level: Level) {
    let found: Vec<String> = check(store, level).iter().map(ToString::to_string).collect();
    assert_eq!(found, [""; 0]);
}

/// One byte of a file, changed.
pub(crate) fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// Where a blob lies.
pub(crate) fn blob_in(root: &Path, digest: &Digest) -> PathBuf {
    root.join("blobs/sha256").join(digest.hex())
}

/// Where the folder of a layer's tree lies.
pub(crate) fn tree_in(root: &Path, diff_id: &DiffId) -> PathBuf {
    root.join("mica/trees").join(diff_id.digest().hex())
}
