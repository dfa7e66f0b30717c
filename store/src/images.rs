//! Images: a record for each, tagged or not.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use mica_oci::config::ImageConfig;
use mica_oci::{Descriptor, Digest, ImageId, MediaType, Raw, Reference};
use rusqlite::{Connection, OptionalExtension, Row};

use crate::database::Durability;
use crate::error::Error;
use crate::lease::Lease;
use crate::locks::share;
use crate::store::{Inner, Store};
use crate::{documents, rows};

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

/// An image's row.
pub(crate) struct Record {
    id: ImageId,
    pub(crate) manifest: Descriptor,
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

/// An image's row, if there is one.
pub(crate) fn find_record(db: &Connection, id: &ImageId) -> Result<Option<Record>, Error> {
    Ok(db
        .prepare_cached(&format!("{RECORD} WHERE id = ?1"))?
        .query_row([id.digest().as_raw()], record)
        .optional()?)
}

/// All names of an image, in order.
pub(crate) fn references_of(db: &Connection, id: &ImageId) -> Result<Vec<Reference>, Error> {
    let mut query = db.prepare_cached("SELECT name FROM refs WHERE image = ?1")?;
    let found = query.query_map([id.digest().as_raw()], |row| rows::parsed(row, 0))?;
    let mut references: Vec<Reference> = found.collect::<Result<_, _>>()?;
    references.sort();
    Ok(references)
}

impl Inner {
    pub(crate) fn config(&self, id: &ImageId) -> Result<Arc<Raw<ImageConfig>>, Error> {
        if let Some(config) = self.configs.get(id) {
            return Ok(config);
        }
        self.read_config(id)
            .inspect_err(|error| self.damaged.note_config(id, error))
    }

    fn read_config(&self, id: &ImageId) -> Result<Arc<Raw<ImageConfig>>, Error> {
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

    /// The image with this ID, its names left out: there may be a great many of them.
    pub fn image_without_names(&self, id: &ImageId) -> Result<Option<Image>, Error> {
        let _gate = share(&self.inner.gate);
        self.inner.database.read(|db| match find_record(db, id)? {
            Some(record) => Ok(Some(self.inner.image(record, Vec::new())?)),
            None => Ok(None),
        })
    }

    /// Whether another image was made from this one.
    pub fn has_children(&self, id: &ImageId) -> Result<bool, Error> {
        self.inner
            .database
            .read(|db| rows::any(db, "SELECT 1 FROM images WHERE parent = ?1", id.digest()))
    }

    /// All that leads to an image, sorted; also where its config cannot be read.
    pub fn names_of(&self, id: &ImageId) -> Result<Vec<Reference>, Error> {
        self.inner.database.read(|db| references_of(db, id))
    }

    /// The image with this ID, with its config, documents and layers kept by the lease.
    pub fn hold_image(&self, lease: &Lease, id: &ImageId) -> Result<Option<Image>, Error> {
        let _gate = share(&self.inner.gate);
        let (image, documents) = self.inner.database.read(|db| {
            let image = self.inner.find_image(db, id)?;
            Ok((image, documents::of(db, id)?))
        })?;
        if let Some(image) = &image {
            lease.pin_blob(id.digest());
            lease.pin_blob(&image.manifest.digest);
            for document in &documents {
                lease.pin_blob(document);
            }
            for diff_id in &image.config.rootfs.diff_ids {
                lease.pin_layer(diff_id);
            }
        }
        Ok(image)
    }

    /// All images, in no particular order, but those whose config is damaged or gone: [`check`](Self::check) finds them.
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
                    Ok(self.inner.image(record, own).ok())
                })
                .filter_map(Result::transpose)
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
}
