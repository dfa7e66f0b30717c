//! Committing images: bytes first, then one transaction that makes the image and its names visible.

use std::io::Write;
use std::sync::Arc;

use mica_oci::config::ImageConfig;
use mica_oci::media::{OCI_CONFIG, OCI_LAYER, OCI_MANIFEST};
use mica_oci::{Descriptor, DiffId, Digest, ImageId, Index, Manifest, MediaType, Raw, Reference};
use rusqlite::{Connection, OptionalExtension};

use crate::blobs::Blob;
use crate::database::Durability;
use crate::disk;
use crate::error::Error;
use crate::images::{Image, find_record};
use crate::ingest::Staged;
use crate::layers::{Layer, claims};
use crate::lease::Lease;
use crate::locks::share;
use crate::overview::Summary;
use crate::store::Store;
use crate::{documents, rows, space, tags};

/// What came of committing an image.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The image.
    pub image: Image,
    /// The tags that led to another image before, and to which.
    pub moved: Vec<(Reference, ImageId)>,
}

impl Store {
    /// Makes an image and its tags visible, all at once and durably. Its layers must be in the store. Without a manifest, the
    /// one the image has already is kept, or one that names the uncompressed tars is made. Nothing is written if all is there.
    pub fn commit_image(
        &self,
        lease: &Lease,
        config: &Raw<ImageConfig>,
        manifest: Option<&Raw<Manifest>>,
        tags: &[Reference],
    ) -> Result<Committed, Error> {
        let documents: Vec<_> = manifest.iter().map(|own| (own.digest(), own.bytes())).collect();
        self.commit(lease, config, manifest, &documents, tags)
    }

    /// As [`commit_image`](Self::commit_image), for an image as a registry has it: its manifest becomes the current one, and
    /// the bytes of the manifest and of the indexes it was found through are kept as long as the image is.
    pub fn commit_pulled(
        &self,
        lease: &Lease,
        config: &Raw<ImageConfig>,
        manifest: &Raw<Manifest>,
        indexes: &[Raw<Index>],
        names: &[Reference],
    ) -> Result<Committed, Error> {
        let mut documents = vec![(manifest.digest(), manifest.bytes())];
        documents.extend(indexes.iter().map(|index| (index.digest(), index.bytes())));
        self.commit(lease, config, Some(manifest), &documents, names)
    }

    /// Gives an image that is here another manifest, which is no document it came with.
    pub(crate) fn commit_with(
        &self,
        lease: &Lease,
        config: &Raw<ImageConfig>,
        manifest: &Raw<Manifest>,
    ) -> Result<Committed, Error> {
        self.commit(lease, config, Some(manifest), &[], &[])
    }

