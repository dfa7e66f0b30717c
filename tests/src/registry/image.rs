//! Images put together by hand, so that a registry has something to give.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::registry::FakeRegistry;
use crate::registry::content::digest;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
const SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// A blob of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Its digest.
    pub digest: String,
    /// Its length in bytes.
    pub size: u64,
}

/// An image a registry was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The manifest.
    pub manifest: Blob,
    /// The config.
    pub config: Blob,
    /// The layers as they are packed, the lowest first.
    pub layers: Vec<Blob>,
}

impl FakeRegistry {
    /// Puts an image for linux/amd64 with these layer tars, packed with gzip.
    pub fn image(&self, repository: &str, tag: Option<&str>, tars: &[Vec<u8>]) -> Image {
        self.image_for(repository, tag, "linux/amd64", tars)
    }

    /// Puts an image for a platform, `os/architecture` or `os/architecture/variant`.
    pub fn image_for(&self, repository: &str, tag: Option<&str>, platform: &str, tars: &[Vec<u8>]) -> Image {
        let layers: Vec<Blob> = tars
            .iter()
            .map(|tar| self.own_blob(repository, &packed(tar)))
            .collect();
        let diffs: Vec<String> = tars.iter().map(|tar| digest(tar)).collect();
        let listed = layers.iter().map(|layer| described(LAYER, layer)).collect();
        self.assembled(repository, tag, platform, &diffs, layers, listed)
    }

    /// Puts an image for windows/amd64 whose one layer lies at another address and not here.
    pub fn foreign(&self, repository: &str, tag: Option<&str>, url: &str, tar: &[u8]) -> Image {
        let bytes = packed(tar);
        let layer = Blob {
            digest: digest(&bytes),
            size: bytes.len() as u64,
        };
        let mut listed = described(FOREIGN, &layer);
        listed["urls"] = json!([url]);
        let diffs = [digest(tar)];
        self.assembled(
            repository,
            tag,
            "windows/amd64",
            &diffs,
            vec![layer],
            vec![listed],
        )
    }

    fn assembled(
        &self,
        repository: &str,
        tag: Option<&str>,
        platform: &str,
        diffs: &[String],
        layers: Vec<Blob>,
        listed: Vec<Value>,
    ) -> Image {
        let mut config = split(platform);
        config["config"] = json!({});
        config["rootfs"] = json!({"type": "layers", "diff_ids": diffs});
        config["history"] = diffs.iter().map(|_| json!({"created_by": "a test"})).collect();
        let config = self.own_blob(repository, config.to_string().as_bytes());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": described(CONFIG, &config),
            "layers": listed,
        });
        Image {
            manifest: self.own_manifest(repository, tag, MANIFEST, &manifest),
            config,
            layers,
        }
    }

    /// Puts an index of images of the same repository, each for a platform.
    pub fn index(&self, repository: &str, tag: Option<&str>, images: &[(&str, &Image)]) -> Blob {
        let listed = images.iter().map(|(platform, image)| {
            let mut listed = described(MANIFEST, &image.manifest);
            listed["platform"] = split(platform);
            listed
        });
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed.collect::<Vec<_>>()});
        self.own_manifest(repository, tag, INDEX, &index)
    }

    /// Puts a manifest of the kind that came before all others (Docker image manifest V2, schema 1).
    pub fn schema1(&self, repository: &str, tag: &str) -> Blob {
        let layer = self.own_blob(repository, &packed(&[]));
        let manifest = json!({
            "schemaVersion": 1,
            "name": repository,
            "tag": tag,
            "architecture": "amd64",
            "fsLayers": [{"blobSum": layer.digest}],
            "history": [{"v1Compatibility": "{\"id\":\"0\"}"}],
            "signatures": [],
        });
        self.own_manifest(repository, Some(tag), SCHEMA1, &manifest)
    }

    fn own_blob(&self, repository: &str, bytes: &[u8]) -> Blob {
        Blob {
            digest: self.put_blob(repository, bytes),
            size: bytes.len() as u64,
        }
    }

    fn own_manifest(&self, repository: &str, tag: Option<&str>, media_type: &str, value: &Value) -> Blob {
        let bytes = value.to_string();
        Blob {
            digest: self.put_manifest(repository, tag, media_type, bytes.as_bytes()),
            size: bytes.len() as u64,
        }
    }
}

fn described(media_type: &str, blob: &Blob) -> Value {
    json!({"mediaType": media_type, "digest": blob.digest, "size": blob.size})
}

fn split(platform: &str) -> Value {
    let mut parts = platform.split('/');
    let mut part = || parts.next().unwrap_or_default().to_owned();
    let mut value = json!({"os": part(), "architecture": part()});
    let variant = part();
    if !variant.is_empty() {
        value["variant"] = variant.into();
    }
    value
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bytes).expect("memory takes all bytes");
    packer.finish().expect("memory takes all bytes")
}
