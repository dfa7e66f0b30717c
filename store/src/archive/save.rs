//! Writes images into a tar.

use std::collections::{BTreeMap, HashSet};
use std::io::{BufWriter, Write};

use jiff::Timestamp;
use mica_layer::{ImagePath, Kind, Meta, Mtime, TarWriter};
use mica_oci::media::OCI_INDEX;
use mica_oci::{
    Attestation, AttestationManifest, Attested, Descriptor, DiffId, Digest, DocumentError, Index, Manifest,
    MediaType, Raw, Reference,
};
use serde::Serialize;

use super::{BLOBS, INDEX, Item, LAYOUT, LAYOUT_TEXT, MANIFEST, REPOSITORIES};
use crate::catalogue::{IMAGE_NAME, REF_NAME};
use crate::error::Error;
use crate::images::Image;
use crate::layers::Layer;
use crate::lease::Lease;
use crate::store::Store;

/// Small writes are gathered to this many bytes.
const BUFFER: usize = 256 << 10;

/// Writes a tar with these images, each with the tags to name it by. What is missing is told before the first byte is
/// written. Layers that only lie as trees are packed and kept; no layer is held in memory.
pub fn save(
    store: &Store,
    lease: &Lease,
    images: &[(Image, Vec<Reference>)],
    out: &mut dyn Write,
) -> Result<(), Error> {
    save_attested(store, lease, (images, &Attested::new()), out)
}

/// As [`save`]; an image of which something is said is in an index with that.
pub fn save_attested(
    store: &Store,
    lease: &Lease,
    (images, attested): (&[(Image, Vec<Reference>)], &Attested),
    out: &mut dyn Write,
) -> Result<(), Error> {
    let selection = select(store, lease, images, attested)?;
    let latest = images
        .iter()
        .filter_map(|(image, _)| image.created)
        .max()
        .map_or(Mtime::default(), mtime);
    let mut archive = Archive {
        tar: TarWriter::new(BufWriter::with_capacity(BUFFER, out)),
        written: HashSet::new(),
        latest,
    };
    archive.folder("blobs")?;
    archive.folder(BLOBS)?;
    for image in &selection {
        for layer in &image.layers {
            archive.layer(store, lease, layer, image.made)?;
        }
        archive.document(image.image.config.bytes(), image.image.id.digest(), image.made)?;
        archive.document(image.manifest.bytes(), &image.manifest.digest(), image.made)?;
        if let Some((said, index)) = &image.said {
            for (blob, bytes) in &said.blobs {
                archive.document(bytes, &blob.digest, image.made)?;
            }
            archive.document(said.manifest.bytes(), &said.manifest.digest(), image.made)?;
            archive.document(index.bytes(), &index.digest(), image.made)?;
        }
    }
    archive.file(INDEX, &json(&index(&selection))?, latest)?;
    archive.file(MANIFEST, &json(&items(&selection))?, latest)?;
    archive.file(LAYOUT, LAYOUT_TEXT, latest)?;
    archive.file(REPOSITORIES, &json(&repositories(&selection))?, latest)?;
    let mut buffer = archive.tar.finish().map_err(unwritten)?;
    buffer.flush().map_err(Error::io("write the archive"))
}

/// An image with all that is written of it.
struct Selected<'a> {
    image: &'a Image,
    tags: Vec<&'a Reference>,
    layers: Vec<Layer>,
    /// Names the uncompressed tars, whatever manifest the store has.
    manifest: Raw<Manifest>,
    made: Mtime,
    /// What is said of it, and the index of both.
    said: Option<(AttestationManifest, Raw<Index>)>,
}

fn select<'a>(
    store: &Store,
    lease: &Lease,
    images: &'a [(Image, Vec<Reference>)],
    attested: &Attested,
) -> Result<Vec<Selected<'a>>, Error> {
    let one = |(image, tags): &'a (Image, Vec<Reference>)| {
        let held = store.hold_image(lease, &image.id)?;
        held.ok_or(Error::MissingImage { image: image.id })?;
        // how long they are has to be known before they are written
        for diff_id in &image.config.rootfs.diff_ids {
            store.settle(lease, diff_id)?;
        }
        let layers = store.pin_layers(lease, &image.config.rootfs.diff_ids)?;
        let manifest = crate::commit::plain_manifest(&image.config, &layers)?;
        let said = match attested.get(&image.id) {
            Some(said) if !said.is_empty() => Some(index_with(image, tags, &manifest, said)?),
            _ => None,
        };
        Ok(Selected {
            said,
            image,
            tags: tags
                .iter()
                .filter(|tag| tag.tag.is_some() && tag.digest.is_none())
                .collect(),
            layers: layers.iter().map(|forms| forms.layer()).collect(),
            manifest,
            made: image.created.map_or(Mtime::default(), mtime),
        })
    };
    images.iter().map(one).collect()
}

