//! Whether an image is all there, as far as that can be told at little cost.

use mica_oci::{Digest, ImageId};
use rusqlite::Connection;

use crate::check::documents::read;
use crate::error::Error;
use crate::images::find_record;
use crate::locks::share;
use crate::rows;
use crate::store::Store;

/// A blob that an image's manifest names for a layer, and how long it is where a row tells.
type Named = (Digest, Option<u64>);

impl Store {
    /// Whether all that the image's manifest names is here: its config and its manifest have their digests, and the blobs of its
    /// layers are files of the right length that nobody found damaged.
    pub fn is_image_whole(&self, image: &ImageId) -> Result<bool, Error> {
        let _gate = share(&self.inner.gate);
        let found = self.inner.database.read(|db| {
            let Some(record) = find_record(db, image)? else {
                return Ok(None);
            };
            Ok(Some((record.manifest.digest, named(db, image)?)))
        })?;
        let Some((manifest, blobs)) = found else {
            return Ok(false);
        };
        Ok(self.has_document(image.digest())
            && self.has_document(&manifest)
            && blobs.iter().all(|blob| self.has_blob(blob)))
    }

    /// Whether a config, manifest or index is here and holds what it should.
    pub(crate) fn has_document(&self, digest: &Digest) -> bool {
        self.read_document(digest).is_some()
    }

    /// The bytes of a config, manifest or index that is here and holds what it should.
    pub(crate) fn read_document(&self, digest: &Digest) -> Option<Vec<u8>> {
        let bytes = read(&self.inner.paths.blob(digest)).ok()?;
        (Digest::of(&bytes) == *digest).then_some(bytes)
    }

    fn has_blob(&self, (digest, size): &Named) -> bool {
        let whole = |meta: std::fs::Metadata| meta.is_file() && size.is_none_or(|size| size == meta.len());
        !self.inner.damaged.holds(digest)
            && fs_err::symlink_metadata(self.inner.paths.blob(digest)).is_ok_and(whole)
    }

    /// Whether a blob that is here holds other bytes than it should, given that it has not the length that was expected. What is
    /// found damaged is replaced by what comes next under its digest.
    pub fn is_damaged(&self, digest: &Digest, expected: u64) -> Result<bool, Error> {
        if self.inner.damaged.holds(digest) {
            return Ok(true);
        }
        match fs_err::symlink_metadata(self.inner.paths.blob(digest)) {
            Ok(meta) if !meta.is_file() || meta.len() != expected => {}
            // it is as it should be, or there is none
            _ => return Ok(false),
        }
        let sound = self.is_sound_blob(digest, &|| Ok(()))?;
        if !sound {
            self.inner.damaged.note(digest);
        }
        Ok(!sound)
    }
}

fn named(db: &Connection, image: &ImageId) -> Result<Vec<Named>, Error> {
    let mut query = db.prepare_cached(
        "SELECT blob, coalesce((SELECT size FROM layer_blobs b WHERE b.digest = blob),
             (SELECT size FROM layer_claims c WHERE c.digest = blob AND c.diff_id = i.diff_id),
             (SELECT size FROM layers l WHERE l.diff_id = blob AND l.tar > 0))
         FROM image_layers i WHERE image = ?1",
    )?;
    let found = query.query_map([image.digest().as_raw()], |row| {
        let size: Option<i64> = row.get(1)?;
        Ok((rows::digest(row, 0)?, size.map(|size| size.max(0).unsigned_abs())))
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}
