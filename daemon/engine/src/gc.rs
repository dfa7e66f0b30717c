//! What goes from the build cache when someone asks to prune it.

use std::collections::HashSet;

use jiff::Timestamp;
use mica_oci::CacheKey;

use crate::cache_list::{CacheItem, CacheKind};
use crate::engine::Engine;
use crate::error::Error;
use crate::feed::Subject;

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
    /// Kinds of records, `regular` or `exec.cachemount`; any other selects nothing.
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
    /// Removes records of the build cache, the least recently used first. Images keep their layers; a cache mount in use
    /// stays whatever is asked.
    pub fn prune_cache(&self, selection: &CacheSelection) -> Result<PrunedCache, Error> {
        // their layers are in use as long as they are kept
        self.workshop().forget_failed_steps();
        let items = self.cache()?;
        let mut excess = self.excess(selection, &items)?;
        let mut doomed = HashSet::new();
        for item in &items {
            if excess == Some(0) {
                break;
            }
            if selection.admits(item) {
                doomed.insert((item.kind, item.id));
                excess = excess.map(|bytes| bytes.saturating_sub(item.size));
            }
        }
        let steps = self
            .store()
            .prune_cache(&mut |entry| doomed.contains(&(CacheKind::Regular, entry.key)))?;
        let mounts = self
            .store()
            .prune_mounts(&mut |entry| doomed.contains(&(CacheKind::Mount, entry.id)))?;
        let bytes = steps.bytes + mounts.bytes;
        self.feed().prune(Subject::Cache, bytes);
        Ok(PrunedCache {
            keys: [steps.keys, mounts.keys].concat(),
            bytes,
        })
    }

    /// How many bytes have to go at least; `None` if there is no limit to what may go.
    fn excess(&self, selection: &CacheSelection, items: &[CacheItem]) -> Result<Option<u64>, Error> {
        let mut excess = None;
        if let Some(keep) = selection.keep_bytes {
            let total: u64 = items.iter().map(|item| item.size).sum();
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
    fn admits(&self, item: &CacheItem) -> bool {
        let hex = item.id.digest().hex();
        let any = |wanted: &[String], holds: &dyn Fn(&str) -> bool| {
            wanted.is_empty() || wanted.iter().any(|one| holds(one))
        };
        self.in_use.unwrap_or(false) == item.in_use
            && (self.all || self.shared == Some(true) || !item.shared)
            && self.shared.is_none_or(|wanted| wanted == item.shared)
            && self.unused_since.is_none_or(|limit| item.last_used < limit)
            && any(&self.ids, &|id| hex.starts_with(id.trim_start_matches("sha256:")))
            && any(&self.types, &|kind| kind == item.kind.as_str())
            && any(&self.descriptions, &|part| item.description.contains(part))
    }
}
