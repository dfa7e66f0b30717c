//! Claims: an image says which blob holds which layer, and may lie until somebody has looked.

use std::cell::Cell;
use std::io::{self, Read};

use mica_layer::{Format, decompress};
use mica_oci::{Compression, Descriptor, DiffId, Digest, Hashing, ImageId, MediaType};
use rusqlite::{Connection, OptionalExtension};

use super::guess::guess;
use super::{Layer, Record, insert_blob, record};
use crate::blobs::Blob;
use crate::database::Durability;
use crate::error::Error;
use crate::layers::forms::copy;
use crate::lease::Lease;
use crate::locks::share;
use crate::rows;
use crate::store::Store;

/// The blobs that are claimed to hold a layer, those left out that are known not to.
pub(super) fn of(db: &Connection, diff_id: &DiffId) -> Result<Vec<Digest>, Error> {
    let mut query = db.prepare_cached(
        "SELECT digest FROM layer_claims WHERE diff_id = ?1
         AND digest NOT IN (SELECT digest FROM false_claims WHERE diff_id = ?1) ORDER BY digest",
    )?;
    let found = query.query_map([diff_id.digest().as_raw()], |row| rows::digest(row, 0))?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// A blob that is claimed to hold a layer, one that is known not to only if there is no other.
pub(crate) fn first(db: &Connection, diff_id: &DiffId) -> Result<Option<Descriptor>, Error> {
    let mut query = db.prepare_cached(
        "SELECT digest, size, compression, digest IN (SELECT digest FROM false_claims WHERE diff_id = ?1) AS lie
         FROM layer_claims WHERE diff_id = ?1 ORDER BY lie, digest LIMIT 1",
    )?;
    let found = query.query_row([diff_id.digest().as_raw()], |row| {
        let media_type = MediaType::new(row.get::<_, String>(2)?);
        Ok(Descriptor::new(
            media_type,
            rows::digest(row, 0)?,
            rows::bytes(row, 1)?,
        ))
    });
    Ok(found.optional()?)
}

/// The claims that this image makes and no other.
pub(crate) fn only_of(db: &Connection, image: &ImageId) -> Result<Vec<(DiffId, Digest)>, Error> {
    let mut query = db.prepare_cached(
        "SELECT DISTINCT i.diff_id, i.blob FROM image_layers i
         JOIN layer_claims c ON c.diff_id = i.diff_id AND c.digest = i.blob
         WHERE i.image = ?1 AND NOT EXISTS (
             SELECT 1 FROM image_layers o WHERE o.diff_id = i.diff_id AND o.blob = i.blob AND o.image <> ?1)",
    )?;
    let found = query.query_map([image.digest().as_raw()], |row| {
        Ok((DiffId(rows::digest(row, 0)?), rows::digest(row, 1)?))
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Drops a claim if the layer has a form that was checked, and says whether it did.
pub(crate) fn forget(db: &Connection, diff_id: &DiffId, blob: &Digest) -> Result<bool, Error> {
    if !record(db, diff_id)?.is_some_and(|record| record.layer.exact) {
        return Ok(false);
    }
    proved(db, diff_id, blob)?;
    Ok(true)
}

/// Drops a claim, which need not be made any more.
pub(super) fn proved(db: &Connection, diff_id: &DiffId, blob: &Digest) -> Result<(), Error> {
    for table in ["layer_claims", "false_claims"] {
        db.prepare_cached(&format!("DELETE FROM {table} WHERE diff_id = ?1 AND digest = ?2"))?
            .execute((diff_id.digest().as_raw(), blob.as_raw()))?;
    }
    Ok(())
}

/// Writes the sizes of the images that have the layer again.
pub(super) fn resize_images(db: &Connection, diff_id: &DiffId) -> Result<(), Error> {
    let having = "id IN (SELECT image FROM image_layers WHERE diff_id = ?1)";
    resize(db, having, diff_id.digest())
}

/// Writes the size of an image whose layers were written.
pub(crate) fn resize_image(db: &Connection, image: &ImageId) -> Result<(), Error> {
    resize(db, "id = ?1", image.digest())
}

fn resize(db: &Connection, which: &str, digest: &Digest) -> Result<(), Error> {
    db.prepare_cached(&format!(
        "UPDATE images SET size = (SELECT coalesce(sum(l.size), 0) FROM image_layers i JOIN layers l ON l.diff_id = i.diff_id
             WHERE i.image = images.id) WHERE {which}"
    ))?
    .execute([digest.as_raw()])?;
    Ok(())
}

impl Store {
    /// Takes in a layer as a blob just as it was received, without looking into it. That it holds `claimed` is checked when it
    /// is inflated for the first time; until then its size is a guess. How it is compressed is told from the blob itself
    /// where it can be, and from `compression` else.
    ///
    /// # Errors
    /// [`Error::Digest`] if the blob is known to hold another layer, or is not compressed and not the layer's tar;
    /// [`Error::FalseClaim`] if it was looked into before and did not hold the layer.
    pub fn add_layer_blob_unchecked(
        &self,
        lease: &Lease,
        blob: &Blob,
        compression: Compression,
        claimed: &DiffId,
    ) -> Result<Layer, Error> {
        if blob.digest == *claimed.digest() {
            return self.add_layer_blob(lease, blob, Compression::None, claimed);
        }
        let Some(compression) = seen_compression(blob, compression)? else {
            return Err(Error::Digest {
                expected: *claimed.digest(),
                actual: blob.digest,
            });
        };
        lease.pin_layer(claimed);
        let size = guess(blob, compression)?;
        let layer = self.inner.database.write(Durability::Normal, |db| {
            claim(db, blob, compression, claimed, size)
        })?;
        self.list_again(claimed)?;
        Ok(layer)
    }

    /// Looks into the blobs that are claimed to hold a layer, unless a form of it is there that was checked.
    pub(crate) fn settle(&self, lease: &Lease, diff_id: &DiffId) -> Result<Record, Error> {
        let record = self.known(lease, diff_id)?;
        if record.layer.exact {
            return Ok(record);
        }
        self.inner.flights.alone(diff_id, || {
            let record = self.known(lease, diff_id)?;
            match record.layer.exact {
                true => Ok(record),
                false => self.settle_alone(lease, &record),
            }
        })
    }

    /// As [`settle`](Self::settle), unless there is just one blob that can be meant.
    pub(crate) fn settle_if_disputed(&self, lease: &Lease, diff_id: &DiffId) -> Result<(), Error> {
        if self.known(lease, diff_id)?.is_disputed() {
            self.settle(lease, diff_id)?;
        }
        Ok(())
    }

    /// As [`settle`](Self::settle), for one who is alone with a layer that has no checked form.
    pub(super) fn settle_alone(&self, lease: &Lease, record: &Record) -> Result<Record, Error> {
        let diff_id = &record.layer.diff_id;
        let mut told = None;
        for claim in &record.claims {
            let Some(blob) = self.blob(lease, claim)? else {
                continue;
            };
            match self.prove(&blob, diff_id) {
                Ok(()) => return self.known(lease, diff_id),
                Err(error @ Error::FalseClaim { .. }) => told = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(match told {
            Some(error) => error,
            None => match self.inner.database.read(|db| first(db, diff_id))? {
                Some(claim) => known_lie(diff_id, &claim.digest),
                None => Error::corrupt(diff_id, "it has neither a tar nor a compressed blob"),
            },
        })
    }

    /// The reason of a failure to unpack or inflate a layer: the blob it is claimed to be, or what went wrong itself.
    pub(super) fn blame(&self, lease: &Lease, record: &Record, error: Error) -> Error {
        match record.layer.exact {
            true => self.suspect(record, error),
            false => self.settle_alone(lease, record).err().unwrap_or(error),
        }
    }

    /// What a layer was read from is looked at where reading failed: if that is damaged it is the reason, and what comes next under
    /// its digest takes its place.
    pub(super) fn suspect(&self, record: &Record, error: Error) -> Error {
        let source = match (record.tar, record.blob) {
            (true, _) => *record.layer.diff_id.digest(),
            (false, Some(blob)) => blob,
            (false, None) => return error,
        };
        match self.is_sound_blob(&source, &|| Ok(())) {
            Ok(false) => {
                self.inner.damaged.note(&source);
                Error::corrupt(
                    source,
                    "it is gone or holds other bytes than it should; `mica system check --full --repair` mends it",
                )
            }
            _ => error,
        }
    }

    /// Looks into a blob that is claimed to hold a layer, and remembers what was found.
    pub(super) fn prove(&self, blob: &Blob, diff_id: &DiffId) -> Result<(), Error> {
        let reason = match look_into(blob, diff_id)? {
            Ok((actual, size)) if actual == *diff_id.digest() => return self.confirm(blob, diff_id, size),
            Ok((actual, _)) => format!("it holds {actual}"),
            Err(reason) => reason,
        };
        // what the disk did to the blob is not the image's lie, and must not be remembered as one
        let mut bytes = Hashing::new(blob.open()?);
        copy(&mut bytes, &mut io::sink()).map_err(Error::io("read a layer"))?;
        if bytes.finish().1 != blob.digest {
            self.inner.damaged.note(&blob.digest);
            return Err(Error::corrupt(blob.digest, "it holds other bytes than it should"));
        }
        self.inner.database.write(Durability::Normal, |db| {
            db.prepare_cached(
                "INSERT OR IGNORE INTO false_claims SELECT diff_id, digest FROM layer_claims WHERE diff_id = ?1 AND digest = ?2",
            )?
            .execute((diff_id.digest().as_raw(), blob.digest.as_raw()))?;
            Ok(())
        })?;
        Err(Error::FalseClaim {
            diff_id: *diff_id,
            blob: blob.digest,
            reason,
        })
    }

    /// Makes sure that a blob that a manifest names holds the layer, whatever other form of it is there. One that is not here
    /// proves nothing.
    pub(crate) fn check_named(&self, lease: &Lease, diff_id: &DiffId, digest: &Digest) -> Result<(), Error> {
        let seen = self.inner.database.read(|db| {
            let holds: Option<[u8; 32]> = rows::first(
                db,
                "SELECT diff_id FROM layer_blobs WHERE digest = ?1",
                [digest.as_raw()],
            )?;
            Ok(holds == Some(*diff_id.digest().as_raw()))
        })?;
        if seen || digest == diff_id.digest() {
            return Ok(());
        }
        match self.blob(lease, digest)? {
            Some(blob) => self.inner.flights.alone(diff_id, || self.prove(&blob, diff_id)),
            None => Ok(()),
        }
    }

    /// A blob was inflated and holds what was claimed.
    pub(super) fn confirm(&self, blob: &Blob, diff_id: &DiffId, size: u64) -> Result<(), Error> {
        let _gate = share(&self.inner.gate);
        self.inner.database.write(Durability::Normal, |db| {
            let compression: Option<String> = rows::first(
                db,
                "SELECT compression FROM layer_claims WHERE diff_id = ?1 AND digest = ?2",
                (diff_id.digest().as_raw(), blob.digest.as_raw()),
            )?;
            let kind = compression.and_then(|text| MediaType::new(text).layer_compression());
            let Some(compression) = kind else { return Ok(()) };
            insert_blob(db, blob, compression, diff_id)?;
            db.prepare_cached("UPDATE layers SET size = ?2 WHERE diff_id = ?1")?
                .execute((diff_id.digest().as_raw(), rows::length(size)))?;
            resize_images(db, diff_id)
        })
    }
}

fn claim(
    db: &Connection,
    blob: &Blob,
    compression: Compression,
    claimed: &DiffId,
    size: u64,
) -> Result<Layer, Error> {
    let raw = claimed.digest().as_raw();
    let known: Option<[u8; 32]> = rows::first(
        db,
        "SELECT diff_id FROM layer_blobs WHERE digest = ?1",
        [blob.digest.as_raw()],
    )?;
    let known = known.map(Digest::from_raw);
    if let Some(actual) = known
        && actual != *claimed.digest()
    {
        return Err(Error::Digest {
            expected: *claimed.digest(),
            actual,
        });
    }
    let lie: Option<i64> = rows::first(
        db,
        "SELECT 1 FROM false_claims WHERE diff_id = ?1 AND digest = ?2",
        (raw, blob.digest.as_raw()),
    )?;
    if lie.is_some() {
        return Err(known_lie(claimed, &blob.digest));
    }
    db.prepare_cached("INSERT OR IGNORE INTO layers (diff_id, size) VALUES (?1, ?2)")?
        .execute((raw, rows::length(size)))?;
    if known.is_none() {
        db.prepare_cached(
            "INSERT OR IGNORE INTO layer_claims (diff_id, digest, size, compression) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute((
            raw,
            blob.digest.as_raw(),
            rows::length(blob.size),
            compression.layer_media_type().as_str(),
        ))?;
    }
    let record = record(db, claimed)?;
    record
        .map(|record| record.layer)
        .ok_or(Error::MissingLayer { diff_id: *claimed })
}

fn known_lie(diff_id: &DiffId, blob: &Digest) -> Error {
    Error::FalseClaim {
        diff_id: *diff_id,
        blob: *blob,
        reason: "it was looked into before".into(),
    }
}

/// How a blob is compressed, by its first bytes; as it is said to be if they tell of a way that manifests have no word
/// for. `None` if it is not compressed.
fn seen_compression(blob: &Blob, said: Compression) -> Result<Option<Compression>, Error> {
    let mut prefix = Vec::new();
    blob.open()?
        .take(8)
        .read_to_end(&mut prefix)
        .map_err(Error::io("look at a layer"))?;
    Ok(match (Format::of(&prefix), said) {
        (Format::Gzip, _) => Some(Compression::Gzip),
        (Format::Zstd, _) => Some(Compression::Zstd),
        (Format::None, _) => None,
        (_, Compression::None) => Some(Compression::Gzip),
        (_, said) => Some(said),
    })
}

/// A file that notes whether the disk failed, which is not the fault of the bytes.
struct Watched<'a> {
    file: fs_err::File,
    failed: &'a Cell<bool>,
}

impl Read for Watched<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buf);
        if let Err(error) = &read
            && error.kind() != io::ErrorKind::Interrupted
        {
            self.failed.set(true);
        }
        read
    }
}

/// The digest and the length of what a blob holds, or why that cannot be told. Fails if the disk does.
fn look_into(blob: &Blob, diff_id: &DiffId) -> Result<Result<(Digest, u64), String>, Error> {
    let failed = Cell::new(false);
    let watched = Watched {
        file: blob.open()?,
        failed: &failed,
    };
    let damaged = |error: &dyn std::fmt::Display| Ok(Err(format!("it cannot be inflated: {error}")));
    let plain = match decompress(watched) {
        Ok((plain, _)) => plain,
        Err(error) if failed.get() => return Err(Error::layer("inflate", *diff_id)(error)),
        Err(error) => return damaged(&error),
    };
    let mut plain = Hashing::new(plain);
    match copy(&mut plain, &mut io::sink()) {
        Ok(_) => {}
        Err(error) if failed.get() => return Err(Error::io("inflate a layer")(error)),
        Err(error) => return damaged(&error),
    }
    let (_, digest, size) = plain.finish();
    Ok(Ok((digest, size)))
}
