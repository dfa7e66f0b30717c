//! Which images something harms, and what is known to mend it.

use mica_oci::{DiffId, Digest, ImageId, Repository};
use rusqlite::Connection;

use crate::check::finding::{Harmed, Remedy};
use crate::error::Error;
use crate::images::references_of;
use crate::rows;

/// The most images that a finding names.
const MOST: usize = 100;

/// The images that have a layer.
pub(crate) fn of_layer(db: &Connection, diff_id: &DiffId) -> Result<Vec<Harmed>, Error> {
    by(
        db,
        "SELECT DISTINCT image FROM image_layers WHERE diff_id = ?1 LIMIT ?2",
        diff_id.digest(),
    )
}

/// The images that a blob's absence from the disk makes unreadable in place, or unsendable as they came.
pub(crate) fn of_document(db: &Connection, digest: &Digest) -> Result<Vec<Harmed>, Error> {
    by(
        db,
        "SELECT image FROM documents WHERE digest = ?1 AND image IN (SELECT id FROM images)
         UNION SELECT id FROM images WHERE id = ?1 OR manifest = ?1 LIMIT ?2",
        digest,
    )
}

fn by(db: &Connection, query: &str, digest: &Digest) -> Result<Vec<Harmed>, Error> {
    let mut query = db.prepare_cached(query)?;
    let limit = i64::try_from(MOST).unwrap_or(i64::MAX);
    let images = query.query_map((digest.as_raw(), limit), |row| rows::digest(row, 0).map(ImageId))?;
    let mut harmed = Vec::new();
    for image in images {
        harmed.push(one(db, &image?)?);
    }
    Ok(harmed)
}

/// One image with its names.
pub(crate) fn one(db: &Connection, image: &ImageId) -> Result<Harmed, Error> {
    Ok(Harmed {
        image: *image,
        names: references_of(db, image)?,
    })
}

/// The repositories that are known to have had a blob: those it was fetched from or sent to, then those that an image which
/// needs it is known by digest in.
pub(crate) fn origins(db: &Connection, digest: &Digest, harms: &[Harmed]) -> Result<Vec<Repository>, Error> {
    let mut query = db.prepare_cached(
        "SELECT DISTINCT registry || '/' || path FROM sources WHERE digest = ?1 ORDER BY seen DESC",
    )?;
    let found = query.query_map([digest.as_raw()], |row| rows::parsed(row, 0))?;
    let mut origins: Vec<Repository> = found.collect::<Result<_, _>>()?;
    let names = harms.iter().flat_map(|harmed| &harmed.names);
    for name in names.filter(|name| name.digest.is_some()) {
        if !origins.contains(&name.repository) {
            origins.push(name.repository.clone());
        }
    }
    Ok(origins)
}

/// The blobs that hold a layer, or are said to, by what images name.
pub(crate) fn blobs_of(db: &Connection, diff_id: &DiffId) -> Result<Vec<Digest>, Error> {
    let mut query = db.prepare_cached(
        "SELECT digest FROM layer_blobs WHERE diff_id = ?1
         UNION SELECT digest FROM layer_claims WHERE diff_id = ?1
         UNION SELECT blob FROM image_layers WHERE diff_id = ?1",
    )?;
    let found = query.query_map([diff_id.digest().as_raw()], |row| rows::digest(row, 0))?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// What mends a layer one form of which is lost. `others` says whether it has another.
pub(crate) fn layer_remedy(
    db: &Connection,
    diff_id: &DiffId,
    harms: &[Harmed],
    others: bool,
) -> Result<Remedy, Error> {
    if others {
        return Ok(Remedy::MakeAgain);
    }
    for blob in blobs_of(db, diff_id)? {
        if !origins(db, &blob, harms)?.is_empty() {
            return Ok(Remedy::Fetch);
        }
    }
    Ok(match harms.is_empty() {
        true => Remedy::Drop,
        false => Remedy::Renew,
    })
}
