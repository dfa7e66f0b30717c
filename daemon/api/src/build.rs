//! What `/build/prune` answers.

use serde::{Deserialize, Serialize};

use crate::null;

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
