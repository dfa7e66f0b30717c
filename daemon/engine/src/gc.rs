//! What goes from the build cache when someone asks to prune it.

use std::collections::HashSet;

use jiff::Timestamp;
use mica_oci::{CacheKey, DiffId};
use mica_store::CacheEntry;

use crate::engine::Engine;
use crate::error::Error;

/// Which records of the build cache go; everything that is set has to hold.
#[derive(Debug, Clone, Default)]
pub struct CacheSelection {
    /// Records whose layer an image has too; removing them frees no bytes.
    pub all: bool,
    /// Last used before this time.
    pub unused_since: Option<Timestamp>,
    /// Beginnings of the record's key, in hexadecimal; one must match.
    pub ids: Vec<String>,
    /// Pieces of the description; one must be in it.
    pub descriptions: Vec<String>,
    /// Kinds of records; there is only one, `regular`, so that any other selects nothing.
    pub types: Vec<String>,
    /// Whether a build is using it now.
    pub in_use: Option<bool>,
    /// Whether an image has the layer too.
    pub shared: Option<bool>,
    /// The least recently used go until no more than this many bytes are left.
    pub keep_bytes: Option<u64>,
    /// The least recently used go until this many bytes of the disk are free.
    pub free_bytes: Option<u64>,
}

/// What a prune of the build cache did.
#[derive(Debug, Clone, Default)]
pub struct PrunedCache {
    /// The records that are gone.
    pub keys: Vec<CacheKey>,
    /// Bytes freed on disk.
    pub bytes: u64,
}

impl Engine {
    /// Removes records of the build cache, the least recently used first. Images keep their layers.
    pub fn prune_cache(&self, selection: &CacheSelection) -> Result<PrunedCache, Error> {
        // their layers are in use as long as they are kept
        self.workshop().forget_failed_steps();
        let images = self.store().images()?;
        let in_images: HashSet<DiffId> = images
            .iter()
            .flat_map(|image| image.config.rootfs.diff_ids.iter().copied())
            .collect();
        let mut entries = self.store().cache_entries()?;
        entries.sort_by_key(|entry| entry.last_used);
        let mut excess = self.excess(selection, &entries)?;
        let mut doomed = HashSet::new();
        for entry in &entries {
            if excess == Some(0) {
                break;
            }
            let shared = in_images.contains(&entry.record.layer);
            if selection.admits(entry, shared) {
                doomed.insert(entry.key);
                excess = excess.map(|bytes| bytes.saturating_sub(entry.size));
            }
        }
        let pruned = self
            .store()
            .prune_cache(&mut |entry| doomed.contains(&entry.key))?;
        Ok(PrunedCache {
            keys: pruned.keys,
            bytes: pruned.bytes,
        })
    }

    /// How many bytes have to go at least; `None` if there is no limit to what may go.
    fn excess(&self, selection: &CacheSelection, entries: &[CacheEntry]) -> Result<Option<u64>, Error> {
        let mut excess = None;
        if let Some(keep) = selection.keep_bytes {
            let total: u64 = entries.iter().map(|entry| entry.size).sum();
            excess = Some(total.saturating_sub(keep));
        }
        if let Some(wanted) = selection.free_bytes {
            let disk = rustix::fs::statvfs(self.root()).map_err(|source| Error::Io {
                action: "read how much of the disk is free",
                source: source.into(),
            })?;
            let missing = wanted.saturating_sub(disk.f_bavail.saturating_mul(disk.f_frsize));
            excess = Some(excess.map_or(missing, |bytes| bytes.max(missing)));
        }
        Ok(excess)
    }
}

impl CacheSelection {
    fn admits(&self, entry: &CacheEntry, shared: bool) -> bool {
        let hex = entry.key.digest().hex();
        let any = |wanted: &[String], holds: &dyn Fn(&str) -> bool| {
            wanted.is_empty() || wanted.iter().any(|one| holds(one))
        };
        // the store calls a layer of an image in use too; here that is "shared", and only a build uses a record
        let building = entry.in_use && !shared;
        self.in_use.unwrap_or(false) == building
            && (self.all || self.shared == Some(true) || !shared)
            && self.shared.is_none_or(|wanted| wanted == shared)
            && self.unused_since.is_none_or(|limit| entry.last_used < limit)
            && any(&self.ids, &|id| hex.starts_with(id.trim_start_matches("sha256:")))
            && any(&self.types, &|kind| kind == "regular")
            && any(&self.descriptions, &|part| {
                entry.record.description.contains(part)
            })
    }
}
