//! Layers as they are pushed: compressed once, remembered, and readable while they are being compressed.

use std::io::Write;

use mica_oci::{Compression, DiffId, Digest};

use crate::blobs::Blob;
use crate::database::Durability;
use crate::error::Error;
use crate::growth::Growth;
use crate::layers::insert_blob;
use crate::lease::Lease;
use crate::locks::share;
use crate::rows;
use crate::store::Store;

impl Store {
    /// A blob of the layer compressed in this way, if one is there: one that was looked into if possible, else one an image
    /// claims to hold it.
    pub fn layer_blob(
        &self,
        lease: &Lease,
        diff_id: &DiffId,
        compression: Compression,
    ) -> Result<Option<Blob>, Error> {
        let kind = compression.layer_media_type();
        let digests = {
            let _gate = share(&self.inner.gate);
            lease.pin_layer(diff_id);
            self.inner.database.read(|db| {
                let mut query = db.prepare_cached(
                    "SELECT digest, 0 AS rank FROM layer_blobs WHERE diff_id = ?1 AND compression = ?2
                     UNION ALL SELECT digest, 1 FROM layer_claims WHERE diff_id = ?1 AND compression = ?2
                     ORDER BY rank, digest",
                )?;
                let found = query.query_map((diff_id.digest().as_raw(), kind.as_str()), |row| {
                    rows::digest(row, 0)
                })?;
                Ok(found.collect::<Result<Vec<Digest>, _>>()?)
            })?
        };
        for digest in digests {
            if let Some(blob) = self.blob(lease, &digest)? {
                return Ok(Some(blob));
            }
        }
        Ok(None)
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
        // before the layer is taken: it may have to be packed or inflated
        let made = self.tar(lease, diff_id).and_then(|tar| {
            self.inner.flights.alone(diff_id, || {
                let blob = match self.layer_blob(lease, diff_id, compression)? {
                    Some(blob) => blob,
                    None => self.compress_tar(lease, diff_id, &tar, compression, threads, growth)?,
                };
                growth.finish(blob.open()?, blob.size);
                Ok(blob)
            })
        });
        if made.is_err() {
            growth.fail();
        }
        made
    }

    fn compress_tar(
        &self,
        lease: &Lease,
        diff_id: &DiffId,
        tar: &Blob,
        compression: Compression,
        threads: usize,
        growth: &Growth,
    ) -> Result<Blob, Error> {
        let mut ingest = self.ingest(lease)?;
        let file = ingest.reader()?;
        let mut out = growth.writer(file, &mut ingest);
        let compressed = mica_layer::compress(&mut tar.open()?, &mut out, compression, threads)
            .map_err(Error::layer("compress", *diff_id))?;
        out.flush().map_err(Error::io("write a blob"))?;
        if compressed.diff != *diff_id.digest() {
            return Err(Error::corrupt(
                diff_id,
                format!("its tar has the digest {}", compressed.diff),
            ));
        }
        let blob = ingest.commit(None)?;
        self.inner.database.write(Durability::Normal, |db| {
            insert_blob(db, &blob, compression, diff_id)
        })?;
        Ok(blob)
    }
}
