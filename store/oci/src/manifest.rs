//! Manifests, indexes and the descriptors they are made of (OCI image spec v1.1; Docker schema 2).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::document::{Document, null_as_default};
use crate::media::{MediaType, OCI_MANIFEST};
use crate::platform::Platform;

/// Points to a blob: what it is, its digest and its size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is.
    pub media_type: MediaType,
    /// The blob's digest.
    pub digest: Digest,
    /// The blob's length in bytes.
    pub size: u64,
    /// Other places to fetch it from (foreign layers).
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub urls: Vec<String>,
    /// Free text by key.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub annotations: BTreeMap<String, String>,
    /// In an index: what the manifest is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

impl Descriptor {
    /// A descriptor without any of the optional fields.
    pub fn new(media_type: impl Into<MediaType>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
        }
    }
}

/// One image: its config and its layers, lowest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// The manifest's own media type; some OCI manifests leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// The image config.
    pub config: Descriptor,
    /// The layers, lowest first.
    #[serde(default, deserialize_with = "null_as_default")]
    pub layers: Vec<Descriptor>,
    /// Free text by key.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// An OCI manifest of `config` and `layers`.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(MediaType::new(OCI_MANIFEST)),
            config,
            layers,
            annotations: BTreeMap::new(),
        }
    }
}

impl Document for Manifest {
    const KIND: &'static str = "manifest";
}

/// A list of manifests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// The index's own media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// What the list holds.
    #[serde(default, deserialize_with = "null_as_default")]
    pub manifests: Vec<Descriptor>,
    /// Free text by key.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub annotations: BTreeMap<String, String>,
}

impl Document for Index {
    const KIND: &'static str = "index";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Raw;

    #[test]
    fn indexes_of_the_wild_lack_fields() {
        let digest = Digest::of(b"x");
        let child = |platform: &str| {
            format!(
                r#"{{"mediaType":"{OCI_MANIFEST}","digest":"{digest}","size":1,"urls":null,"platform":{platform}}}"#
            )
        };
        for (platform, os, architecture) in [
            ("{}", "", ""),
            (r#"{"os":"linux"}"#, "linux", ""),
            (r#"{"architecture":"arm64","variant":null}"#, "", "arm64"),
            (
                r#"{"architecture":"amd64","os":"windows","os.version":null,"os.features":["win32k"]}"#,
                "windows",
                "amd64",
            ),
        ] {
            let text = format!(
                r#"{{"schemaVersion":2,"manifests":[{}],"annotations":null}}"#,
                child(platform)
            );
            let index = Raw::<Index>::parse(text.as_bytes()).unwrap();
            let found = index.manifests[0].platform.as_ref().unwrap();
            assert_eq!(
                (found.os.as_str(), found.architecture.as_str()),
                (os, architecture)
            );
        }
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, child("null"));
        assert_eq!(
            Raw::<Index>::parse(text.as_bytes()).unwrap().manifests[0].platform,
            None
        );
        assert!(
            Raw::<Index>::parse(br#"{"schemaVersion":2,"manifests":null}"#)
                .unwrap()
                .manifests
                .is_empty()
        );
    }

    #[test]
    fn foreign_layers_say_where_they_are() {
        let text = format!(
            r#"{{"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip","digest":"{}","size":7,"urls":["https://a/b"]}}"#,
            Digest::of(b"x")
        );
        let layer: Descriptor = serde_json::from_str(&text).unwrap();
        assert_eq!(layer.urls, ["https://a/b"]);
        assert!(layer.media_type.is_nondistributable());
        assert_eq!(serde_json::to_string(&layer).unwrap(), text);
    }
}
