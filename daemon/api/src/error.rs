//! The body of every answer that is an error.

use serde::{Deserialize, Serialize};

/// `{"message":"…"}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong, for people.
    pub message: String,
}
