//! The rows of the new database.

use std::collections::{BTreeSet, HashSet};

use mica_oci::{DiffId, Digest};
use rusqlite::Connection;

use crate::database::{Database, Durability};
use crate::error::Error;
use crate::layers::{self, Layer, claims};
use crate::rebuild::images::Kept;
use crate::rebuild::layers::{Forms, Layers};
use crate::rebuild::report::Rebuilt;
use crate::{disk, rows};

/// All blobs that rows will name.
pub(super) fn named(images: &[Kept], layers: &Layers<'_>) -> HashSet<Digest> {
    let mut named = HashSet::new();
    for image in images {
        named.insert(*image.known.id.digest());
        named.insert(image.manifest.digest);
        named.extend(&image.documents);
        for diff_id in &image.known.diff_ids {
            named.insert(*diff_id.digest());
            named.extend(layers.of(diff_id).claims.keys());
        }
    }
    named
}

/// Writes all rows.
pub(super) fn rows(
    database: &Database,
    images: &[Kept],
    layers: &Layers<'_>,
    report: &mut Rebuilt,
) -> Result<(), Error> {
    database.write(Durability::Full, |db| {
        // the list must not seem to be newer
        db.execute(
            "INSERT OR REPLACE INTO meta (key, value) VALUES ('generation', ?1)",
            [report.generation.to_string()],
        )?;
        let all: BTreeSet<DiffId> = images
            .iter()
            .flat_map(|image| &image.known.diff_ids)
            .copied()
            .collect();
        for diff_id in &all {
            let forms = layers.of(diff_id);
            if forms.is_there() {
                layer(db, diff_id, forms)?;
                report.layers += 1;
            }
        }
        for kept in images {
            report.names += image(db, kept)?;
            report.images += 1;
        }
        db.execute(
            "INSERT OR REPLACE INTO meta (key, value) VALUES ('boot', ?1)",
            [disk::boot()],
        )?;
        Ok(())
    })
}

/// A layer with its forms, which are durable by the time the database is in place.
fn layer(db: &Connection, diff_id: &DiffId, forms: &Forms) -> Result<(), Error> {
    let row = Layer {
        diff_id: *diff_id,
        size: forms.size(),
        exact: forms.tar.is_some() || forms.tree.is_some(),
        content: forms.content(),
    };
    layers::insert(db, &row)?;
    let durable = |is_there: bool| if is_there { 2 } else { 0 };
    db.prepare_cached("UPDATE layers SET tar = ?2, tree = ?3 WHERE diff_id = ?1")?
        .execute((
            diff_id.digest().as_raw(),
            durable(forms.tar.is_some()),
            durable(forms.tree.is_some()),
        ))?;
    for claim in forms.claims.values() {
        claims::claim(db, &claim.blob, claim.compression, diff_id, claim.guess)?;
    }
    Ok(())
}

/// An image with its names; says how many.
fn image(db: &Connection, kept: &Kept) -> Result<u64, Error> {
    let known = &kept.known;
    let id = known.id.digest().as_raw();
    db.prepare_cached(
        "INSERT INTO images (id, manifest, manifest_type, manifest_size, size, parent, tagged_at)
         VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6)",
    )?
    .execute((
        id,
        kept.manifest.digest.as_raw(),
        kept.manifest.media_type.as_str(),
        rows::length(kept.manifest.size),
        known.parent.map(|parent| *parent.digest().as_raw()),
        known.tagged_at.map(|time| time.to_string()),
    ))?;
    let mut insert = db.prepare_cached(
        "INSERT INTO image_layers (image, position, diff_id, blob) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for (position, (diff_id, blob)) in (0_i64..).zip(known.diff_ids.iter().zip(&kept.blobs)) {
        insert.execute((id, position, diff_id.digest().as_raw(), blob.as_raw()))?;
    }
    claims::resize_image(db, &known.id)?;
    known.summary.write(db, &known.id)?;
    let mut insert = db.prepare_cached("INSERT OR IGNORE INTO documents (image, digest) VALUES (?1, ?2)")?;
    for document in &kept.documents {
        insert.execute((id, document.as_raw()))?;
    }
    let mut insert = db.prepare_cached("INSERT OR IGNORE INTO refs (name, image) VALUES (?1, ?2)")?;
    let mut names = 0;
    for name in &known.names {
        names += insert.execute((name.to_string(), id))? as u64;
    }
    Ok(names)
}
