//! What lies in `blobs/`: every file is hashed, and of manifests and indexes it is noted what they name.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::Path;

use fs_err as fs;
use mica_oci::document::DOCUMENT_LIMIT;
use mica_oci::media::OCI_LAYER;
use mica_oci::{Descriptor, Digest, Hasher, Manifest, Raw, Received};

use crate::commit::describe;
use crate::error::Error;
use crate::gc::{digest_of, names};
use crate::paths::Paths;
use crate::rebuild::Tell;
use crate::rebuild::aside::Bad;
use crate::rebuild::report::RebuildProgress;

/// How much is read at once, in bytes.
const BUFFER: usize = 256 << 10;
/// After so many bytes progress is told again.
const STRIDE: u64 = 16 << 20;

/// A manifest of which the bytes are right.
pub(super) struct SeenManifest {
    /// What an image's row says of it.
    pub(super) descriptor: Descriptor,
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
    /// Whether it is what this store writes for an image that came without one.
    pub(super) is_own: bool,
}

/// The blobs that are what their names say.
#[derive(Default)]
pub(super) struct Inventory {
    /// With their lengths in bytes.
    pub(super) blobs: HashMap<Digest, u64>,
    /// Those that are manifests.
    pub(super) manifests: BTreeMap<Digest, SeenManifest>,
    /// The manifests that name a config.
    by_config: HashMap<Digest, Vec<Digest>>,
    /// The indexes that list a manifest.
    listed_in: HashMap<Digest, Vec<Digest>>,
}

/// Hashes all blobs. What is not what its name says goes to `bad`.
pub(super) fn take(paths: &Paths, bad: &mut Bad<'_>, tell: Tell<'_>) -> Result<Inventory, Error> {
    let folder = paths.blobs();
    let mut files = Vec::new();
    for name in names(&folder)? {
        let path = folder.join(&name);
        let meta = fs::symlink_metadata(&path).map_err(Error::io("look into the store"))?;
        match digest_of(&name).filter(|_| meta.is_file()) {
            Some(digest) => files.push((digest, meta.len())),
            None => bad.take(&path)?,
        }
    }
    files.sort();
    let mut inventory = Inventory::default();
    let mut told = Told {
        bytes: 0,
        next: 0,
        total: files.iter().map(|(_, size)| size).sum(),
        tell,
    };
    for (digest, size) in files {
        let path = paths.blob(&digest);
        // what cannot be read is no better than what reads wrongly
        match read(&path, size, &mut told) {
            Ok((actual, document)) if actual == digest => {
                inventory.blobs.insert(digest, size);
                inventory.note(digest, &document);
            }
            Ok(_) | Err(_) => bad.take(&path)?,
        }
    }
    told.say();
    Ok(inventory)
}

struct Told<'a> {
    bytes: u64,
    next: u64,
    total: u64,
    tell: Tell<'a>,
}

impl Told<'_> {
    fn read(&mut self, count: usize) {
        self.bytes += count as u64;
        if self.bytes >= self.next {
            self.next = self.bytes + STRIDE;
            self.say();
        }
    }

    fn say(&mut self) {
        (self.tell)(RebuildProgress::Blobs {
            bytes: self.bytes,
            total: self.total.max(self.bytes),
        });
    }
}

/// The digest of a file, and its bytes if it may be a document.
fn read(path: &Path, size: u64, told: &mut Told<'_>) -> std::io::Result<(Digest, Vec<u8>)> {
    let mut file = fs::File::open(path)?;
    let (mut hasher, mut buffer, mut document) = (Hasher::new(), vec![0; BUFFER], Vec::new());
    let mut is_document = size <= DOCUMENT_LIMIT as u64;
    loop {
        let count = match file.read(&mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if count == 0 {
            return Ok((hasher.finish(), document));
        }
        let bytes = &buffer[..count];
        hasher.update(bytes);
        told.read(count);
        if document.is_empty() {
            is_document &= bytes.trim_ascii_start().starts_with(b"{");
        }
        if is_document && document.len() + count <= DOCUMENT_LIMIT {
            document.extend_from_slice(bytes);
        }
    }
}

impl Inventory {
    /// Notes what a blob names if it is a manifest or an index.
    fn note(&mut self, digest: Digest, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        match Received::read(bytes, None) {
            Ok(Received::Manifest(manifest)) => {
                let config = manifest.config.digest;
                self.by_config.entry(config).or_default().push(digest);
                self.manifests.insert(digest, seen(&manifest));
            }
            Ok(Received::Index(index)) => {
                for entry in &index.manifests {
                    self.listed_in.entry(entry.digest).or_default().push(digest);
                }
            }
            // configs, and whatever layers hold
            Err(_) => {}
        }
    }

    /// Whether a blob is a manifest.
    pub(super) fn is_manifest(&self, digest: &Digest) -> bool {
        self.manifests.contains_key(digest)
    }

    /// The manifests that name a config.
    pub(super) fn manifests_of(&self, config: &Digest) -> impl Iterator<Item = &SeenManifest> {
        let found = self.by_config.get(config).into_iter().flatten();
        found.filter_map(|digest| self.manifests.get(digest))
    }

    /// The documents of an image by what they say: the manifests that name its config and were not made here, and the indexes that
    /// list one of those.
    pub(super) fn documents_of(&self, config: &Digest) -> Vec<Digest> {
        let mut documents = Vec::new();
        for manifest in self.manifests_of(config).filter(|manifest| !manifest.is_own) {
            let digest = manifest.descriptor.digest;
            documents.push(digest);
            documents.extend(self.listed_in.get(&digest).into_iter().flatten());
        }
        documents.sort();
        documents.dedup();
        documents
    }
}

/// What is noted of a manifest.
fn seen(manifest: &Raw<Manifest>) -> SeenManifest {
    let layers = &manifest.layers;
    // one that only names blobs could have come from anywhere
    let names_tar = |layer: &Descriptor| layer.media_type.as_str() == OCI_LAYER;
    let again = Raw::of(Manifest::new(manifest.config.clone(), layers.clone()));
    let is_own = layers.iter().any(names_tar) && again.is_ok_and(|again| again.bytes() == manifest.bytes());
    SeenManifest {
        descriptor: describe(manifest),
        config: manifest.config.clone(),
        layers: layers.clone(),
        is_own: is_own || layers.is_empty(),
    }
}
