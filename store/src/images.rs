//! Images: a record for each, tagged or not, made visible in one transaction.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use mica_oci::config::ImageConfig;
use mica_oci::media::{OCI_CONFIG, OCI_LAYER, OCI_MANIFEST};
use mica_oci::{Descriptor, DiffId, Digest, ImageId, Manifest, MediaType, Raw, Reference};
use rusqlite::{Connection, OptionalExtension, Row};

use crate::blobs::Blob;
use crate::database::Durability;
use crate::disk;
use crate::error::Error;
use crate::ingest::Staged;
use crate::layers::Layer;
use crate::lease::Lease;
use crate::locks::share;
use crate::store::{Inner, Store};
use crate::{rows, tags};

/// An image as the store knows it.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its identity: the digest of its config.
    pub id: ImageId,
    /// Its config.
    pub config: Arc<Raw<ImageConfig>>,
    /// Where its manifest lies.
    pub manifest: Descriptor,
    /// When it was made, if the config says so.
    pub created: Option<Timestamp>,
    /// The sum of its layers' uncompressed tars, in bytes.
    pub size: u64,
    /// All that leads to it, tags and digests, sorted.
    pub references: Vec<Reference>,
    /// When a tag was last pointed at it.
    pub tagged_at: Option<Timestamp>,
    /// The image it was made from, where somebody set it.
    pub parent: Option<ImageId>,
}

/// What came of committing an image.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The image.
    pub image: Image,
    /// The tags that led to another image before, and to which.
    pub moved: Vec<(Reference, ImageId)>,
}

/// An image's row.
struct Record {
    id: ImageId,
    manifest: Descriptor,
    size: u64,
    parent: Option<ImageId>,
    tagged_at: Option<Timestamp>,
}

const RECORD: &str = "SELECT id, manifest_type, manifest, manifest_size, size, parent, tagged_at FROM images";

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let media_type = MediaType::new(row.get::<_, String>(1)?);
    Ok(Record {
        id: ImageId(rows::digest(row, 0)?),
        manifest: Descriptor::new(media_type, rows::digest(row, 2)?, rows::bytes(row, 3)?),
        size: rows::bytes(row, 4)?,
        parent: rows::maybe_digest(row, 5)?.map(ImageId),
        tagged_at: rows::maybe_time(row, 6)?,
    })
}

fn find_record(db: &Connection, id: &ImageId) -> Result<Option<Record>, Error> {
    Ok(db
        .prepare_cached(&format!("{RECORD} WHERE id = ?1"))?
        .query_row([id.digest().as_raw()], record)
        .optional()?)
}

fn references_of(db: &Connection, id: &ImageId) -> Result<Vec<Reference>, Error> {
    let mut query = db.prepare_cached("SELECT name FROM refs WHERE image = ?1")?;
    let found = query.query_map([id.digest().as_raw()], |row| rows::parsed(row, 0))?;
    let mut references: Vec<Reference> = found.collect::<Result<_, _>>()?;
    references.sort();
    Ok(references)
}

impl Inner {
    fn config(&self, id: &ImageId) -> Result<Arc<Raw<ImageConfig>>, Error> {
        if let Some(config) = self.configs.get(id) {
            return Ok(config);
        }
        let bytes = fs_err::read(self.paths.blob(id.digest())).map_err(Error::io("read an image config"))?;
        let config = Raw::<ImageConfig>::parse(&bytes).map_err(|source| Error::Document {
            what: format!("the config of image {id}"),
            source,
        })?;
        if config.digest() != *id.digest() {
            return Err(Error::corrupt(id, "its config has other bytes than it should"));
        }
        let config = Arc::new(config);
        self.configs.put(&config);
        Ok(config)
    }

    fn image(&self, record: Record, references: Vec<Reference>) -> Result<Image, Error> {
        let config = self.config(&record.id)?;
        Ok(Image {
            id: record.id,
            created: config.created,
            config,
            manifest: record.manifest,
            size: record.size,
            references,
            tagged_at: record.tagged_at,
            parent: record.parent,
        })
    }

    fn find_image(&self, db: &Connection, id: &ImageId) -> Result<Option<Image>, Error> {
        match find_record(db, id)? {
            Some(record) => Ok(Some(self.image(record, references_of(db, id)?)?)),
            None => Ok(None),
        }
    }
}

impl Store {
    /// The image with this ID.
    pub fn image(&self, id: &ImageId) -> Result<Option<Image>, Error> {
        let _gate = share(&self.inner.gate);
        self.inner.database.read(|db| self.inner.find_image(db, id))
    }

