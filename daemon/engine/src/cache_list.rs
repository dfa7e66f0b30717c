//! The build cache as one list: results of steps, and cache mounts.

use std::collections::HashSet;

use jiff::Timestamp;
use mica_oci::{CacheKey, DiffId};

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
    /// Bytes: of the layer's tar, or of the directory on disk when it was last given back.
    pub size: u64,
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

impl Engine {
    /// All records of the build cache, the least recently used first.
    pub fn cache(&self) -> Result<Vec<CacheItem>, Error> {
        let images = self.store().images()?;
        let in_images: HashSet<DiffId> = images
            .iter()
            .flat_map(|image| image.config.rootfs.diff_ids.iter().copied())
            .collect();
        let steps = self.store().cache_entries()?.into_iter().map(|entry| {
            let shared = in_images.contains(&entry.record.layer);
            CacheItem {
                id: entry.key,
                kind: CacheKind::Regular,
                description: entry.record.description,
                size: entry.size,
                created: entry.record.created,
                last_used: entry.last_used,
                use_count: entry.use_count,
                // the store calls a layer of an image in use too; here that is "shared", and only a build uses a record
                in_use: entry.in_use && !shared,
                shared,
            }
        });
        let mounts = self.store().mount_entries()?.into_iter().map(|entry| CacheItem {
            id: entry.id,
            kind: CacheKind::Mount,
            description: format!("cache mount {}", entry.name),
            size: entry.size,
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
