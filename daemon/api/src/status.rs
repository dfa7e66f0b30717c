//! How a build goes on, as BuildKit's clients tell it to each other: the JSON of `client.SolveStatus`, which
//! `--progress=rawjson` prints.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::null;

/// The `id` of a line of a build's stream whose `aux` is a [`Status`].
pub const STATUS_ID: &str = "mica.status";

/// What changed. Of a vertex or a status the last one that was told counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Pieces of work.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null::as_default")]
    pub vertexes: Vec<Vertex>,
    /// Parts of them.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null::as_default")]
    pub statuses: Vec<VertexStatus>,
    /// Output of processes.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null::as_default")]
    pub logs: Vec<VertexLog>,
    /// What the user should know.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null::as_default")]
    pub warnings: Vec<VertexWarning>,
}

/// A piece of work.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Vertex {
    /// What it is known by: `sha256:` and 64 digits.
    pub digest: String,
    /// The pieces of work that it builds on.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null::as_default")]
    pub inputs: Vec<String>,
    /// What it is called.
    pub name: String,
    /// When it began; absent if it did not yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When it ended, whether it succeeded or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<Timestamp>,
    /// Whether an earlier result was taken.
    #[serde(skip_serializing_if = "is_false")]
    pub cached: bool,
    /// Why it failed; [`CANCELED`] at its end if it was stopped.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// The error of a vertex that was stopped because nobody wants it any more (the text of Go's `context.Canceled`).
pub const CANCELED: &str = "context canceled";

impl Vertex {
    /// Whether it was stopped because nobody wants it any more.
    #[must_use]
    pub fn is_canceled(&self) -> bool {
        self.error.ends_with(CANCELED)
    }
}

/// A part of a piece of work: bytes that move, or a single thing that is done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VertexStatus {
    /// What is shown of it, and what it is known by among those of its vertex.
    pub id: String,
    /// The vertex's digest.
    pub vertex: String,
    /// What is done.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Bytes in all, 0 where that is not known.
    #[serde(skip_serializing_if = "is_zero")]
    pub total: i64,
    /// Bytes so far.
    pub current: i64,
    /// When this was so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<Timestamp>,
}

/// Output of a process of a vertex.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VertexLog {
    /// The vertex's digest.
    pub vertex: String,
    /// 1 for standard output, 2 for standard error.
    pub stream: i32,
    /// The bytes as they came; base64 in JSON.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub data: Vec<u8>,
    /// When they came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
}

/// What the user should know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VertexWarning {
    /// The vertex's digest.
    pub vertex: String,
    /// How much it matters: 1, or more for what matters less.
    pub level: i32,
    /// It in one line; base64 in JSON.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub short: Vec<u8>,
    /// More about it, each base64 in JSON.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null::as_default")]
    pub detail: Vec<Base64>,
    /// Where it is explained.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// The file it is about.
    #[serde(rename = "sourceInfo", skip_serializing_if = "Option::is_none")]
    pub source_info: Option<SourceInfo>,
    /// The places in that file.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null::as_default")]
    pub range: Vec<SourceRange>,
}

/// A file that a warning is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceInfo {
    /// Its name.
    pub filename: String,
}

/// A part of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceRange {
    /// Where it begins.
    pub start: SourcePosition,
    /// Where it ends.
    pub end: SourcePosition,
}

/// A place in a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourcePosition {
    /// The line, from 1.
    pub line: i32,
    /// The character in it, from 0.
    #[serde(skip_serializing_if = "is_first")]
    pub character: i32,
}

/// Bytes, base64 in JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Base64(
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    /// The bytes.
    pub Vec<u8>,
);

impl Status {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.vertexes.is_empty()
            && self.statuses.is_empty()
            && self.logs.is_empty()
            && self.warnings.is_empty()
    }

    /// Adds what changed afterwards.
    pub fn append(&mut self, mut later: Self) {
        self.vertexes.append(&mut later.vertexes);
        self.statuses.append(&mut later.statuses);
        self.logs.append(&mut later.logs);
        self.warnings.append(&mut later.warnings);
    }
}

// serde hands over references
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(value: &bool) -> bool {
    !value
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_first(value: &i32) -> bool {
    *value == 0
}

fn to_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    STANDARD
        .decode(text.unwrap_or_default())
        .map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_is_buildkit_s() {
        let status = Status {
            vertexes: vec![Vertex {
                digest: "sha256:00".into(),
                inputs: vec!["sha256:01".into()],
                name: "[1/2] RUN x".into(),
                started: Some("2026-01-02T03:04:05.123456789Z".parse().unwrap()),
                completed: None,
                cached: true,
                error: String::new(),
            }],
            statuses: vec![VertexStatus {
                id: "sha256:02".into(),
                vertex: "sha256:00".into(),
                name: "downloading".into(),
                total: 10,
                current: 0,
                timestamp: Some("2026-01-02T03:04:06Z".parse().unwrap()),
                started: None,
                completed: None,
            }],
            logs: vec![VertexLog {
                vertex: "sha256:00".into(),
                stream: 1,
                data: b"hi\n".to_vec(),
                timestamp: Some("2026-01-02T03:04:06.5Z".parse().unwrap()),
            }],
            warnings: vec![VertexWarning {
                vertex: "sha256:00".into(),
                level: 1,
                short: b"w".to_vec(),
                detail: vec![Base64(b"d".to_vec())],
                url: "https://x".into(),
                source_info: Some(SourceInfo {
                    filename: "Dockerfile".into(),
                }),
                range: vec![SourceRange {
                    start: SourcePosition {
                        line: 1,
                        character: 0,
                    },
                    end: SourcePosition {
                        line: 2,
                        character: 3,
                    },
                }],
            }],
        };
        let text = concat!(
            r#"{"vertexes":[{"digest":"sha256:00","inputs":["sha256:01"],"name":"[1/2] RUN x","#,
            r#""started":"2026-01-02T03:04:05.123456789Z","cached":true}],"#,
            r#""statuses":[{"id":"sha256:02","vertex":"sha256:00","name":"downloading","total":10,"current":0,"#,
            r#""timestamp":"2026-01-02T03:04:06Z"}],"#,
            r#""logs":[{"vertex":"sha256:00","stream":1,"data":"aGkK","timestamp":"2026-01-02T03:04:06.5Z"}],"#,
            r#""warnings":[{"vertex":"sha256:00","level":1,"short":"dw==","detail":["ZA=="],"url":"https://x","#,
            r#""sourceInfo":{"filename":"Dockerfile"},"range":[{"start":{"line":1},"end":{"line":2,"character":3}}]}]}"#
        );
        assert_eq!(serde_json::to_string(&status).unwrap(), text);
        assert_eq!(serde_json::from_str::<Status>(text).unwrap(), status);
    }

    #[test]
    fn what_is_absent_or_null_is_empty() {
        for text in [
            "{}",
            r#"{"vertexes":null,"statuses":null,"logs":null,"warnings":null}"#,
        ] {
            assert!(serde_json::from_str::<Status>(text).unwrap().is_empty(), "{text}");
        }
        let log: VertexLog = serde_json::from_str(r#"{"data":null}"#).unwrap();
        assert!(log.data.is_empty());
        assert!(serde_json::from_str::<VertexLog>(r#"{"data":"!"}"#).is_err());
    }
}