    /// The image with this ID, with its config, manifest and layers kept by the lease.
    pub fn hold_image(&self, lease: &Lease, id: &ImageId) -> Result<Option<Image>, Error> {
        let _gate = share(&self.inner.gate);
        let image = self.inner.database.read(|db| self.inner.find_image(db, id))?;
        if let Some(image) = &image {
            lease.pin_blob(id.digest());
            lease.pin_blob(&image.manifest.digest);
            for diff_id in &image.config.rootfs.diff_ids {
                lease.pin_layer(diff_id);
            }
        }
        Ok(image)
    }

    /// All images, in no particular order.
    pub fn images(&self) -> Result<Vec<Image>, Error> {
        let _gate = share(&self.inner.gate);
        self.inner.database.read(|db| {
            let mut references: HashMap<Digest, Vec<Reference>> = HashMap::new();
            let mut query = db.prepare_cached("SELECT image, name FROM refs")?;
            let mut found = query.query([])?;
            while let Some(row) = found.next()? {
                references
                    .entry(rows::digest(row, 0)?)
                    .or_default()
                    .push(rows::parsed(row, 1)?);
            }
            let mut query = db.prepare_cached(RECORD)?;
            query
                .query_map([], record)?
                .map(|record| {
                    let record = record?;
                    let mut own = references.remove(record.id.digest()).unwrap_or_default();
                    own.sort();
                    self.inner.image(record, own)
                })
                .collect()
        })
    }

    /// The images whose ID begins with these lower-case hexadecimal digits; none for anything else and for nothing.
    pub fn find(&self, prefix_hex: &str) -> Result<Vec<ImageId>, Error> {
        let bound =
            |fill: &str| Digest::from_hex(&format!("{prefix_hex}{}", fill.repeat(64 - prefix_hex.len())));
        if prefix_hex.is_empty() || prefix_hex.len() > 64 {
            return Ok(Vec::new());
        }
        let (Ok(low), Ok(high)) = (bound("0"), bound("f")) else {
            return Ok(Vec::new());
        };
        self.inner.database.read(|db| {
            let mut query =
                db.prepare_cached("SELECT id FROM images WHERE id BETWEEN ?1 AND ?2 ORDER BY id")?;
            let found = query.query_map((low.as_raw(), high.as_raw()), |row| {
                rows::digest(row, 0).map(ImageId)
            })?;
            Ok(found.collect::<Result<_, _>>()?)
        })
    }

    /// Says from which image another was made (the classic builder's intermediate images), or that from none.
    pub fn set_parent(&self, image: &ImageId, parent: Option<&ImageId>) -> Result<(), Error> {
        let changed = self.inner.database.write(Durability::Full, |db| {
            Ok(db
                .prepare_cached("UPDATE images SET parent = ?2 WHERE id = ?1")?
                .execute((image.digest().as_raw(), parent.map(|id| id.digest().as_raw())))?)
        })?;
        if changed == 0 {
            return Err(Error::MissingImage { image: *image });
        }
        self.inner.catalogue.changed();
        Ok(())
    }

    /// Makes an image and its tags visible, all at once and durably. Its layers must be in the store. Without a manifest, the
    /// one the image has already is kept, or one that names the uncompressed tars is made. Nothing is written if all is there.
    pub fn commit_image(
        &self,
        lease: &Lease,
        config: &Raw<ImageConfig>,
        manifest: Option<&Raw<Manifest>>,
        tags: &[Reference],
    ) -> Result<Committed, Error> {
        let id = ImageId(config.digest());
        let mut names: Vec<Reference> = tags.iter().map(tags::kept).collect();
        names.sort();
        names.dedup();
        if let Some(image) = self.committed(lease, &id, manifest, &names)? {
            return Ok(Committed {
                image,
                moved: Vec::new(),
            });
        }
        let record = self.prepare(lease, id, config, manifest)?;
        let moved = {
            let _gate = share(&self.inner.gate);
            self.inner
                .database
                .write(Durability::Full, |db| write(db, &record, &names))?
        };
        self.inner.configs.put(&Arc::new(config.clone()));
        self.inner.catalogue.changed();
        let image = self.image(&id)?.ok_or(Error::MissingImage { image: id })?;
        Ok(Committed { image, moved })
    }

    /// The image, if all that is to be committed is there.
    fn committed(
        &self,
        lease: &Lease,
        id: &ImageId,
        manifest: Option<&Raw<Manifest>>,
        names: &[Reference],
    ) -> Result<Option<Image>, Error> {
        let Some(image) = self.hold_image(lease, id)? else {
            return Ok(None);
        };
        let same = manifest.is_none_or(|manifest| manifest.digest() == image.manifest.digest)
            && names
                .iter()
                .all(|name| image.references.binary_search(name).is_ok());
        Ok(same.then_some(image))
    }

