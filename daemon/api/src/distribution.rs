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

/// Whether a registry can be reached and would take a push, as `POST /mica/push-check/{name}` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PushCheck {
    /// The host that was asked.
    pub host: String,
    /// Whether no credential was shown to it.
    pub is_anonymous: bool,
    /// Whether it answers at all.
    pub registry: CheckAnswer,
    /// Whether it takes a push, by an upload that was opened and given up; left out where it does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub push: Option<CheckAnswer>,
}

/// What came of one question to a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CheckAnswer {
    /// What was said, by the registry or by what failed on the way to it.
    pub said: String,
    /// What is in the way; left out if nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<RegistryTrouble>,
}

/// What keeps a registry from doing what it is asked for, told apart by what a person does about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegistryTrouble {
    /// It said no to this user.
    Refused,
    /// No address belongs to its name.
    Name,
    /// No connection comes about: nobody listens, or there is no way there.
    Connection,
    /// The proxy on the way there cannot be used, or does not lead there.
    Proxy,
    /// TLS fails over certificates: nobody vouches for its own, or it wants one from us.
    Certificate,
    /// It was to speak TLS and does not.
    NoTls,
    /// It was to speak plain http and does not.
    NeedsTls,
    /// It takes connections and says nothing.
    Silence,
    /// The settings, certificates or rules of the daemon's machine are wrong or do not allow it.
    Settings,
    /// Anything else; trying again later may help.
    Other,
}
