//! What a registry has under a name, as `/distribution/{name}/json` tells it.

use serde::{Deserialize, Serialize};

use crate::null;

/// The answer of `GET /distribution/{name}/json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DistributionInspect {
    /// The manifest or index.
    pub descriptor: Descriptor,
    /// What it is for.
    #[serde(deserialize_with = "null::as_default")]
    pub platforms: Vec<DistributionPlatform>,
}

/// Points to a manifest or index.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// `sha256:` and 64 digits.
    pub digest: String,
    /// Its length in bytes.
    pub size: u64,
}

/// A platform; what is empty is left out, as clients compare whole answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DistributionPlatform {
    /// Go architecture name.
    pub architecture: String,
    /// Operating system.
    pub os: String,
    /// Windows build.
    #[serde(rename = "os.version", skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    /// Architecture variant.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

/// What a registry answered to an upload that was opened and given up, as `POST /mica/push-check/{name}` tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PushCheck {
    /// The host that was asked.
    pub host: String,
    /// What it said.
    pub answered: String,
    /// Whether no credential was shown to it.
    pub is_anonymous: bool,
}
