//! Names of images.

use jiff::Timestamp;
use mica_oci::{ImageId, Reference, Repository};
use rusqlite::Connection;

use crate::database::Durability;
use crate::error::Error;
use crate::images::references_of;
use crate::locks::share;
use crate::rows;
use crate::store::Store;

/// The name a reference is kept under: without tag and digest it means `latest`; with a digest, the tag is only for show.
pub(crate) fn kept(reference: &Reference) -> Reference {
    let mut name = reference.clone().or_latest();
    if name.digest.is_some() {
        name.tag = None;
    }
    name
}

/// Lets `name` lead to `image`, which must be there. Gives what it led to before.
pub(crate) fn point(db: &Connection, name: &Reference, image: &ImageId) -> Result<Option<ImageId>, Error> {
    let previous = rows::target(db, name)?;
    if previous != Some(*image) {
        db.prepare_cached("INSERT OR REPLACE INTO refs (name, image) VALUES (?1, ?2)")?
            .execute((name.to_string(), image.digest().as_raw()))?;
    }
    if name.tag.is_some() {
        db.prepare_cached("UPDATE images SET tagged_at = ?2 WHERE id = ?1")?
            .execute((image.digest().as_raw(), Timestamp::now().to_string()))?;
    }
    Ok(previous)
}

/// The names of a repository that `sign` begins the rest of, as bounds of the canonical text: `:` tags, `@` digests.
fn bounds(repository: &Repository, sign: char) -> (String, String) {
    // no other repository's name goes on with either
    let after = char::from_u32(u32::from(sign) + 1).unwrap_or(char::MAX);
    (format!("{repository}{sign}"), format!("{repository}{after}"))
}

impl Store {
    /// Whether anything leads to the image.
    pub fn is_named(&self, image: &ImageId) -> Result<bool, Error> {
        self.inner
            .database
            .read(|db| rows::any(db, "SELECT 1 FROM refs WHERE image = ?1", image.digest()))
    }

    /// Whether a tag of this repository leads to the image.
    pub fn has_tag_in(&self, image: &ImageId, repository: &Repository) -> Result<bool, Error> {
        let (low, high) = bounds(repository, ':');
        self.inner.database.read(|db| {
            let mut query = db
                .prepare_cached("SELECT 1 FROM refs WHERE name >= ?1 AND name < ?2 AND image = ?3 LIMIT 1")?;
            Ok(query.exists((low, high, image.digest().as_raw()))?)
        })
    }

    /// The tags of this repository and where they lead, sorted by image.
    pub fn tags_in(&self, repository: &Repository) -> Result<Vec<(ImageId, Reference)>, Error> {
        let (low, high) = bounds(repository, ':');
        self.inner.database.read(|db| {
            let mut query = db.prepare_cached(
                "SELECT image, name FROM refs WHERE name >= ?1 AND name < ?2 ORDER BY image, name",
            )?;
            let found = query.query_map((low, high), |row| {
                Ok((ImageId(rows::digest(row, 0)?), rows::parsed(row, 1)?))
            })?;
            Ok(found.collect::<Result<_, _>>()?)
        })
    }

    /// The digests by which this repository has the image.
    pub fn digests_in(&self, image: &ImageId, repository: &Repository) -> Result<Vec<Reference>, Error> {
        let (low, high) = bounds(repository, '@');
        self.inner.database.read(|db| {
            let mut query = db.prepare_cached(
                "SELECT name FROM refs WHERE name >= ?1 AND name < ?2 AND image = ?3 ORDER BY name",
            )?;
            let found = query.query_map((low, high, image.digest().as_raw()), |row| rows::parsed(row, 0))?;
            Ok(found.collect::<Result<_, _>>()?)
        })
    }

    /// The image a reference leads to. Without tag and digest, `latest` is meant; a digest decides over a tag.
    pub fn resolve(&self, reference: &Reference) -> Result<Option<ImageId>, Error> {
        self.inner.database.read(|db| rows::target(db, &kept(reference)))
    }

    /// Lets a reference lead to an image and gives the image it led to before. Durable when this returns. A reference with a
    /// digest says under which digest the repository has the image.
    pub fn tag(&self, reference: &Reference, image: &ImageId) -> Result<Option<ImageId>, Error> {
        let name = kept(reference);
        let previous = {
            let _gate = share(&self.inner.gate);
            if self.inner.database.read(|db| rows::target(db, &name))? == Some(*image) {
                return Ok(Some(*image));
            }
            self.inner.database.write(Durability::Full, |db| {
                if !rows::any(db, "SELECT 1 FROM images WHERE id = ?1", image.digest())? {
                    return Err(Error::MissingImage { image: *image });
                }
                point(db, &name, image)
            })?
        };
        self.inner.catalogue.changed();
        Ok(previous)
    }

    /// Forgets a reference and gives the image it led to. Durable when this returns.
    pub fn untag(&self, reference: &Reference) -> Result<Option<ImageId>, Error> {
        self.forget(|db| {
            let name = kept(reference);
            let previous = rows::target(db, &name)?;
            if previous.is_some() {
                remove(db, &name)?;
            }
            Ok(previous)
        })
    }

    /// Forgets a reference if it leads to this image; whether it did. Durable when this returns.
    pub fn untag_from(&self, reference: &Reference, image: &ImageId) -> Result<bool, Error> {
        let forgotten = self.forget(|db| {
            let name = kept(reference);
            let leads_there = rows::target(db, &name)? == Some(*image);
            if leads_there {
                remove(db, &name)?;
            }
            Ok(leads_there.then_some(()))
        });
        Ok(forgotten?.is_some())
    }

    /// Forgets all names of an image if none of them is a tag, and gives them; nothing if it has a tag. Durable when this returns.
    pub fn untag_if_only_digests(&self, image: &ImageId) -> Result<Option<Vec<Reference>>, Error> {
        self.forget(|db| {
            let names = references_of(db, image)?;
            if names.iter().any(|name| name.digest.is_none()) {
                return Ok(None);
            }
            for name in &names {
                remove(db, name)?;
            }
            Ok(Some(names))
        })
    }

    /// Forgets names as `write` says; nothing has changed if it gives nothing.
    fn forget<T>(&self, write: impl Fn(&Connection) -> Result<Option<T>, Error>) -> Result<Option<T>, Error> {
        let forgotten = self.inner.database.write_to_free(|db| write(db))?;
        if forgotten.is_some() {
            self.inner.catalogue.changed();
        }
        Ok(forgotten)
    }
}

pub(crate) fn remove(db: &Connection, name: &Reference) -> Result<(), Error> {
    db.prepare_cached("DELETE FROM refs WHERE name = ?1")?
        .execute([name.to_string()])?;
    Ok(())
}
