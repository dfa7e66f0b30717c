//! What the tests of the store share.
// each test file uses some of it; only functions marked as tests may unwrap by themselves
#![allow(dead_code, clippy::unwrap_used)]

pub(crate) mod archives;
pub(crate) mod checks;
pub(crate) mod renames;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use mica_layer::{Allowance, Changes, Packed, Policy, changes_of_tree, pack};
use mica_oci::config::{ImageConfig, RootFs};
use mica_oci::media::{OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST};
use mica_oci::{
    ChainId, Compression, ContentDigest, Descriptor, DiffId, Digest, Index, Manifest, Raw, Reference,
};
use mica_store::{Blob, CacheRecord, Image, Lease, Store};
use tempfile::TempDir;

use self::checks::{blob_in, tree_in};

/// An empty store.
pub(crate) fn store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    (folder, store)
}

/// A folder in memory where there is one: for tests that sync so often that a slow disk is all they would measure.
pub(crate) fn fast_folder() -> TempDir {
    let fast = Path::new("/dev/shm");
    let folder = match fast.is_dir() {
        true => tempfile::tempdir_in(fast),
        false => tempfile::tempdir(),
    };
    folder.unwrap()
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

/// What is in a folder, to be packed in the usual way.
pub(crate) fn tree_changes(folder: &Path) -> Changes {
    let policy = Policy::default();
    changes_of_tree(folder, policy.xattrs, Allowance::default(), &|| Ok(())).unwrap()
}

/// A layer that was made here, as a tree of one file with this text.
pub(crate) fn tree(store: &Store, lease: &Lease, text: &str) -> DiffId {
    let work = store.work(lease).unwrap();
    let dir = work.path().join("fs");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("file"), text).unwrap();
    let changes = tree_changes(&dir);
    let packed = pack(&changes, &Policy::default(), &mut std::io::sink(), None).unwrap();
    store.add_layer_tree(lease, &dir, &packed).unwrap().diff_id
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

/// A record of the build cache that leads to this layer.
pub(crate) fn cache_record(layer: DiffId, description: &str) -> CacheRecord {
    CacheRecord {
        layer,
        parent: ChainId::empty(),
        content: ContentDigest(Digest::of(b"content")),
        created: "2026-01-02T03:04:05Z".parse().unwrap(),
        description: description.to_owned(),
    }
}

/// Bytes that all below takes on disk, as `du` counts them.
pub(crate) fn du(place: &Path) -> u64 {
    let out = std::process::Command::new("du")
        .args(["-s", "--block-size=1"])
        .arg(place)
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

/// Bytes that a blob takes on disk.
pub(crate) fn blob_space(root: &Path, digest: &Digest) -> u64 {
    du(&blob_in(root, digest))
}

/// Bytes that a layer's tree takes on disk.
pub(crate) fn tree_space(root: &Path, diff_id: &DiffId) -> u64 {
    du(&tree_in(root, diff_id))
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

/// One entry of a tar made by hand, so that it can be as wrong as a test wants.
pub(crate) enum Entry<'a> {
    /// A regular file.
    File(&'a str, &'a [u8]),
    /// A symbolic link and its target.
    Symlink(&'a str, &'a str),
    /// A hard link and its target.
    Hardlink(&'a str, &'a str),
    /// A directory.
    Folder(&'a str),
}

/// A tar of these entries.
pub(crate) fn tar(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in entries {
        let (path, kind, link, bytes) = match entry {
            Entry::File(path, bytes) => (path, b'0', "", *bytes),
            Entry::Symlink(path, target) => (path, b'2', *target, &[][..]),
            Entry::Hardlink(path, target) => (path, b'1', *target, &[][..]),
            Entry::Folder(path) => (path, b'5', "", &[][..]),
        };
        all.extend(header(path, kind, link, bytes.len() as u64));
        all.extend(bytes);
        all.resize(all.len().next_multiple_of(512), 0);
    }
    all.resize(all.len() + 1024, 0);
    all
}

/// A ustar header.
pub(crate) fn header(path: &str, kind: u8, link: &str, size: u64) -> Vec<u8> {
    let mut block = vec![0; 512];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, path);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}\0"));
    put(136, "00000000000\0");
    put(148, "        ");
    put(157, link);
    put(257, "ustar\x0000");
    block[156] = kind;
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Bytes as a compressor gives them.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// A manifest of this config and these compressed layers.
pub(crate) fn manifest(config: &Raw<ImageConfig>, blobs: &[&Blob]) -> Raw<Manifest> {
    let layers = blobs
        .iter()
        .map(|blob| Descriptor::new(OCI_LAYER_GZIP, blob.digest, blob.size));
    let own = Descriptor::new(OCI_CONFIG, config.digest(), config.bytes().len() as u64);
    Raw::of(Manifest::new(own, layers.collect())).unwrap()
}

/// What leads to a manifest.
pub(crate) fn descriptor(manifest: &Raw<Manifest>) -> Descriptor {
    Descriptor::new(OCI_MANIFEST, manifest.digest(), manifest.bytes().len() as u64)
}

/// An index of what these lead to.
pub(crate) fn index(manifests: Vec<Descriptor>) -> Raw<Index> {
    Raw::of(Index {
        schema_version: 2,
        media_type: None,
        manifests,
        annotations: BTreeMap::new(),
    })
    .unwrap()
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(&mut next)
        .take(length.div_ceil(8))
        .flatten()
        .collect();
    bytes.truncate(length);
    bytes
}

/// An image as a registry has it, of layers given as their compression and bytes.
pub(crate) fn received(config: &Raw<ImageConfig>, layers: &[(Compression, &[u8])]) -> Raw<Manifest> {
    let descriptor = |(compression, blob): &(Compression, &[u8])| {
        Descriptor::new(
            compression.layer_media_type(),
            Digest::of(blob),
            blob.len() as u64,
        )
    };
    let own = Descriptor::new(OCI_CONFIG, config.digest(), config.bytes().len() as u64);
    Raw::of(Manifest::new(own, layers.iter().map(descriptor).collect())).unwrap()
}

/// Brings in an image of one gzipped layer as a pull does, without looking into the layer.
pub(crate) fn pull(store: &Store, lease: &Lease, author: &str, diff_id: DiffId, blob: &[u8]) -> Image {
    let config = config(author, &[diff_id]);
    let kept = store.put_blob(lease, blob).unwrap();
    store
        .add_layer_blob_unchecked(lease, &kept, Compression::Gzip, &diff_id)
        .unwrap();
    let manifest = received(&config, &[(Compression::Gzip, blob)]);
    store
        .commit_pulled(lease, &config, &manifest, &[], &[name(author)])
        .unwrap()
        .image
}

/// Lets a store that is not open believe that the machine was restarted.
pub(crate) fn restart(root: &Path) -> Store {
    let database = rusqlite::Connection::open(root.join("mica/db.sqlite")).unwrap();
    database
        .execute("UPDATE meta SET value = 'before' WHERE key = 'boot'", [])
        .unwrap();
    drop(database);
    Store::open(root).unwrap()
}
