//! What `/mica/build` is asked beside what `/build` is, and what `/build/prune` answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::null;

/// A build of which a log is kept, as `GET /mica/logs` lists them, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct BuildLog {
    /// The build, twelve hexadecimal digits.
    pub id: String,
    /// When something was last written to the log, in seconds since 1970.
    pub written: i64,
    /// Its length on the daemon's disk in bytes, compressed.
    pub size: u64,
}

/// How the command of `POST /mica/debug/{build}` ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DebugReport {
    /// Its exit code, 128 + N for signal N.
    pub exit_code: i32,
}

/// What a prune of the build cache removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct BuildPruneReport {
    /// The removed records; always a list, never `null`.
    #[serde(deserialize_with = "null::as_default")]
    pub caches_deleted: Vec<String>,
    /// Bytes freed on disk.
    pub space_reclaimed: u64,
}

/// The header that says how many descriptors travel with a request (`SCM_RIGHTS`, unix(7)), sent with its first bytes.
pub const DESCRIPTORS_HEADER: &str = "mica-descriptors";

/// What a client is told, with status 403, whose folder is not read: it may send a tar.
pub const FOLDER_REFUSED: &str =
    "folders are read only for root and for the daemon's own user: send the context as a tar";

/// Number of a descriptor among those of its request, from 0 in the order in which they were sent.
pub type DescriptorIndex = usize;

/// The query parameter `input` of `POST /mica/build`, as JSON: what a client of this machine hands over that the plain
/// `/build` has no place for. All else is as in `/build`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BuildInput {
    /// Where the build context is.
    pub context: ContextInput,
    /// `--build-context NAME=…`
    pub contexts: BTreeMap<String, ContextInput>,
    /// A file with the Dockerfile, where it is not one of the context.
    pub dockerfile: Option<DescriptorIndex>,
    /// `--secret`: files with the values, by ID.
    pub secrets: BTreeMap<String, DescriptorIndex>,
    /// `--ssh`: sockets of agents opened as paths (`O_PATH`), by ID.
    pub agents: BTreeMap<String, DescriptorIndex>,
    /// `--cache-to`: the attributes of each, `type` among them.
    pub cache_to: Vec<BTreeMap<String, String>>,
    /// `--no-cache-filter`
    pub no_cache_filter: Vec<String>,
    /// `--allow`
    pub allow: Vec<String>,
    /// `--explain`
    pub explain: bool,
    /// `--verify`
    pub verify: bool,
    /// `--attest`, `--provenance` and `--sbom`: `type=KIND,…` each.
    pub attest: Vec<String>,
}

/// Where files to copy from come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContextInput {
    /// The body of the request is a tar.
    #[default]
    Body,
    /// There are none.
    Empty,
    /// An open folder.
    Folder(DescriptorIndex),
    /// The address of a git repository or an archive.
    Address(String),
    /// An image.
    Image(String),
    /// An image in an OCI layout.
    Layout {
        /// The layout's folder, open.
        folder: DescriptorIndex,
        /// Its tag or digest; the only image if absent.
        image: Option<String>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_removed_is_an_empty_list() {
        let report = BuildPruneReport::default();
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            r#"{"CachesDeleted":[],"SpaceReclaimed":0}"#
        );
        assert_eq!(
            serde_json::from_str::<BuildPruneReport>(r#"{"CachesDeleted":null}"#).unwrap(),
            report
        );
    }
}
