//! What was fetched, kept in the store between builds: as layers that records of the build cache lead to, so that it goes as
//! they go.

use std::io::Read;

use jiff::Timestamp;
use mica_layer::{Changes, ImagePath, Policy, pack};
use mica_oci::{CacheKey, ChainId, DiffId, Digest, Hasher};
use mica_store::{CacheRecord, Lease, Store};
use mica_task::Cancel;

use crate::error::Error;

/// Raised when records of before must not be found any more.
const VERSION: &[u8] = b"mica fetched 1";

/// Where fetched things of one store are kept.
#[derive(Clone, Copy)]
pub(crate) struct Kept<'a> {
    pub(crate) store: &'a Store,
    pub(crate) lease: &'a Lease,
    pub(crate) cancel: &'a Cancel,
}

/// Names a thing that was fetched by what leads to it.
pub(crate) fn key(kind: &str, parts: &[&[u8]]) -> CacheKey {
    let mut hasher = Hasher::new();
    hasher.field(VERSION);
    hasher.field(kind.as_bytes());
    parts.iter().for_each(|part| hasher.field(part));
    CacheKey(hasher.finish())
}

impl Kept<'_> {
    /// The layer that is kept under a name.
    pub(crate) fn find(&self, key: &CacheKey) -> Result<Option<DiffId>, Error> {
        let record = self.store.cached(self.lease, key)?;
        Ok(record.map(|record| record.layer))
    }

    /// Makes a layer and keeps it under a name; `address` is what it came from, for people.
    pub(crate) fn put(&self, key: &CacheKey, changes: &Changes, address: &str) -> Result<DiffId, Error> {
        let mut ingest = self.store.ingest_packed(self.lease)?;
        let mut out = self.cancel.guard(&mut ingest);
        let packed = pack(changes, &Policy::default(), &mut out, None).map_err(|source| Error::Keep {
            address: address.to_owned(),
            source,
        })?;
        let layer = self.store.add_layer_tar(self.lease, ingest, &packed)?;
        let record = CacheRecord {
            layer: layer.diff_id,
            // below no image's layer: no step is ever on top of this
            parent: ChainId(Digest::of(VERSION)),
            content: packed.content,
            created: Timestamp::now(),
            description: format!("fetched from {address}"),
        };
        self.store.remember(self.lease, key, &record)?;
        Ok(layer.diff_id)
    }

    /// A small file of a kept layer; `None` if it is larger than `limit` bytes or cannot be read, which costs time and
    /// nothing else.
    pub(crate) fn read(&self, layer: &DiffId, path: &ImagePath, limit: u64) -> Option<Vec<u8>> {
        let content = self.store.view(self.lease, layer).ok()?.open(path).ok()?;
        if content.len() > limit {
            return None;
        }
        let mut bytes = Vec::new();
        content.reader().read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }
}
