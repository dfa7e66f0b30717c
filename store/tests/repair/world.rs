//! A damaged store, a registry to mend it from, and the ways to damage things.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use mica_oci::{Compression, DiffId, Digest, Manifest, Raw, Repository};
use mica_store::{Cure, Finding, GivenUp, Goods, Image, Lease, Level, Mending, Store, Thing};
use tempfile::TempDir;

use crate::support::checks::{check, flip, tree_in};
use crate::support::{self, Entry, config, gzip, name, noise, store, tar};

/// A registry: the blobs it has.
#[derive(Default)]
pub(crate) struct Registry(pub(crate) HashMap<Digest, Vec<u8>>);

/// What became of a thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RepairOutcome {
    Mended(Cure),
    Fetched,
    Left(String),
    Lost(Option<PathBuf>),
}

pub(crate) fn mend(store: &Store, finding: &Finding) -> Mending {
    store.mend(finding, &|| Ok(())).unwrap()
}

pub(crate) fn give_up(store: &Store, finding: &Finding) -> RepairOutcome {
    match store.give_up(finding, &|| Ok(())).unwrap() {
        GivenUp::Done(cure) => RepairOutcome::Mended(cure),
        GivenUp::Lost { aside } => RepairOutcome::Lost(aside),
    }
}

impl Registry {
    pub(crate) fn add(&mut self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        self.0.insert(digest, bytes.to_vec());
        digest
    }

    /// Mends all that a check finds, one thing after the other.
    pub(crate) fn repair(&self, store: &Store, level: Level) -> Vec<(Thing, RepairOutcome)> {
        let found = check(store, level);
        found
            .iter()
            .map(|finding| (finding.thing.clone(), self.one(store, finding)))
            .collect()
    }

    fn one(&self, store: &Store, finding: &Finding) -> RepairOutcome {
        let errands = match mend(store, finding) {
            Mending::Done(cure) => return RepairOutcome::Mended(cure),
            Mending::Left(reason) => return RepairOutcome::Left(reason),
            Mending::Fetch(errands) => errands,
        };
        for errand in errands {
            assert!(!errand.from.is_empty());
            let lease = store.lease();
            let digest = match &errand.goods {
                Goods::Document(digest) => *digest,
                Goods::Config(config) => config.digest,
                Goods::Layer(layer, _) => layer.digest,
            };
            let Some(bytes) = self.0.get(&digest) else {
                continue;
            };
            let blob = store.put_blob(&lease, bytes).unwrap();
            if let Goods::Layer(layer, diff_id) = &errand.goods {
                assert_eq!(layer.size, bytes.len() as u64);
                let compression = layer.media_type.layer_compression().unwrap();
                store
                    .add_fetched_layer(&lease, &blob.digest, compression, diff_id)
                    .unwrap();
            }
            drop(lease);
            assert!(matches!(mend(store, finding), Mending::Done(_)), "{finding}");
            return RepairOutcome::Fetched;
        }
        give_up(store, finding)
    }
}

pub(crate) fn cut(path: &Path) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_len(3).unwrap();
}

pub(crate) fn delete(path: &Path) {
    std::fs::remove_file(path).unwrap();
}

/// Something of another kind in its place.
pub(crate) fn displace(path: &Path) {
    delete(path);
    std::fs::create_dir(path).unwrap();
}

/// Damages a file.
type Damage = fn(&Path);

/// Each way to damage a file, by a name; deleted last.
pub(crate) const WAYS: [(&str, Damage); 4] = [
    ("flip", flip),
    ("cut", cut),
    ("displace", displace),
    ("delete", delete),
];

pub(crate) fn bad(store: &Store, name: &str) -> PathBuf {
    store.root().join("mica/bad").join(name)
}

/// Brings in an image of one layer as a pull does, with a manifest that cannot be made here.
pub(crate) fn bring(store: &Store, lease: &Lease, diff_id: DiffId, zipped: &[u8]) -> (Image, Raw<Manifest>) {
    let config = config("pulled", &[diff_id]);
    let kept = store.put_blob(lease, zipped).unwrap();
    store
        .add_layer_blob_unchecked(lease, &kept, Compression::Gzip, &diff_id)
        .unwrap();
    let mut manifest = (*support::manifest(&config, &[&kept])).clone();
    manifest
        .annotations
        .insert("made".to_owned(), "elsewhere".to_owned());
    let manifest = Raw::of(manifest).unwrap();
    let committed = store.commit_pulled(lease, &config, &manifest, &[], &[name("pulled")]);
    (committed.unwrap().image, manifest)
}

/// An image that was pulled, with all that it is made of, and the registry it came from.
pub(crate) struct World {
    _folder: TempDir,
    pub(crate) store: Store,
    pub(crate) registry: Registry,
    pub(crate) pulled: Image,
    pub(crate) diff_id: DiffId,
    pub(crate) compressed: Digest,
}

impl World {
    pub(crate) fn new() -> Self {
        let (folder, store) = store();
        let lease = store.lease();
        let plain = tar(&[Entry::File("a", &noise(3, 3000)), Entry::Folder("d")]);
        let (diff_id, zipped) = (DiffId(Digest::of(&plain)), gzip(&plain));
        let (pulled, manifest) = bring(&store, &lease, diff_id, &zipped);
        let mut registry = Registry::default();
        let compressed = registry.add(&zipped);
        registry.add(pulled.config.bytes());
        registry.add(manifest.bytes());
        let from: Repository = name("registry.test/team/app").repository;
        let all = [compressed, *pulled.id.digest(), pulled.manifest.digest];
        store.add_sources(&all, &from, &Digest::of(b"nobody")).unwrap();
        drop(lease);
        Self {
            _folder: folder,
            store,
            registry,
            pulled,
            diff_id,
            compressed,
        }
    }

    /// The same store, opened again: nothing is in memory.
    pub(crate) fn again(self) -> Self {
        let root = self.store.root().to_owned();
        drop(self.store);
        Self {
            store: Store::open(&root).unwrap(),
            ..self
        }
    }
}

pub(crate) fn file_of(store: &Store, diff_id: &DiffId, file: &str) -> PathBuf {
    tree_in(store.root(), diff_id).join("fs").join(file)
}
