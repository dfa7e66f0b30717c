//! What `POST /mica/check` answers, line by line.

use serde::{Deserialize, Serialize};

use crate::ErrorDetail;

/// One line of a check: one of its fields is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CheckLine {
    /// How far it has got.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<CheckProgress>,
    /// Something is not as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finding: Option<CheckFinding>,
    /// What became of a finding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<CheckRepair>,
    /// The last line of a check that went to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<CheckSummary>,
    /// The last line of one that did not.
    #[serde(rename = "errorDetail", skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<ErrorDetail>,
}

/// How far a check has got.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CheckProgress {
    /// What is being looked at.
    pub doing: String,
    /// Bytes read so far.
    pub bytes: u64,
    /// Bytes that are to be read, as far as can be told before.
    pub total: u64,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CheckFinding {
    /// Its number among those of this check, from 1.
    pub number: u64,
    /// What kind of thing, in one word.
    pub kind: String,
    /// The digest that names it, if one does.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// The thing and what is wrong with it, for people.
    pub text: String,
    /// The file or folder it lies in, or should.
    pub place: String,
    /// The images that cannot be used whole because of it; of a great many the first.
    pub images: Vec<CheckImage>,
    /// What mends it, in one word.
    pub remedy: String,
    /// The same for people.
    pub advice: String,
}

/// An image that something is wrong with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CheckImage {
    /// Its ID.
    pub id: String,
    /// All that leads to it.
    pub names: Vec<String>,
}

/// What became of one thing that was not as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CheckRepair {
    /// The number of the finding.
    pub number: u64,
    /// What became of it, in one word; `left` if it is not well.
    pub how: String,
    /// The thing and what became of it, for people.
    pub text: String,
    /// The repository it was fetched from, if it was.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// Where the damaged file was moved, if it is left and was moved.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub aside: String,
    /// What may be done about what is left, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub advice: String,
}

/// What a check came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CheckSummary {
    /// How closely was looked.
    pub level: String,
    /// Images looked at.
    pub images: u64,
    /// Layers looked at.
    pub layers: u64,
    /// Blobs and trees looked at.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// How many things were not as they should be.
    pub findings: u64,
    /// How many of them still are not.
    pub left: u64,
}