    /// Makes durable all that the image's row will name.
    fn prepare(
        &self,
        lease: &Lease,
        id: ImageId,
        config: &Raw<ImageConfig>,
        manifest: Option<&Raw<Manifest>>,
    ) -> Result<Prepared, Error> {
        let diff_ids = &config.rootfs.diff_ids;
        let layers = self.pin_layers(lease, diff_ids)?;
        let known = self.inner.database.read(|db| find_record(db, &id))?;
        let (manifest, blobs, written) = match (manifest, known) {
            (None, Some(known)) => (known.manifest, None, None),
            (Some(manifest), _) => (
                describe(manifest),
                Some(layer_blobs(&id, diff_ids, manifest)?),
                Some(manifest.bytes().to_vec()),
            ),
            (None, None) => {
                let made = plain_manifest(config, &layers)?;
                let blobs = diff_ids.iter().map(|diff_id| *diff_id.digest()).collect();
                (describe(&made), Some(blobs), Some(made.bytes().to_vec()))
            }
        };
        let mut staged = Vec::new();
        if let Some(bytes) = written {
            staged.push(self.stage_bytes(lease, config.bytes())?);
            staged.push(self.stage_bytes(lease, &bytes)?);
        }
        let durable = self.make_durable(lease, staged, &layers)?;
        Ok(Prepared {
            id,
            manifest,
            layers: blobs.map(|blobs| diff_ids.iter().copied().zip(blobs).collect()),
            size: layers.iter().map(|layer| layer.size).sum(),
            durable,
        })
    }

    fn stage_bytes(&self, lease: &Lease, bytes: &[u8]) -> Result<Staged, Error> {
        use std::io::Write;
        let mut ingest = self.ingest(lease)?;
        ingest.write_all(bytes).map_err(Error::io("write a blob"))?;
        ingest.stage()
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
            disk::sync_all(paths.root()).map_err(Error::io("sync the store"))?;
            return Ok(Durable {
                tars: loose.iter().filter(|l| l.tar > 0).map(|l| l.diff_id).collect(),
                trees: loose.iter().filter(|l| l.tree > 0).map(|l| l.diff_id).collect(),
            });
        }
        for document in documents {
            blobs.push(document.publish(lease)?.0);
        }
        for blob in &blobs {
            disk::sync_file(blob.path()).map_err(Error::io("sync a blob"))?;
        }
        for layer in &loose {
            disk::sync_file(&paths.blob(layer.diff_id.digest())).map_err(Error::io("sync a layer"))?;
        }
        disk::sync_folder(&paths.blobs()).map_err(Error::io("sync the blobs"))?;
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
                        })
                    });
                    forms.optional()?.ok_or(Error::MissingLayer { diff_id: *diff_id })
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
}

impl Forms {
    pub(crate) fn layer(&self) -> Layer {
        Layer {
            diff_id: self.diff_id,
            size: self.size,
            content: None,
        }
    }

    fn is_durable(&self) -> bool {
        self.blob || self.tar == 2 || self.tree == 2
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
    manifest: Descriptor,
    /// Each layer with the blob its manifest names; `None` if the image's row stays as it is.
    layers: Option<Vec<(DiffId, Digest)>>,
    size: u64,
    durable: Durable,
}

fn write(db: &Connection, image: &Prepared, names: &[Reference]) -> Result<Vec<(Reference, ImageId)>, Error> {
    let id = image.id.digest().as_raw();
    if let Some(layers) = &image.layers {
        db.prepare_cached(
            "INSERT INTO images (id, manifest, manifest_type, manifest_size, size) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (id) DO UPDATE SET manifest = ?2, manifest_type = ?3, manifest_size = ?4",
        )?
        .execute((
            id,
            image.manifest.digest.as_raw(),
            image.manifest.media_type.as_str(),
            rows::length(image.manifest.size),
            rows::length(image.size),
        ))?;
        db.prepare_cached("DELETE FROM image_layers WHERE image = ?1")?
            .execute([id])?;
        let mut insert = db.prepare_cached(
            "INSERT INTO image_layers (image, position, diff_id, blob) VALUES (?1, ?2, ?3, ?4)",
        )?;
        for (position, (diff_id, blob)) in (0_i64..).zip(layers) {
            insert.execute((id, position, diff_id.digest().as_raw(), blob.as_raw()))?;
        }
    } else if !rows::any(db, "SELECT 1 FROM images WHERE id = ?1", image.id.digest())? {
        return Err(Error::MissingImage { image: image.id });
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
    Ok(moved)
}

/// The manifest of an image that came without one: it names the uncompressed tars.
pub(crate) fn plain_manifest(config: &Raw<ImageConfig>, layers: &[Forms]) -> Result<Raw<Manifest>, Error> {
    let descriptors = layers
        .iter()
        .map(|layer| Descriptor::new(OCI_LAYER, *layer.diff_id.digest(), layer.size))
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
