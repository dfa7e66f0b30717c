//! What `/system/df` answers: how much of the disk is used by what.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cache::CacheRecord;
use crate::image::ImageSummary;
use crate::null;

/// How much of the disk is used by what.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DiskUsage {
    /// Bytes that the layers of images take on disk in all their forms, as `du` counts them, each layer counted once. A layer
    /// that was pulled and not yet looked into takes what its compressed blob takes.
    pub layers_size: i64,
    /// The images, with the bytes they share with others. Their sizes are those of `/images/json`: lengths of uncompressed
    /// tars, estimated where a layer was not looked into.
    #[serde(deserialize_with = "null::as_default")]
    pub images: Vec<ImageSummary>,
    /// Of daemons that run containers, what those take.
    #[serde(deserialize_with = "null::as_default")]
    pub containers: Vec<Value>,
    /// Of daemons that run containers, what their volumes take.
    #[serde(deserialize_with = "null::as_default")]
    pub volumes: Vec<Value>,
    /// The records of the build cache.
    #[serde(deserialize_with = "null::as_default")]
    pub build_cache: Vec<CacheRecord>,
    /// Bytes of the build cache that images do not have; only below version 1.42.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub builder_size: Option<i64>,
    /// Images in sum, for clients of version 1.52 that go by our highest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_usage: Option<UsageSum>,
    /// Containers in sum: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_usage: Option<UsageSum>,
    /// Volumes in sum: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_usage: Option<UsageSum>,
    /// The build cache in sum.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_cache_usage: Option<UsageSum>,
    /// What takes how much of the disk, to the block; for who asks with `on-disk`. docker has no such thing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_disk: Option<OnDisk>,
}

/// What takes how much of the disk: bytes as `du` counts them. What running work writes is in none of these before it is done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct OnDisk {
    /// All of what follows.
    pub total: u64,
    /// Layers of images in all their forms, and the images' configs, manifests and indexes.
    pub images: u64,
    /// Layers that only the build cache has.
    pub build_cache: u64,
    /// Cache mounts as they were last given back.
    pub cache_mounts: u64,
    /// What neither an image nor the cache has: of pulls and builds that go on or ended early.
    pub unfinished: u64,
    /// Logs of builds, and fingerprints of folders that were built from.
    pub logs: u64,
    /// The database, lists, and the folders that all this lies in.
    pub store: u64,
}

/// All things of one kind in sum.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct UsageSum {
    /// How many are in use.
    pub active_count: i64,
    /// How many there are.
    pub total_count: i64,
    /// Bytes that removing those that are not in use frees.
    pub reclaimable: i64,
    /// Bytes of all of them.
    pub total_size: i64,
    /// The things themselves, where they were asked for here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<Value>,
}