/// What is said of an image, and the index of both.
fn index_with(
    image: &Image,
    tags: &[Reference],
    manifest: &Raw<Manifest>,
    said: &[Attestation],
) -> Result<(AttestationManifest, Raw<Index>), Error> {
    let unwritten = |error: DocumentError| Error::io("write the archive")(std::io::Error::other(error));
    let config = image.config.value();
    let of_image = crate::commit::describe(manifest);
    AttestationManifest::with_image(of_image, config, tags, said).map_err(unwritten)
}

struct Archive<'a> {
    tar: TarWriter<BufWriter<&'a mut dyn Write>>,
    /// A blob that several images share is written once.
    written: HashSet<Digest>,
    latest: Mtime,
}

impl Archive<'_> {
    fn folder(&mut self, path: &str) -> Result<(), Error> {
        let meta = Meta::directory(0o755, self.latest);
        self.tar
            .append(&ImagePath::clamped(path.as_bytes()), &meta)
            .map_err(unwritten)
    }

    fn begin(&mut self, path: &str, size: u64, made: Mtime) -> Result<(), Error> {
        let meta = Meta {
            kind: Kind::File { size },
            ..Meta::directory(0o644, made)
        };
        self.tar
            .append(&ImagePath::clamped(path.as_bytes()), &meta)
            .map_err(unwritten)
    }

    fn file(&mut self, path: &str, bytes: &[u8], made: Mtime) -> Result<(), Error> {
        self.begin(path, bytes.len() as u64, made)?;
        self.tar.write_all(bytes).map_err(Error::io("write the archive"))
    }

    fn document(&mut self, bytes: &[u8], digest: &Digest, made: Mtime) -> Result<(), Error> {
        if !self.written.insert(*digest) {
            return Ok(());
        }
        self.file(&blob_path(digest), bytes, made)
    }

    fn layer(&mut self, store: &Store, lease: &Lease, layer: &Layer, made: Mtime) -> Result<(), Error> {
        let digest = layer.diff_id.digest();
        if !self.written.insert(*digest) {
            return Ok(());
        }
        self.begin(&blob_path(digest), layer.size, made)?;
        store.copy_tar(lease, &layer.diff_id, &mut self.tar)
    }
}

fn blob_path(digest: &Digest) -> String {
    format!("{BLOBS}/{}", digest.hex())
}

fn mtime(time: Timestamp) -> Mtime {
    // whole seconds need no extended header
    Mtime {
        seconds: time.as_second(),
        nanoseconds: 0,
    }
}

fn unwritten(source: mica_layer::Error) -> Error {
    Error::ArchiveData {
        reason: "it cannot be written".into(),
        source,
    }
}

fn json(document: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(document).map_err(|error| Error::io("write the archive")(error.into()))
}

fn items(images: &[Selected<'_>]) -> Vec<Item> {
    let path = |diff_id: &DiffId| blob_path(diff_id.digest());
    let one = |image: &Selected<'_>| Item {
        config: blob_path(image.image.id.digest()),
        repo_tags: (!image.tags.is_empty()).then(|| image.tags.iter().map(|tag| tag.familiar()).collect()),
        layers: Some(image.layers.iter().map(|layer| path(&layer.diff_id)).collect()),
        layer_sources: BTreeMap::new(),
    };
    images.iter().map(one).collect()
}

fn index(images: &[Selected<'_>]) -> Index {
    let descriptors = |image: &Selected<'_>| {
        let own = match &image.said {
            Some((_, index)) => Descriptor::new(OCI_INDEX, index.digest(), index.bytes().len() as u64),
            None => crate::commit::describe(&image.manifest),
        };
        let named = |tag: &&Reference| {
            let mut descriptor: Descriptor = own.clone();
            descriptor.annotations.insert(IMAGE_NAME.into(), tag.to_string());
            if let Some(short) = &tag.tag {
                descriptor.annotations.insert(REF_NAME.into(), short.to_string());
            }
            descriptor
        };
        match image.tags.is_empty() {
            true => vec![own],
            false => image.tags.iter().map(named).collect(),
        }
    };
    Index {
        schema_version: 2,
        media_type: Some(MediaType::new(OCI_INDEX)),
        manifests: images.iter().flat_map(descriptors).collect(),
        annotations: BTreeMap::new(),
    }
}

/// Familiar name, tag, and the topmost layer: what readers older than `manifest.json` look for.
fn repositories(images: &[Selected<'_>]) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut all: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for image in images {
        let top = match image.layers.last() {
            Some(layer) => layer.diff_id.digest().hex(),
            None => image.image.id.digest().hex(),
        };
        for tag in &image.tags {
            if let Some(short) = &tag.tag {
                all.entry(tag.repository.familiar())
                    .or_default()
                    .insert(short.to_string(), top.clone());
            }
        }
    }
    all
}
