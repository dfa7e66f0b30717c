//! What `/mica/cache` and `/system/df` tell of the build cache: its records.

use serde::{Deserialize, Serialize};

use crate::null;

/// A record of the build cache. Names are those of docker's own `/system/df`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CacheRecord {
    /// Names it: 64 hexadecimal digits.
    #[serde(rename = "ID")]
    pub id: String,
    /// The record it was made on; only below version 1.42.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub parent: String,
    /// The records it was made on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parents: Option<Vec<String>>,
    /// `regular`, or `exec.cachemount`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// The instruction, or what the mount is called.
    pub description: String,
    /// Whether a build is using it.
    pub in_use: bool,
    /// Whether an image has its layer too.
    pub shared: bool,
    /// Bytes on disk; those that a record with the same layer tells already count as none.
    pub size: u64,
    /// When it was made (RFC 3339).
    pub created_at: String,
    /// When it was last used (RFC 3339); `null`, here empty, if it never was.
    #[serde(serialize_with = "null::if_empty", deserialize_with = "null::as_default")]
    pub last_used_at: String,
    /// How often it was used.
    pub usage_count: u64,
}
