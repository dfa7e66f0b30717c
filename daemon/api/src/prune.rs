//! What `POST /images/prune` and `POST /build/prune` tell while they go on, if a client asks for it.

use serde::{Deserialize, Serialize};

use crate::ErrorDetail;

/// The type of an answer that is many JSON objects, each on a line. A prune that is asked for with this in `Accept` answers so:
/// with a [`PruneLine`] whenever some more is gone, and at the end with the line it else answers alone.
pub const LINES_TYPE: &str = "application/x-ndjson";

/// One line of a prune: one of its fields is there, or none of them in the last line of one that went to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PruneLine<Report> {
    /// How far it has got.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<PruneProgress>,
    /// The last line of one that did not go to its end.
    #[serde(rename = "errorDetail", skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<ErrorDetail>,
    /// What it did.
    #[serde(flatten)]
    pub report: Report,
}

/// How far a prune has got.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PruneProgress {
    /// What is being done.
    pub doing: String,
    /// How many of those that were chosen have been gone through.
    pub done: u64,
    /// How many images or records were chosen to go.
    pub total: u64,
    /// Bytes given back so far.
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BuildPruneReport, PruneReport};

    #[test]
    fn lines_are_progress_or_the_report() {
        let progress = PruneLine::<()> {
            progress: Some(PruneProgress {
                doing: "removing".into(),
                done: 1,
                total: 3,
                bytes: 7,
            }),
            ..PruneLine::default()
        };
        let text = r#"{"Progress":{"Doing":"removing","Done":1,"Total":3,"Bytes":7}}"#;
        assert_eq!(serde_json::to_string(&progress).unwrap(), text);
        let read: PruneLine<PruneReport> = serde_json::from_str(text).unwrap();
        assert_eq!(
            (read.progress, read.report),
            (progress.progress, PruneReport::default())
        );
        let last = r#"{"ImagesDeleted":[{"Untagged":"a:b"}],"SpaceReclaimed":5}"#;
        let read: PruneLine<PruneReport> = serde_json::from_str(last).unwrap();
        assert_eq!(serde_json::to_string(&read.report).unwrap(), last);
        assert!(read.progress.is_none() && read.error_detail.is_none());
        // as a daemon of another make tells it
        let read: PruneLine<BuildPruneReport> =
            serde_json::from_str(r#"{"CachesDeleted":null,"SpaceReclaimed":5}"#).unwrap();
        assert_eq!(read.report.space_reclaimed, 5);
    }
}
