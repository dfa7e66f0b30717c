//! What `/images/search` answers: repositories that Docker Hub finds.

use serde::{Deserialize, Serialize};

/// A repository that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SearchResult {
    /// How many users marked it.
    pub star_count: i64,
    /// Whether Docker vouches for it.
    pub is_official: bool,
    /// Its name.
    pub name: String,
    /// Whether the registry builds it; always false by now.
    pub is_automated: bool,
    /// What its owner says of it.
    pub description: String,
}
