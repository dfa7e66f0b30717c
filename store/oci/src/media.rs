//! Media types of manifests, configs and layers, in OCI's and in Docker's spelling.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a blob is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// A media type as it stands in a document; unknown ones are kept as they came.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MediaType(String);

/// OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI image config.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// OCI layer, not compressed.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// OCI layer, gzip.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// OCI layer, zstd.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Docker schema 2 manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker image config.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker layer, gzip.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker layer, not compressed.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// Docker layer, zstd (written by some clients).
pub const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";

/// Docker layer that registries do not hold, gzip; of Windows' base images.
pub const DOCKER_FOREIGN_GZIP: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
/// Docker layer that registries do not hold, not compressed.
pub const DOCKER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar";
/// OCI layer that registries do not hold, not compressed.
pub const OCI_NONDISTRIBUTABLE: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";
/// OCI layer that registries do not hold, gzip.
pub const OCI_NONDISTRIBUTABLE_GZIP: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
/// OCI layer that registries do not hold, zstd.
pub const OCI_NONDISTRIBUTABLE_ZSTD: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd";

impl MediaType {
    /// Takes a media type as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text of the media type.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is one image's manifest.
    pub fn is_manifest(&self) -> bool {
        matches!(self.as_str(), OCI_MANIFEST | DOCKER_MANIFEST)
    }

    /// Whether this is a list of manifests.
    pub fn is_index(&self) -> bool {
        matches!(self.as_str(), OCI_INDEX | DOCKER_LIST)
    }

    /// Whether this is the config of an image that can be run.
    pub fn is_image_config(&self) -> bool {
        matches!(self.as_str(), OCI_CONFIG | DOCKER_CONFIG)
    }

    /// Whether layers of this type are fetched from addresses in their descriptors and not sent to registries (OCI image
    /// spec, "Non-Distributable Layers").
    pub fn is_nondistributable(&self) -> bool {
        matches!(
            self.as_str(),
            DOCKER_FOREIGN
                | DOCKER_FOREIGN_GZIP
                | OCI_NONDISTRIBUTABLE
                | OCI_NONDISTRIBUTABLE_GZIP
                | OCI_NONDISTRIBUTABLE_ZSTD
        )
    }

    /// How a layer of this type is compressed; `None` if this is not a layer's type.
    pub fn layer_compression(&self) -> Option<Compression> {
        Some(match self.as_str() {
            OCI_LAYER | DOCKER_LAYER | DOCKER_FOREIGN | OCI_NONDISTRIBUTABLE => Compression::None,
            OCI_LAYER_GZIP | DOCKER_LAYER_GZIP | DOCKER_FOREIGN_GZIP | OCI_NONDISTRIBUTABLE_GZIP => {
                Compression::Gzip
            }
            OCI_LAYER_ZSTD | DOCKER_LAYER_ZSTD | OCI_NONDISTRIBUTABLE_ZSTD => Compression::Zstd,
            _ => return None,
        })
    }
}

impl Compression {
    /// The OCI media type of a layer compressed in this way.
    pub fn layer_media_type(self) -> MediaType {
        MediaType::new(match self {
            Self::None => OCI_LAYER,
            Self::Gzip => OCI_LAYER_GZIP,
            Self::Zstd => OCI_LAYER_ZSTD,
        })
    }
}

impl From<&str> for MediaType {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_that_stay_where_they_are_are_known() {
        for (text, compression) in [
            (DOCKER_FOREIGN, Compression::None),
            (DOCKER_FOREIGN_GZIP, Compression::Gzip),
            (OCI_NONDISTRIBUTABLE, Compression::None),
            (OCI_NONDISTRIBUTABLE_GZIP, Compression::Gzip),
            (OCI_NONDISTRIBUTABLE_ZSTD, Compression::Zstd),
        ] {
            let kind = MediaType::new(text);
            assert!(kind.is_nondistributable(), "{text}");
            assert_eq!(kind.layer_compression(), Some(compression), "{text}");
        }
        assert!(!MediaType::new(OCI_LAYER_GZIP).is_nondistributable());
        assert!(MediaType::new(DOCKER_CONFIG).is_image_config() && !MediaType::new("x").is_image_config());
    }
}
