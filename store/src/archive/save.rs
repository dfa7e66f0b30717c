//! Writes images into a tar.

use std::collections::{BTreeMap, HashSet};
use std::io::{BufWriter, Write};

use jiff::Timestamp;
use mica_layer::{ImagePath, Kind, Meta, Mtime, TarWriter};
use mica_oci::media::OCI_INDEX;
use mica_oci::{
    Attestation, AttestationManifest, Attested, Descriptor, DiffId, Digest, DocumentError, Index, Manifest,
    Platform, Raw, Reference, Subject,
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
    let mut archive = Archive::new(&selection, out);
    archive.images(store, lease, &selection)?;
    let latest = archive.latest;
    archive.file(INDEX, &json(&index(&selection))?, latest)?;
    archive.file(MANIFEST, &json(&items(&selection))?, latest)?;
    archive.file(LAYOUT, LAYOUT_TEXT, latest)?;
    archive.file(REPOSITORIES, &json(&repositories(&selection))?, latest)?;
    archive.finish()
}

/// Writes a tar in OCI's layout with one index of these images, which are for these platforms, under `names`; gives the
/// descriptor of the index. What is said of an image is in the index after all images.
pub fn save_index(
    store: &Store,
    lease: &Lease,
    (images, attested): (&[(Image, Platform)], &Attested),
    names: &[Reference],
    out: &mut dyn Write,
) -> Result<Descriptor, Error> {
    let unnamed: Vec<_> = images
        .iter()
        .map(|(image, _)| (image.clone(), Vec::new()))
        .collect();
    let selection = select(store, lease, &unnamed, &Attested::new())?;
    let mut archive = Archive::new(&selection, out);
    archive.images(store, lease, &selection)?;
    let mut manifests = Vec::new();
    let mut entries = Vec::new();
    for (image, (_, platform)) in selection.iter().zip(images) {
        let own = crate::commit::describe(&image.manifest).of_platform(platform, &image.image.config);
        let said = attested.get(&image.image.id).filter(|said| !said.is_empty());
        if let Some(said) = said {
            let subjects = Subject::image(names, platform, &own.digest);
            let said = AttestationManifest::new(&own.digest, &subjects, said).map_err(undescribed)?;
            archive.said(&said, image.made)?;
            entries.push(said.entry);
        }
        manifests.push(own);
    }
    manifests.append(&mut entries);
    let index = Raw::of(Index::new(manifests)).map_err(|source| Error::Document {
        what: "the index of the images".to_owned(),
        source,
    })?;
    let latest = archive.latest;
    archive.document(index.bytes(), &index.digest(), latest)?;
    let own = Descriptor::new(OCI_INDEX, index.digest(), index.bytes().len() as u64);
    let tags: Vec<&Reference> = names.iter().collect();
    archive.file(INDEX, &json(&Index::new(named(&own, &tags)))?, latest)?;
    archive.file(LAYOUT, LAYOUT_TEXT, latest)?;
    archive.finish()?;
    Ok(own)
}

/// An image with all that is written of it.
pub(super) struct Selected<'a> {
    pub(super) image: &'a Image,
    tags: Vec<&'a Reference>,
    pub(super) layers: Vec<Layer>,
    /// Names the uncompressed tars, whatever manifest the store has.
    pub(super) manifest: Raw<Manifest>,
    made: Mtime,
    /// What is said of it, and the index of both.
    pub(super) said: Option<(AttestationManifest, Raw<Index>)>,
}

impl Selected<'_> {
    /// What stands for it in an index.
    pub(super) fn describe(&self) -> Descriptor {
        match &self.said {
            Some((_, index)) => Descriptor::new(OCI_INDEX, index.digest(), index.bytes().len() as u64),
            None => crate::commit::describe(&self.manifest),
        }
    }
}

pub(super) fn select<'a>(
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
    let config = image.config.value();
    let of_image = crate::commit::describe(manifest);
    AttestationManifest::with_image(of_image, config, tags, said).map_err(undescribed)
}

fn undescribed(source: DocumentError) -> Error {
    Error::Document {
        what: "what is said of an image".to_owned(),
        source,
    }
}

struct Archive<'a> {
    tar: TarWriter<BufWriter<&'a mut dyn Write>>,
    /// A blob that several images share is written once.
    written: HashSet<Digest>,
    latest: Mtime,
}

impl<'a> Archive<'a> {
    fn new(images: &[Selected<'_>], out: &'a mut dyn Write) -> Self {
        let latest = images.iter().filter_map(|image| image.image.created).max();
        Self {
            tar: TarWriter::new(BufWriter::with_capacity(BUFFER, out)),
            written: HashSet::new(),
            latest: latest.map_or(Mtime::default(), mtime),
        }
    }

    /// Writes all blobs of images.
    fn images(&mut self, store: &Store, lease: &Lease, images: &[Selected<'_>]) -> Result<(), Error> {
        self.folder("blobs")?;
        self.folder(BLOBS)?;
        for image in images {
            for layer in &image.layers {
                self.layer(store, lease, layer, image.made)?;
            }
            self.document(image.image.config.bytes(), image.image.id.digest(), image.made)?;
            self.document(image.manifest.bytes(), &image.manifest.digest(), image.made)?;
            if let Some((said, index)) = &image.said {
                self.said(said, image.made)?;
                self.document(index.bytes(), &index.digest(), image.made)?;
            }
        }
        Ok(())
    }

    /// Writes what is said of an image.
    fn said(&mut self, said: &AttestationManifest, made: Mtime) -> Result<(), Error> {
        for (blob, bytes) in &said.blobs {
            self.document(bytes, &blob.digest, made)?;
        }
        self.document(said.manifest.bytes(), &said.manifest.digest(), made)
    }

    fn finish(self) -> Result<(), Error> {
        let mut buffer = self.tar.finish().map_err(unwritten)?;
        buffer.flush().map_err(Error::io("write the archive"))
    }

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
    let descriptors = |image: &Selected<'_>| named(&image.describe(), &image.tags);
    Index::new(images.iter().flat_map(descriptors).collect())
}

/// A descriptor once for each of these names; as it is if there are none.
fn named(own: &Descriptor, names: &[&Reference]) -> Vec<Descriptor> {
    let named = |name: &&Reference| {
        let mut descriptor = own.clone();
        descriptor.annotations.insert(IMAGE_NAME.into(), name.to_string());
        if let Some(short) = &name.tag {
            descriptor.annotations.insert(REF_NAME.into(), short.to_string());
        }
        descriptor
    };
    match names.is_empty() {
        true => vec![own.clone()],
        false => names.iter().map(named).collect(),
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
