//! Why a piece of the vocabulary could not be read.

use thiserror::Error;

/// A text that is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DigestError {
    /// No `algorithm:` in front.
    #[error("invalid digest {0:?}: expected sha256: and 64 hexadecimal digits")]
    Malformed(String),
    /// An algorithm other than sha256.
    #[error("unsupported digest algorithm in {0:?}: only sha256 is known")]
    Algorithm(String),
}

/// A text that is not an image reference. The texts are docker's, clients match on them.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReferenceError {
    /// Does not follow the grammar.
    #[error("invalid reference format")]
    Format,
    /// A tag, given by itself, that is none.
    #[error("invalid tag format")]
    Tag,
    /// The repository has upper-case letters.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// Longer than 255 bytes.
    #[error("repository name must not be more than 255 characters")]
    TooLong,
    /// 64 hexadecimal digits would read as an image ID.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    LooksLikeId(String),
}

/// A text that is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlatformError {
    /// Not `os[/architecture[/variant]]`, or a part no image can have.
    #[error("{0:?}: unknown operating system or architecture: invalid argument")]
    Unknown(String),
}

/// Bytes that are not the JSON document they should be.
#[derive(Debug, Error)]
pub enum DocumentError {
    /// Not this type of document.
    #[error("invalid {kind} document")]
    Json {
        /// What was expected: `image config`, `manifest`, `index`.
        kind: &'static str,
        /// What serde found.
        #[source]
        source: serde_json::Error,
    },
    /// Larger than any honest document.
    #[error("{kind} document of {size} bytes is larger than the limit of {limit}")]
    TooLarge {
        /// What was expected.
        kind: &'static str,
        /// Its length in bytes.
        size: usize,
        /// The most that is read.
        limit: usize,
    },
}
