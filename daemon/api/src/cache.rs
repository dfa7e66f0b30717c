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
    /// `regular`, or `exec.cachemount`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// The instruction, or what the mount is called.
    pub description: String,
    /// Whether a build is using it.
    pub in_use: bool,
    /// Whether an image has its layer too.
    pub shared: bool,
    /// Bytes.
    pub size: u64,
    /// When it was made (RFC 3339).
    pub created_at: String,
    /// When it was last used (RFC 3339); other daemons say `null` of what never was.
    #[serde(deserialize_with = "null::as_default")]
    pub last_used_at: String,
    /// How often it was used.
    pub usage_count: u64,
}