    fn commit(
        &self,
        lease: &Lease,
        config: &Raw<ImageConfig>,
        manifest: Option<&Raw<Manifest>>,
        documents: &[Document<'_>],
        tags: &[Reference],
    ) -> Result<Committed, Error> {
        let id = ImageId(config.digest());
        let mut names: Vec<Reference> = tags.iter().map(tags::kept).collect();
        names.sort();
        names.dedup();
        if let Some(image) = self.committed(lease, &id, manifest, documents, &names)? {
            return Ok(Committed {
                image,
                moved: Vec::new(),
            });
        }
        let moved = loop {
            self.inner.settle_doubt()?;
            let failures = self.inner.doubt.count();
            let record = self.prepare(lease, id, config, manifest, documents)?;
            let _gate = share(&self.inner.gate);
            let written = self.inner.database.write(Durability::Full, |db| {
                self.inner.still_sure(failures)?;
                write(db, &record, &names)
            })?;
            if let Some(moved) = written {
                self.leave_behind(&record);
                break moved;
            }
        };
        self.inner.configs.put(&Arc::new(config.clone()));
        self.inner.catalogue.changed();
        let image = self.image(&id)?.ok_or(Error::MissingImage { image: id })?;
        Ok(Committed { image, moved })
    }

    /// Takes note of the manifest that another took the place of: no row may name it any more. The caller holds the gate.
    fn leave_behind(&self, image: &Prepared) {
        if let Some(before) = image.replaces.filter(|before| *before != image.manifest.digest) {
            let bytes = space::at(&self.inner.paths.blob(&before));
            self.inner.unnamed.add(&before, bytes);
        }
    }

    /// The image, if all that is to be committed is there.
    fn committed(
        &self,
        lease: &Lease,
        id: &ImageId,
        manifest: Option<&Raw<Manifest>>,
        documents: &[Document<'_>],
        names: &[Reference],
    ) -> Result<Option<Image>, Error> {
        // what is damaged is written again
        let here = self.inner.database.read(|db| find_record(db, id))?;
        let sound = here.is_some_and(|record| {
            self.has_document(id.digest()) && self.has_document(&record.manifest.digest)
        });
        let Some(image) = (match sound {
            true => self.hold_image(lease, id)?,
            false => None,
        }) else {
            return Ok(None);
        };
        let same = manifest.is_none_or(|manifest| manifest.digest() == image.manifest.digest)
            && names
                .iter()
                .all(|name| image.references.binary_search(name).is_ok());
        let kept = self.inner.database.read(|db| documents::of(db, id))?;
        let same = same
            && documents
                .iter()
                .all(|(digest, _)| kept.contains(digest) && self.has_document(digest));
        // layers that were lost and came back are not durable yet, and index.json does not list the image
        let diff_ids = &image.config.rootfs.diff_ids;
        let same = same && self.pin_layers(lease, diff_ids)?.iter().all(Forms::is_durable);
        Ok(same.then_some(image))
    }

    /// Makes durable all that the image's row will name.
    fn prepare(
        &self,
        lease: &Lease,
        id: ImageId,
        config: &Raw<ImageConfig>,
        manifest: Option<&Raw<Manifest>>,
        documents: &[Document<'_>],
    ) -> Result<Prepared, Error> {
        let diff_ids = &config.rootfs.diff_ids;
        let known = self.inner.database.read(|db| find_record(db, &id))?;
        if manifest.is_none() && known.is_none() {
            // a manifest made here must not spread one image's lie about another's layer
            for diff_id in diff_ids {
                self.settle_if_disputed(lease, diff_id)?;
            }
        }
        let layers = self.pin_layers(lease, diff_ids)?;
        let replaces = known.as_ref().map(|known| known.manifest.digest);
        let known = match known {
            // what it came with was a lie, and now its layers are here: it gets a manifest of its own
            Some(_) if manifest.is_none() && !self.holds_up(lease, &id, &layers)? => None,
            // its manifest is damaged or gone
            Some(known) if !self.has_document(&known.manifest.digest) => None,
            known => known,
        };
        let (manifest, blobs, written) = match (manifest, known) {
            (None, Some(known)) => (known.manifest, None, None),
            (Some(manifest), _) => {
                let blobs = layer_blobs(&id, diff_ids, manifest)?;
                if replaces.is_some_and(|replaces| replaces != manifest.digest()) {
                    // by its other names the image is read and sent with this manifest too
                    let named = self.named_blobs(&id)?;
                    for (position, (diff_id, blob)) in diff_ids.iter().zip(&blobs).enumerate() {
                        if named.get(position) != Some(blob) {
                            self.check_named(lease, diff_id, blob)?;
                        }
                    }
                }
                (describe(manifest), Some(blobs), Some(manifest.bytes().to_vec()))
            }
            (None, None) => {
                let made = plain_manifest(config, &layers)?;
                let blobs = made.layers.iter().map(|layer| layer.digest).collect();
                (describe(&made), Some(blobs), Some(made.bytes().to_vec()))
            }
        };
        let mut staged = Vec::new();
        if written.is_some() || !self.has_document(id.digest()) {
            staged.push(self.stage_document(lease, config.bytes())?);
        }
        if let Some(bytes) = written {
            staged.push(self.stage_document(lease, &bytes)?);
        }
        for (digest, bytes) in documents {
            // the manifest itself is among them
            if *digest != manifest.digest {
                staged.push(self.stage_document(lease, bytes)?);
            }
        }
        let durable = self.make_durable(lease, staged, &layers)?;
        Ok(Prepared {
            id,
            summary: Summary::of(config),
            manifest,
            layers: blobs.map(|blobs| diff_ids.iter().copied().zip(blobs).collect()),
            replaces,
            documents: documents.iter().map(|(digest, _)| *digest).collect(),
            durable,
        })
    }

    /// Whether the blobs that an image's manifest names hold its layers, as far as that can be doubted: where a layer is there
    /// in a form that was checked.
    fn holds_up(&self, lease: &Lease, id: &ImageId, layers: &[Forms]) -> Result<bool, Error> {
        for (layer, blob) in layers.iter().zip(self.named_blobs(id)?) {
            if !layer.is_checked() {
                continue;
            }
            match self.check_named(lease, &layer.diff_id, &blob) {
                Err(Error::FalseClaim { .. }) => return Ok(false),
                result => result?,
            }
        }
        Ok(true)
    }

    /// The blobs that an image's manifest names, lowest first.
    fn named_blobs(&self, id: &ImageId) -> Result<Vec<Digest>, Error> {
        self.inner.database.read(|db| {
            let mut query =
                db.prepare_cached("SELECT blob FROM image_layers WHERE image = ?1 ORDER BY position")?;
            let found = query.query_map([id.digest().as_raw()], |row| rows::digest(row, 0))?;
            Ok(found.collect::<Result<_, _>>()?)
        })
    }

    /// Writes a config, manifest or index. One of other bytes in its place makes room for it, however long it is.
    fn stage_document(&self, lease: &Lease, bytes: &[u8]) -> Result<Staged, Error> {
        let mut ingest = self.ingest(lease)?;
        ingest.write_all(bytes).map_err(Error::io("write a blob"))?;
        let staged = ingest.stage()?;
        let there = self.inner.paths.blob(&staged.digest);
        if fs_err::symlink_metadata(there).is_ok() && !self.has_document(&staged.digest) {
            self.inner.damaged.note(&staged.digest);
        }
        Ok(staged)
    }

    /// Publishes the documents and makes them and the layers durable with as few syncs as will do.
    fn make_durable(
        &self,
        lease: &Lease,
        documents: Vec<Staged>,
        layers: &[Forms],
    ) -> Result<Durable, Error> {
        let loose: Vec<&Forms> = layers.iter().filter(|layer| !layer.is_durable()).collect();
        let paths = &self.inner.paths;
        let mut blobs: Vec<Blob> = Vec::new();
        if documents.is_empty() && loose.is_empty() {
            return Ok(Durable::default());
        }
        if loose.iter().any(|layer| layer.tar == 0) {
            for document in documents {
                document.publish(lease)?;
            }
            self.inner
                .synced(disk::sync_all(paths.root()))
                .map_err(Error::io("sync the store"))?;
            return Ok(Durable {
                tars: loose.iter().filter(|l| l.tar > 0).map(|l| l.diff_id).collect(),
                trees: loose.iter().filter(|l| l.tree > 0).map(|l| l.diff_id).collect(),
            });
        }
        for document in documents {
            blobs.push(document.publish(lease)?.0);
        }
        for blob in &blobs {
            self.inner
                .sync_blob(blob.path())
                .map_err(Error::io("sync a blob"))?;
        }
        for layer in &loose {
            let tar = paths.blob(layer.diff_id.digest());
            self.inner.sync_blob(&tar).map_err(Error::io("sync a layer"))?;
        }
        self.inner.sync_blobs()?;
        Ok(Durable {
            tars: loose.iter().map(|layer| layer.diff_id).collect(),
            trees: Vec::new(),
        })
    }

    /// The forms of an image's layers, all of which must be there; kept by the lease.
    pub(crate) fn pin_layers(&self, lease: &Lease, diff_ids: &[DiffId]) -> Result<Vec<Forms>, Error> {
        let _gate = share(&self.inner.gate);
        self.inner.database.read(|db| {
            let mut query = db.prepare_cached(
                "SELECT size, tar, tree, EXISTS (SELECT 1 FROM layer_blobs b WHERE b.diff_id = l.diff_id)
                 FROM layers l WHERE diff_id = ?1",
            )?;
            diff_ids
                .iter()
                .map(|diff_id| {
                    lease.pin_layer(diff_id);
                    let forms = query.query_row([diff_id.digest().as_raw()], |row| {
                        Ok(Forms {
                            diff_id: *diff_id,
                            size: rows::bytes(row, 0)?,
                            tar: row.get(1)?,
                            tree: row.get(2)?,
                            blob: row.get(3)?,
                            claim: None,
                        })
                    });
                    let mut forms = forms
                        .optional()?
                        .ok_or(Error::MissingLayer { diff_id: *diff_id })?;
                    if !forms.is_checked() {
                        forms.claim = claims::first(db, diff_id)?;
                    }
                    Ok(forms)
                })
                .collect()
        })
    }
}

/// In which forms a layer lies: 0 not, 1 yes, 2 yes and durable. Compressed blobs always are durable.
pub(crate) struct Forms {
    diff_id: DiffId,
    size: u64,
    tar: u8,
    tree: u8,
    blob: bool,
    /// A blob that is claimed to hold it, where nothing else is there.
    claim: Option<Descriptor>,
}

impl Forms {
    pub(crate) fn layer(&self) -> Layer {
        Layer {
            diff_id: self.diff_id,
            size: self.size,
            exact: self.is_checked(),
            content: None,
        }
    }

    fn is_checked(&self) -> bool {
        self.blob || self.tar > 0 || self.tree > 0
    }

    fn is_durable(&self) -> bool {
        self.blob || self.tar == 2 || self.tree == 2 || self.claim.is_some()
    }
}

/// The forms that became durable.
#[derive(Default)]
struct Durable {
    tars: Vec<DiffId>,
    trees: Vec<DiffId>,
}

/// An image whose bytes are durable and whose row is not written.
struct Prepared {
    id: ImageId,
    /// What lists show of its config.
    summary: Summary,
    manifest: Descriptor,
    /// Each layer with the blob its manifest names; `None` if the image's row stays as it is.
    layers: Option<Vec<(DiffId, Digest)>>,
    /// The manifest it had when this was prepared.
    replaces: Option<Digest>,
    /// What is kept with it.
    documents: Vec<Digest>,
    durable: Durable,
}

/// A manifest or index to be kept with an image.
type Document<'a> = (Digest, &'a [u8]);

/// Writes the image's row and its names, and gives the names that led elsewhere; or nothing, if the image is not as it was
/// when this was prepared: its bytes are kept by the lease, so that it can be prepared again.
fn write(
    db: &Connection,
    image: &Prepared,
    names: &[Reference],
) -> Result<Option<Vec<(Reference, ImageId)>>, Error> {
    let id = image.id.digest().as_raw();
    let current = find_record(db, &image.id)?.map(|record| record.manifest.digest);
    let unforeseen = |current: Digest| Some(current) != image.replaces && current != image.manifest.digest;
    if current.map_or(image.layers.is_none(), unforeseen) {
        return Ok(None);
    }
    if let Some(layers) = &image.layers {
        write_layers(db, image, layers)?;
    }
    image.summary.write(db, &image.id)?;
    for document in &image.documents {
        db.prepare_cached("INSERT OR IGNORE INTO documents (image, digest) VALUES (?1, ?2)")?
            .execute((id, document.as_raw()))?;
    }
    for tar in &image.durable.tars {
        db.prepare_cached("UPDATE layers SET tar = 2 WHERE diff_id = ?1 AND tar > 0")?
            .execute([tar.digest().as_raw()])?;
    }
    for tree in &image.durable.trees {
        db.prepare_cached("UPDATE layers SET tree = 2 WHERE diff_id = ?1 AND tree > 0")?
            .execute([tree.digest().as_raw()])?;
    }
    let mut moved = Vec::new();
    for name in names {
        match tags::point(db, name, &image.id)? {
            Some(previous) if previous != image.id => moved.push((name.clone(), previous)),
            _ => {}
        }
    }
    Ok(Some(moved))
}

fn write_layers(db: &Connection, image: &Prepared, layers: &[(DiffId, Digest)]) -> Result<(), Error> {
    let id = image.id.digest().as_raw();
    db.prepare_cached(
        "INSERT INTO images (id, manifest, manifest_type, manifest_size, size) VALUES (?1, ?2, ?3, ?4, 0)
         ON CONFLICT (id) DO UPDATE SET manifest = ?2, manifest_type = ?3, manifest_size = ?4",
    )?
    .execute((
        id,
        image.manifest.digest.as_raw(),
        image.manifest.media_type.as_str(),
        rows::length(image.manifest.size),
    ))?;
    write_layer_rows(db, &image.id, layers)
}

/// Writes which layers an image has, and the blobs that its manifest names for them.
pub(crate) fn write_layer_rows(
    db: &Connection,
    image: &ImageId,
    layers: &[(DiffId, Digest)],
) -> Result<(), Error> {
    let id = image.digest().as_raw();
    db.prepare_cached("DELETE FROM image_layers WHERE image = ?1")?
        .execute([id])?;
    let mut insert = db.prepare_cached(
        "INSERT INTO image_layers (image, position, diff_id, blob) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for (position, (diff_id, blob)) in (0_i64..).zip(layers) {
        insert.execute((id, position, diff_id.digest().as_raw(), blob.as_raw()))?;
    }
    // summed up here, so that a layer that is looked into meanwhile does not count with its guess for ever
    claims::resize_image(db, image)
}

/// The manifest of an image that came without one: it names the uncompressed tars, and where nobody looked into a layer yet,
/// the blob it came as.
pub(crate) fn plain_manifest(config: &Raw<ImageConfig>, layers: &[Forms]) -> Result<Raw<Manifest>, Error> {
    let descriptors = layers
        .iter()
        .map(|layer| match &layer.claim {
            Some(claim) => claim.clone(),
            None => Descriptor::new(OCI_LAYER, *layer.diff_id.digest(), layer.size),
        })
        .collect();
    let own = Descriptor::new(OCI_CONFIG, config.digest(), config.bytes().len() as u64);
    Raw::of(Manifest::new(own, descriptors)).map_err(|source| Error::Document {
        what: format!("the manifest of image {}", config.digest()),
        source,
    })
}

pub(crate) fn describe(manifest: &Raw<Manifest>) -> Descriptor {
    let media_type = manifest
        .media_type
        .clone()
        .unwrap_or_else(|| MediaType::new(OCI_MANIFEST));
    Descriptor::new(media_type, manifest.digest(), manifest.bytes().len() as u64)
}

/// The blobs a manifest names, one for each layer of the config it must name.
fn layer_blobs(id: &ImageId, diff_ids: &[DiffId], manifest: &Raw<Manifest>) -> Result<Vec<Digest>, Error> {
    let refuse = |reason: String| Error::Manifest { image: *id, reason };
    if manifest.config.digest != *id.digest() {
        return Err(refuse(format!("it names the config {}", manifest.config.digest)));
    }
    if manifest.layers.len() != diff_ids.len() {
        return Err(refuse(format!(
            "it has {} layers, the config {}",
            manifest.layers.len(),
            diff_ids.len()
        )));
    }
    Ok(manifest.layers.iter().map(|layer| layer.digest).collect())
}
