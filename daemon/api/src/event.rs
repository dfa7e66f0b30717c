//! What `/events` tells: something happened to an image or to the build cache.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::null;

/// Something that happened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventMessage {
    /// The action once more, for clients before API 1.52; only of images.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// The actor's ID once more, for clients before API 1.52; only of images.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// What kind of thing it happened to: `image` or `builder`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// What happened: `tag`, `pull`, `prune`, ….
    #[serde(rename = "Action")]
    pub action: String,
    /// What it happened to.
    #[serde(rename = "Actor")]
    pub actor: Actor,
    /// Always `local`.
    pub scope: String,
    /// When, in seconds since 1970.
    pub time: i64,
    /// When, in nanoseconds since 1970.
    #[serde(rename = "timeNano")]
    pub time_nano: i64,
}

/// What something happened to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Actor {
    /// An image's ID, or the name that was pulled or pushed; empty for a prune.
    #[serde(rename = "ID")]
    pub id: String,
    /// The name it was about, and the labels of the image.
    #[serde(rename = "Attributes", deserialize_with = "null::as_default")]
    pub attributes: BTreeMap<String, String>,
}
