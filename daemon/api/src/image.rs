//! Images as lists, inspections and removals show them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ZERO_TIME;
use crate::null;

/// One image of `GET /images/json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageSummary {
    /// The digest of the config, with `sha256:`.
    pub id: String,
    /// The image this one was built on, or empty.
    pub parent_id: String,
    /// Familiar `name:tag`.
    #[serde(deserialize_with = "null::as_default")]
    pub repo_tags: Vec<String>,
    /// Familiar `name@digest`.
    #[serde(deserialize_with = "null::as_default")]
    pub repo_digests: Vec<String>,
    /// Unix seconds.
    pub created: i64,
    /// Bytes of all layers, unpacked.
    pub size: i64,
    /// Bytes of layers other images have too; -1 if not computed.
    pub shared_size: i64,
    /// The image's labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// How many containers use the image; -1 if not computed.
    pub containers: i64,
    /// The same as `size`; only below version 1.44.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_size: Option<i64>,
}

/// `GET /images/{name}/json`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageInspect {
    /// The digest of the config, with `sha256:`.
    pub id: String,
    /// Familiar `name:tag`.
    #[serde(deserialize_with = "null::as_default")]
    pub repo_tags: Vec<String>,
    /// Familiar `name@digest`.
    #[serde(deserialize_with = "null::as_default")]
    pub repo_digests: Vec<String>,
    /// The image this one was built on, or empty.
    pub parent: String,
    /// The comment of the last step.
    pub comment: String,
    /// RFC 3339; always a valid time.
    pub created: String,
    /// The container the image was made from; only below version 1.45.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// That container's config; only below version 1.45.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_config: Option<Value>,
    /// Who built it, if the config says so.
    pub docker_version: String,
    /// The author.
    pub author: String,
    /// What a process started from the image gets.
    #[serde(deserialize_with = "null::as_default")]
    pub config: InspectConfig,
    /// Go's name of the architecture.
    pub architecture: String,
    /// Its variant.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// The operating system.
    pub os: String,
    /// Windows build.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    /// Bytes of all layers, unpacked.
    pub size: i64,
    /// The same as `size`; only below version 1.44.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_size: Option<i64>,
    /// Where the files are.
    #[serde(deserialize_with = "null::as_default")]
    pub graph_driver: GraphDriver,
    /// The layers.
    #[serde(rename = "RootFS", deserialize_with = "null::as_default")]
    pub root_fs: RootFs,
    /// What the daemon remembers about the image.
    #[serde(deserialize_with = "null::as_default")]
    pub metadata: Metadata,
}

impl Default for ImageInspect {
    fn default() -> Self {
        Self {
            id: String::new(),
            repo_tags: Vec::new(),
            repo_digests: Vec::new(),
            parent: String::new(),
            comment: String::new(),
            created: ZERO_TIME.to_owned(),
            container: None,
            container_config: None,
            docker_version: String::new(),
            author: String::new(),
            config: InspectConfig::default(),
            architecture: String::new(),
            variant: String::new(),
            os: String::new(),
            os_version: String::new(),
            size: 0,
            virtual_size: None,
            graph_driver: GraphDriver::default(),
            root_fs: RootFs::default(),
            metadata: Metadata::default(),
        }
    }
}

/// The config as inspections show it: the first eight keys always, the others where they are set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct InspectConfig {
    /// Keys containers have and images do not; only below version 1.50.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub legacy: Option<LegacyConfig>,
    /// User, verbatim.
    pub user: String,
    /// `80/tcp` and the like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exposed_ports: Option<Value>,
    /// `NAME=value`
    pub env: Option<Vec<String>>,
    /// The default arguments.
    pub cmd: Option<Vec<String>>,
    /// How to see whether the process is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<InspectHealthcheck>,
    /// Whether `Cmd` came from a shell form.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub args_escaped: bool,
    /// Paths that hold data.
    pub volumes: Option<Value>,
    /// Where the process starts.
    pub working_dir: String,
    /// The program.
    pub entrypoint: Option<Vec<String>>,
    /// Triggers for images built on this one.
    pub on_build: Option<Vec<String>>,
    /// Free text by key.
    pub labels: Option<BTreeMap<String, String>>,
    /// The signal that stops the process.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// The shell of shell forms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
}

/// HEALTHCHECK; durations in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct InspectHealthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", …]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<Vec<String>>,
    /// Time between two checks.
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// Time one check may take.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// Time in which failures do not count.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Time between two checks during the start period.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures in a row that make it unhealthy.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: i64,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Keys of a container's config that older clients expect in an image's too; always their zero values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct LegacyConfig {
    /// Always empty.
    pub hostname: String,
    /// Always empty.
    pub domainname: String,
    /// Always false.
    pub attach_stdin: bool,
    /// Always false.
    pub attach_stdout: bool,
    /// Always false.
    pub attach_stderr: bool,
    /// Always false.
    pub tty: bool,
    /// Always false.
    pub open_stdin: bool,
    /// Always false.
    pub stdin_once: bool,
    /// Always empty.
    pub image: String,
}

