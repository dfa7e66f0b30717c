//! Images in a tar, as `docker save` writes them and `docker load` reads them: docker's format and an OCI image layout in one.

mod blobs;
mod load;
mod save;
mod spool;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use blobs::{BlobSink, blobs, describe};
pub use load::{LoadEvent, Loaded, load};
pub use save::{save, save_attested, save_index};

/// Docker's list of images.
const MANIFEST: &str = "manifest.json";
/// Docker's older list of tags.
const REPOSITORIES: &str = "repositories";
/// The OCI list of manifests.
const INDEX: &str = "index.json";
/// The mark of an OCI image layout.
const LAYOUT: &str = "oci-layout";
/// What the mark says.
const LAYOUT_TEXT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// Where an OCI image layout has its blobs.
const BLOBS: &str = "blobs/sha256";

/// One image in `manifest.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    /// Path of the config.
    config: String,
    /// Familiar names with tags.
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    /// Paths of the layers, lowest first.
    #[serde(default)]
    layers: Option<Vec<String>>,
    /// Descriptors of layers that are not in the archive; never written, never read.
    #[serde(default, skip_deserializing)]
    layer_sources: BTreeMap<String, ()>,
}
