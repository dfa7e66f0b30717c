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
    /// Bytes of all layers of images, each counted once.
    pub layers_size: i64,
    /// The images, with the bytes they share with others.
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
}