/// Where an image's files are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GraphDriver {
    /// What keeps them.
    pub name: String,
    /// Paths and the like.
    pub data: Option<BTreeMap<String, String>>,
}

/// The layers of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Digests of the uncompressed layers, lowest first.
    #[serde(
        rename = "Layers",
        deserialize_with = "null::as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub layers: Vec<String>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self {
            kind: "layers".to_owned(),
            layers: Vec::new(),
        }
    }
}

/// What the daemon remembers about an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Metadata {
    /// When a tag was last set, RFC 3339; the zero time if never.
    pub last_tag_time: String,
}

impl Default for Metadata {
    fn default() -> Self {
        Self {
            last_tag_time: ZERO_TIME.to_owned(),
        }
    }
}

/// One step of `GET /images/{name}/history`, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HistoryItem {
    /// The image after the step, or `<missing>`.
    pub id: String,
    /// Unix seconds.
    pub created: i64,
    /// The instruction.
    pub created_by: String,
    /// Familiar names of the image after the step.
    pub tags: Option<Vec<String>>,
    /// Bytes the step added; 0 for steps without a layer.
    pub size: i64,
    /// Free text.
    pub comment: String,
}

/// One thing a removal did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeleteItem {
    /// A familiar reference that was dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub untagged: Option<String>,
    /// An image or a layer chain that is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted: Option<String>,
}

impl DeleteItem {
    /// A reference was dropped.
    pub fn untagged(reference: impl Into<String>) -> Self {
        Self {
            untagged: Some(reference.into()),
            deleted: None,
        }
    }

    /// An image or a layer chain is gone.
    pub fn deleted(digest: impl Into<String>) -> Self {
        Self {
            untagged: None,
            deleted: Some(digest.into()),
        }
    }
}

/// `POST /images/prune`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PruneReport {
    /// What was done; `null` if nothing.
    pub images_deleted: Option<Vec<DeleteItem>>,
    /// Bytes freed on disk.
    pub space_reclaimed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_has_lists_and_never_null() {
        let text = serde_json::to_string(&ImageSummary::default()).unwrap();
        assert!(text.contains(r#""RepoTags":[],"RepoDigests":[]"#), "{text}");
        assert!(!text.contains("VirtualSize"), "{text}");
        let read: ImageSummary =
            serde_json::from_str(r#"{"Id":"x","RepoTags":null,"RepoDigests":null,"Unknown":1}"#).unwrap();
        assert_eq!(read.id, "x");
    }

    #[test]
    fn the_config_has_its_eight_keys_and_old_ones_on_demand() {
        let mut config = InspectConfig::default();
        let text = serde_json::to_string(&config).unwrap();
        for key in [
            "User",
            "Env",
            "Cmd",
            "Entrypoint",
            "Labels",
            "OnBuild",
            "Volumes",
            "WorkingDir",
        ] {
            assert!(text.contains(&format!("\"{key}\":")), "{key} in {text}");
        }
        for key in [
            "ExposedPorts",
            "Healthcheck",
            "StopSignal",
            "Shell",
            "ArgsEscaped",
            "Hostname",
        ] {
            assert!(!text.contains(&format!("\"{key}\":")), "{key} in {text}");
        }
        assert_eq!(serde_json::from_str::<InspectConfig>(&text).unwrap(), config);
        config.legacy = Some(LegacyConfig::default());
        let text = serde_json::to_string(&config).unwrap();
        assert!(
            text.contains(r#""Hostname":"","Domainname":"","AttachStdin":false"#),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<InspectConfig>(&text).unwrap(), config);
    }

    #[test]
    fn inspections_read_back() {
        let inspect = ImageInspect::default();
        let text = serde_json::to_string(&inspect).unwrap();
        assert!(text.contains(r#""Created":"0001-01-01T00:00:00Z""#), "{text}");
        assert!(text.contains(r#""RootFS":{"Type":"layers"}"#), "{text}");
        assert_eq!(serde_json::from_str::<ImageInspect>(&text).unwrap(), inspect);
    }

    #[test]
    fn removals_are_told_in_one_key() {
        let items = [DeleteItem::untagged("a:b"), DeleteItem::deleted("sha256:00")];
        assert_eq!(
            serde_json::to_string(&items).unwrap(),
            r#"[{"Untagged":"a:b"},{"Deleted":"sha256:00"}]"#
        );
        assert_eq!(
            serde_json::to_string(&PruneReport::default()).unwrap(),
            r#"{"ImagesDeleted":null,"SpaceReclaimed":0}"#
        );
    }
}
