//! Layers as they are pushed: compressed once, remembered, and readable while they are being compressed.

use std::io::Write;

use mica_oci::{Compression, DiffId, Digest};

use crate::blobs::Blob;
use crate::database::Durability;
use crate::disk;
use crate::error::Error;
use crate::growth::{Grower, Growth};
use crate::layers::insert_blob;
use crate::lease::Lease;
use crate::locks::share;
use crate::rows;
use crate::store::Store;

const CHECKED: &str =
    "SELECT digest FROM layer_blobs WHERE diff_id = ?1 AND compression = ?2 ORDER BY digest";
const CLAIMED: &str = "SELECT digest FROM layer_claims WHERE diff_id = ?1 AND compression = ?2
    AND digest NOT IN (SELECT digest FROM false_claims WHERE diff_id = ?1) ORDER BY digest";

impl Store {
    /// A blob of the layer compressed in this way, if one is there. What an image only claims to hold it is looked into first,
    /// unless it is all there is of the layer: then it is given as it came.
    pub fn layer_blob(
        &self,
        lease: &Lease,
        diff_id: &DiffId,
        compression: Compression,
    ) -> Result<Option<Blob>, Error> {
        let Some(record) = self.layer_record(lease, diff_id)? else {
            return Ok(None);
        };
        if let Some(blob) = self
            .blobs_by(CHECKED, lease, diff_id, compression)?
            .into_iter()
            .next()
        {
            return Ok(Some(blob));
        }
        let claimed = self.blobs_by(CLAIMED, lease, diff_id, compression)?;
        if !record.layer.exact && !record.is_disputed() {
            return Ok(claimed.into_iter().next());
        }
        self.inner.flights.alone(diff_id, || {
            for blob in claimed {
                match self.prove(&blob, diff_id) {
                    Ok(()) => return Ok(Some(blob)),
                    Err(Error::FalseClaim { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(None)
        })
    }

    fn blobs_by(
        &self,
        query: &str,
        lease: &Lease,
        diff_id: &DiffId,
        compression: Compression,
    ) -> Result<Vec<Blob>, Error> {
        let kind = compression.layer_media_type();
        let digests = {
            let _gate = share(&self.inner.gate);
            self.inner.database.read(|db| {
                let mut query = db.prepare_cached(query)?;
                let found = query.query_map((diff_id.digest().as_raw(), kind.as_str()), |row| {
                    rows::digest(row, 0)
                })?;
                Ok(found.collect::<Result<Vec<Digest>, _>>()?)
            })?
        };
        let mut blobs = Vec::new();
        for digest in digests {
            blobs.extend(self.blob(lease, &digest)?);
        }
        Ok(blobs)
    }

    /// Compresses the layer and keeps the blob, which can be read through `growth` while it is made. Another caller who
    /// wants the same waits, and finds it.
    pub fn compress_layer(
        &self,
        lease: &Lease,
        diff_id: &DiffId,
        compression: Compression,
        threads: usize,
        growth: &Growth,
    ) -> Result<Blob, Error> {
        let grower = growth.grower();
        // not the layer's own lock: who wants its tree meanwhile need not wait
        self.inner.compressions.alone(diff_id, || {
            let blob = match self.layer_blob(lease, diff_id, compression)? {
                Some(blob) => blob,
                None => self.compress_tar(lease, diff_id, compression, threads, &grower)?,
            };
            grower.finish(blob.open()?, blob.digest, blob.size);
            Ok(blob)
        })
    }

    fn compress_tar(
        &self,
        lease: &Lease,
        diff_id: &DiffId,
        compression: Compression,
        threads: usize,
        grower: &Grower,
    ) -> Result<Blob, Error> {
        let tar = self.tar(lease, diff_id)?;
        let mut ingest = self.ingest(lease)?;
        let file = ingest.reader()?;
        let mut out = grower.writer(file, &mut ingest);
        let compressed = mica_layer::compress(&mut tar.open()?, &mut out, compression, threads)
            .map_err(Error::layer("compress", *diff_id))?;
        out.flush().map_err(Error::io("write a blob"))?;
        if compressed.diff != *diff_id.digest() {
            let error = Error::corrupt(diff_id, format!("its tar has the digest {}", compressed.diff));
            return Err(self.suspect(&self.known(lease, diff_id)?, error));
        }
        let blob = ingest.commit(None)?;
        disk::failpoint("layer.compressed");
        self.inner.database.write(Durability::Normal, |db| {
            insert_blob(db, &blob, compression, diff_id)
        })?;
        self.list_again(diff_id)?;
        Ok(blob)
    }
}
