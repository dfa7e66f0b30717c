//! All images at a glance: what lists and counts need, without a look at any config.

use std::collections::{BTreeMap, HashMap};
use std::iter::Peekable;

use jiff::Timestamp;
use mica_oci::config::ImageConfig;
use mica_oci::{Digest, ImageId, Reference};
use rusqlite::types::Type;
use rusqlite::{Connection, Row};

use crate::database::Durability;
use crate::error::Error;
use crate::locks::share;
use crate::rows;
use crate::space::of_layers;
use crate::store::Store;

/// An image as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageEntry {
    /// Its identity: the digest of its config.
    pub id: ImageId,
    /// When it was made, if the config says so.
    pub created: Option<Timestamp>,
    /// Its labels, if the config has any.
    pub labels: Option<BTreeMap<String, String>>,
    /// The sum of its layers' uncompressed tars, in bytes.
    pub size: u64,
    /// All that leads to it, tags and digests, sorted.
    pub references: Vec<Reference>,
    /// The image it was made from, where somebody set it.
    pub parent: Option<ImageId>,
}

/// How much of the disk the layers of images take, in all their forms; each layer counts once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LayerUsage {
    /// Bytes of all of them, as `du` counts them.
    pub bytes: u64,
    /// Bytes of those that no record of the build cache has: what removing all images would free.
    pub only_images: u64,
}

/// What a config says that lists show. It depends on nothing but the config, so it is never out of date.
#[derive(Clone)]
pub(crate) struct Summary {
    created: Option<Timestamp>,
    labels: Option<BTreeMap<String, String>>,
}

impl Summary {
    pub(crate) fn of(config: &ImageConfig) -> Self {
        Self {
            created: config.created,
            labels: config.config.labels.clone(),
        }
    }

    /// That of a config that cannot be read.
    fn unknown() -> Self {
        Self {
            created: None,
            labels: None,
        }
    }

    /// Writes it down for the image.
    pub(crate) fn write(&self, db: &Connection, id: &ImageId) -> Result<(), Error> {
        let labels = self.labels.as_ref().map(serde_json::to_string).transpose();
        let labels = labels.map_err(|error| Error::io("write labels")(error.into()))?;
        db.prepare_cached("INSERT OR IGNORE INTO summaries (image, created, labels) VALUES (?1, ?2, ?3)")?
            .execute((
                id.digest().as_raw(),
                self.created.map(|time| time.to_string()),
                labels,
            ))?;
        Ok(())
    }
}

/// Forgets what the image's config says.
pub(crate) fn forget(db: &Connection, id: &ImageId) -> Result<(), Error> {
    db.prepare_cached("DELETE FROM summaries WHERE image = ?1")?
        .execute([id.digest().as_raw()])?;
    Ok(())
}

/// An image's row, as far as it says what lists show.
fn entry(row: &Row<'_>) -> rusqlite::Result<ImageEntry> {
    Ok(ImageEntry {
        id: ImageId(rows::digest(row, 0)?),
        size: rows::bytes(row, 1)?,
        parent: rows::maybe_digest(row, 2)?.map(ImageId),
        created: None,
        labels: None,
        references: Vec::new(),
    })
}

fn summary(row: &Row<'_>) -> rusqlite::Result<(Digest, Summary)> {
    let labels = match row.get_ref(2)?.as_str_or_null()? {
        Some(text) => Some(
            serde_json::from_str(text)
                .map_err(|error| rusqlite::Error::FromSqlConversionFailure(2, Type::Text, Box::new(error)))?,
        ),
        None => None,
    };
    let created = rows::maybe_time(row, 1)?;
    Ok((rows::digest(row, 0)?, Summary { created, labels }))
}

fn name(row: &Row<'_>) -> rusqlite::Result<(Digest, Reference)> {
    Ok((rows::digest(row, 0)?, rows::parsed(row, 1)?))
}

/// Takes from rows in the order of images those of one image; the ones of images before it belong to none that is there.
fn of_image<T>(
    rows: &mut Peekable<impl Iterator<Item = rusqlite::Result<(Digest, T)>>>,
    image: &Digest,
) -> Result<Vec<T>, Error> {
    let mut own = Vec::new();
    while let Some(row) = rows.next_if(|row| row.as_ref().map_or(true, |(of, _)| of <= image)) {
        let (of, value) = row?;
        if of == *image {
            own.push(value);
        }
    }
    Ok(own)
}

impl Store {
    /// All images, in the order of their IDs.
    pub fn image_entries(&self) -> Result<Vec<ImageEntry>, Error> {
        let _gate = share(&self.inner.gate);
        let mut new = Vec::new();
        let entries = self.inner.database.read(|db| {
            // all three in the order of the images, so that one walk through each will do
            let mut images = db.prepare_cached("SELECT id, size, parent FROM images ORDER BY id")?;
            let mut names = db.prepare_cached("SELECT image, name FROM refs ORDER BY image, name")?;
            let mut summaries =
                db.prepare_cached("SELECT image, created, labels FROM summaries ORDER BY image")?;
            let mut names = names.query_map([], name)?.peekable();
            let mut summaries = summaries.query_map([], summary)?.peekable();
            let mut entries = Vec::new();
            for found in images.query_map([], entry)? {
                let mut entry = found?;
                let summary = match of_image(&mut summaries, entry.id.digest())?.pop() {
                    Some(summary) => summary,
                    None => {
                        // from a store that did not sum configs up yet
                        match self.inner.config(&entry.id) {
                            Ok(config) => {
                                let summary = Summary::of(&config);
                                new.push((entry.id, summary.clone()));
                                summary
                            }
                            // one damaged config must not hide all other images
                            Err(_) => Summary::unknown(),
                        }
                    }
                };
                (entry.created, entry.labels) = (summary.created, summary.labels);
                entry.references = of_image(&mut names, entry.id.digest())?;
                entry.references.sort();
                entries.push(entry);
            }
            Ok(entries)
        })?;
        if !new.is_empty() {
            self.inner.database.write(Durability::Normal, |db| {
                new.iter().try_for_each(|(id, summary)| summary.write(db, id))
            })?;
        }
        Ok(entries)
    }

    /// For each image that has any, the bytes of layers that other images have too: lengths of uncompressed tars, as in the
    /// image's own size.
    pub fn shared_sizes(&self) -> Result<HashMap<ImageId, u64>, Error> {
        self.inner.database.read(|db| {
            let mut query = db.prepare_cached(
                "SELECT i.image, sum(l.size) FROM image_layers i JOIN layers l ON l.diff_id = i.diff_id
                 WHERE i.diff_id IN (
                     SELECT diff_id FROM image_layers GROUP BY diff_id HAVING min(image) <> max(image))
                 GROUP BY i.image",
            )?;
            let found = query.query_map([], |row| {
                Ok((ImageId(rows::digest(row, 0)?), rows::bytes(row, 1)?))
            })?;
            Ok(found.collect::<Result<_, _>>()?)
        })
    }

    /// How much of the disk the layers of images take.
    pub fn layer_usage(&self) -> Result<LayerUsage, Error> {
        self.measure()?;
        self.inner.database.read(|db| {
            Ok(LayerUsage {
                bytes: of_layers(db, "SELECT diff_id FROM image_layers")?,
                only_images: of_layers(
                    db,
                    "SELECT diff_id FROM image_layers EXCEPT SELECT layer FROM cache",
                )?,
            })
        })
    }
}
