//! Layers that were pulled and that nobody looked into: an image says which blob holds which layer, and may lie.

use std::io::Read;

use mica_oci::{Compression, Descriptor, DiffId, Digest, MediaType};
use rusqlite::{Connection, OptionalExtension};

use super::{Layer, Record, record};
use crate::blobs::Blob;
use crate::database::Durability;
use crate::error::Error;
use crate::layers::forms::{GoOn, inflated_size};
use crate::lease::Lease;
use crate::locks::share;
use crate::rows;
use crate::store::Store;

/// The bytes of a zstd frame's header that tell the content's size (RFC 8878, section 3.1.1.1).
const ZSTD_HEADER: usize = 18;
/// As much as any tar grows when it is inflated, in a guess.
const MOST: u64 = 1000;

/// The blobs that are claimed to hold a layer.
pub(super) fn of(db: &Connection, diff_id: &DiffId) -> Result<Vec<Digest>, Error> {
    let mut query =
        db.prepare_cached("SELECT digest FROM layer_claims WHERE diff_id = ?1 ORDER BY digest")?;
    let found = query.query_map([diff_id.digest().as_raw()], |row| rows::digest(row, 0))?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// The first blob that is claimed to hold a layer.
pub(crate) fn first(db: &Connection, diff_id: &DiffId) -> Result<Option<Descriptor>, Error> {
    let mut query = db.prepare_cached(
        "SELECT digest, size, compression FROM layer_claims WHERE diff_id = ?1 ORDER BY digest LIMIT 1",
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

/// Writes the sizes of the images that have the layer again.
pub(super) fn resize_images(db: &Connection, diff_id: &DiffId) -> Result<(), Error> {
    db.prepare_cached(
        "UPDATE images SET size = (SELECT coalesce(sum(l.size), 0) FROM image_layers i JOIN layers l ON l.diff_id = i.diff_id
             WHERE i.image = images.id)
         WHERE id IN (SELECT image FROM image_layers WHERE diff_id = ?1)",
    )?
    .execute([diff_id.digest().as_raw()])?;
    Ok(())
}

impl Store {
    /// Takes in a layer as a blob just as it was received, without looking into it. That it holds `claimed` is checked when it
    /// is inflated for the first time; until then its size is a guess.
    pub fn add_layer_blob_unchecked(
        &self,
        lease: &Lease,
        blob: &Blob,
        compression: Compression,
        claimed: &DiffId,
    ) -> Result<Layer, Error> {
        if compression == Compression::None {
            return match blob.digest == *claimed.digest() {
                true => self.add_layer_blob(lease, blob, compression, claimed),
                false => Err(Error::Digest {
                    expected: *claimed.digest(),
                    actual: blob.digest,
                }),
            };
        }
        lease.pin_layer(claimed);
        let size = guess(blob, compression)?;
        self.inner.database.write(Durability::Normal, |db| {
            let known: Option<[u8; 32]> =
                rows::first(db, "SELECT diff_id FROM layer_blobs WHERE digest = ?1", [blob.digest.as_raw()])?;
            if let Some(actual) = known.map(Digest::from_raw)
                && actual != *claimed.digest()
            {
                return Err(Error::Digest {
                    expected: *claimed.digest(),
                    actual,
                });
            }
            let raw = claimed.digest().as_raw();
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
            record.map(|record| record.layer).ok_or(Error::MissingLayer { diff_id: *claimed })
        })
    }

    /// Looks into the blobs that are claimed to hold a layer, unless a form of it is there that was checked.
    pub(crate) fn settle(&self, lease: &Lease, diff_id: &DiffId, go_on: GoOn<'_>) -> Result<Record, Error> {
        let record = self.known(lease, diff_id)?;
        if record.layer.exact {
            return Ok(record);
        }
        self.inner.flights.alone(diff_id, || {
            let record = self.known(lease, diff_id)?;
            if record.layer.exact {
                return Ok(record);
            }
            self.settle_alone(lease, &record, go_on)?;
            self.known(lease, diff_id)
        })
    }

    /// As [`settle`](Self::settle), for one who is alone with the layer.
    pub(super) fn settle_alone(&self, lease: &Lease, record: &Record, go_on: GoOn<'_>) -> Result<(), Error> {
        let diff_id = &record.layer.diff_id;
        let mut actuals = Vec::new();
        for claim in &record.claims {
            let Some(blob) = self.blob(lease, claim)? else {
                continue;
            };
            match inflated_size(&blob, diff_id, go_on) {
                Ok(size) => return self.confirm(&blob, diff_id, size),
                Err(Error::Digest { actual, .. }) => {
                    actuals.push((blob, format!("blob {claim} gives {actual}")))
                }
                // damaged: it holds this layer as little as any other
                Err(Error::Layer { source, .. }) => {
                    actuals.push((blob, format!("blob {claim} cannot be inflated: {source}")))
                }
                Err(Error::Io { source, .. })
                    if source.kind() == std::io::ErrorKind::InvalidData
                        || source.kind() == std::io::ErrorKind::InvalidInput
                        || source.kind() == std::io::ErrorKind::UnexpectedEof =>
                {
                    actuals.push((blob, format!("blob {claim} cannot be inflated: {source}")));
                }
                Err(error) => return Err(error),
            }
        }
        let reasons: Vec<&str> = actuals.iter().map(|(_, reason)| reason.as_str()).collect();
        Err(Error::corrupt(
            format!("layer {diff_id}"),
            match reasons.is_empty() {
                true => "its blob is gone".to_owned(),
                false => format!(
                    "{}: what it came with is not what its image says; remove the image and pull it again",
                    reasons.join(", ")
                ),
            },
        ))
    }

    /// A blob was inflated and holds what was claimed.
    pub(super) fn confirm(&self, blob: &Blob, diff_id: &DiffId, size: u64) -> Result<(), Error> {
        let _gate = share(&self.inner.gate);
        self.inner.database.write(Durability::Normal, |db| {
            let raw = diff_id.digest().as_raw();
            let compression: Option<String> = db
                .prepare_cached("SELECT compression FROM layer_claims WHERE diff_id = ?1 AND digest = ?2")?
                .query_row((raw, blob.digest.as_raw()), |row| row.get(0))
                .optional()?;
            let Some(compression) = compression else { return Ok(()) };
            db.prepare_cached(
                "INSERT OR IGNORE INTO layer_blobs (digest, diff_id, size, compression) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute((blob.digest.as_raw(), raw, rows::length(blob.size), compression))?;
            db.prepare_cached("DELETE FROM layer_claims WHERE diff_id = ?1 AND digest = ?2")?
                .execute((raw, blob.digest.as_raw()))?;
            db.prepare_cached("UPDATE layers SET size = ?2 WHERE diff_id = ?1")?
                .execute((raw, rows::length(size)))?;
            resize_images(db, diff_id)
        })
    }
}

/// What a blob seems to hold, from what its format says of it; at least its own length.
fn guess(blob: &Blob, compression: Compression) -> Result<u64, Error> {
    use std::os::unix::fs::FileExt;
    let read = |source| Error::io("look at a layer")(source);
    let file = blob.open()?;
    let told = match compression {
        Compression::Gzip if blob.size > 18 => {
            // the length of the last member, modulo 2^32 (RFC 1952, section 2.3.1)
            let mut trailer = [0; 4];
            file.file()
                .read_exact_at(&mut trailer, blob.size - 4)
                .map_err(read)?;
            Some(u64::from(u32::from_le_bytes(trailer)))
        }
        Compression::Zstd => {
            let mut header = Vec::new();
            file.take(ZSTD_HEADER as u64)
                .read_to_end(&mut header)
                .map_err(read)?;
            frame_content_size(&header)
        }
        _ => None,
    };
    let plausible = blob.size..=blob.size.saturating_mul(MOST);
    Ok(told.filter(|told| plausible.contains(told)).unwrap_or(blob.size))
}

/// The content's size that a zstd frame's header tells, if it does.
fn frame_content_size(header: &[u8]) -> Option<u64> {
    let descriptor = *header
        .get(4)
        .filter(|_| header.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]))?;
    let single = descriptor & 0x20 != 0;
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let at = 5 + usize::from(!single) + dictionary;
    let field = |length: usize| {
        let bytes = header.get(at..at + length)?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0_u64, |value, byte| value << 8 | u64::from(*byte)),
        )
    };
    match descriptor >> 6 {
        0 if single => field(1),
        0 => None,
        1 => field(2).map(|size| size + 256),
        2 => field(4),
        _ => field(8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zstd_frames_tell_their_size() {
        for length in [0_usize, 5, 255, 256, 70_000, 1 << 20] {
            let frame = zstd_of(length);
            assert_eq!(
                frame_content_size(&frame[..frame.len().min(ZSTD_HEADER)]),
                Some(length as u64)
            );
        }
        assert_eq!(frame_content_size(b"\x1f\x8b"), None);
        assert_eq!(frame_content_size(&[0x28, 0xb5, 0x2f, 0xfd]), None);
    }

    /// A frame's header as the format has it, for a content of this length in one segment.
    fn zstd_of(length: usize) -> Vec<u8> {
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd];
        match length {
            0..=255 => frame.extend([0x20, length as u8]),
            256..=65_791 => {
                frame.push(0x60);
                frame.extend(((length - 256) as u16).to_le_bytes());
            }
            _ => {
                frame.push(0xa0);
                frame.extend((length as u32).to_le_bytes());
            }
        }
        frame
    }
}
