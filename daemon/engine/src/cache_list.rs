//! The build cache as one list: results of steps, and cache mounts.

use std::collections::HashMap;

use jiff::Timestamp;
use mica_oci::{CacheKey, ChainId, DiffId};

use crate::engine::Engine;
use crate::error::Error;

/// What a record of the build cache is. The words are BuildKit's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CacheKind {
    /// The layer a step made.
    Regular,
    /// A directory of `RUN --mount=type=cache`.
    Mount,
}

impl CacheKind {
    /// The word clients know it by.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Regular => "regular",
            Self::Mount => "exec.cachemount",
        }
    }
}

/// A record of the build cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheItem {
    /// Names it.
    pub id: CacheKey,
    /// What it is.
    pub kind: CacheKind,
    /// The instruction, or what the mount is called.
    pub description: String,
    /// Bytes on disk that go with it: of the layer in all its forms, or of the directory when it was last given back. Of
    /// several records of one layer, the one used last has its bytes: it is the last to go.
    pub size: u64,
    /// The record of a step that made the layer below.
    pub parent: Option<CacheKey>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last used.
    pub last_used: Timestamp,
    /// How often it was used.
    pub use_count: u64,
    /// Whether a build is using it.
    pub in_use: bool,
    /// Whether an image has the layer too: removing the record frees nothing then.
    pub shared: bool,
}

impl CacheItem {
    /// The bytes that are there for the cache alone: what pruning it frees.
    #[must_use]
    pub fn own_bytes(&self) -> u64 {
        match self.shared {
            true => 0,
            false => self.size,
        }
    }
}

impl Engine {
    /// All records of the build cache, the least recently used first.
    pub fn cache(&self) -> Result<Vec<CacheItem>, Error> {
        let entries = self.store().cache_entries()?;
        // where several steps gave the same, the one used last
        let by_chain: HashMap<ChainId, CacheKey> = entries
            .iter()
            .map(|entry| (entry.record.parent.push(&entry.record.layer), entry.key))
            .collect();
        let holders: HashMap<DiffId, CacheKey> = entries
            .iter()
            .map(|entry| (entry.record.layer, entry.key))
            .collect();
        let steps = entries.into_iter().map(|entry| CacheItem {
            id: entry.key,
            kind: CacheKind::Regular,
            description: entry.record.description,
            size: match holders.get(&entry.record.layer) == Some(&entry.key) {
                true => entry.size,
                false => 0,
            },
            parent: by_chain.get(&entry.record.parent).copied(),
            created: entry.record.created,
            last_used: entry.last_used,
            use_count: entry.use_count,
            // the store calls a layer of an image in use too; here that is "shared", and only a build uses a record
            in_use: entry.in_use && !entry.in_image,
            shared: entry.in_image,
        });
        let mounts = self.store().mount_entries()?.into_iter().map(|entry| CacheItem {
            id: entry.id,
            kind: CacheKind::Mount,
            description: format!("cache mount {}", entry.name),
            size: entry.size,
            parent: None,
            created: entry.created,
            last_used: entry.last_used,
            use_count: entry.use_count,
            in_use: entry.in_use,
            shared: false,
        });
        let mut items: Vec<CacheItem> = steps.chain(mounts).collect();
        items.sort_by_key(|item| (item.last_used, item.id));
        Ok(items)
    }
}
