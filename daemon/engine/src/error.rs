//! Why a verb failed, in docker's words, and what kind of failure that is.

use std::error::Error as _;
use std::io;

use mica_oci::{PlatformError, ReferenceError};
use mica_task::Cancelled;
use thiserror::Error;

/// What a caller can do about a failure; the HTTP status follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// What was named is not there.
    NotFound,
    /// What was asked for makes no sense.
    Invalid,
    /// It makes sense, but not in the state things are in.
    Conflict,
    /// It is not allowed.
    Forbidden,
    /// It makes sense, but cannot be done here.
    Unsupported,
    /// It may work later.
    Unavailable,
    /// Nobody wants the answer any more.
    Cancelled,
    /// Anything else: the disk, a bug.
    Internal,
}

/// Why a verb failed. Texts that clients look for are docker's, to the letter.
#[derive(Debug, Error)]
pub enum Error {
    /// Nothing has this name.
    #[error("No such image: {name}")]
    NoSuchImage {
        /// The familiar reference, or the ID as it was given.
        name: String,
    },
    /// A base image is not in the store, and nothing here fetches it.
    #[error(
        "pull access denied for {name}: it is not in the store, and pulling is not supported yet: load it first"
    )]
    NoBase {
        /// The familiar reference.
        name: String,
    },
    /// The name is empty.
    #[error("image name cannot be blank")]
    BlankName,
    /// The name does not follow the grammar.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The platform is not one.
    #[error(transparent)]
    Platform(#[from] PlatformError),
    /// Tags do not hold digests.
    #[error("refusing to create a tag with a digest reference")]
    TagWithDigest,
    /// A repository called `sha256` would read as a digest.
    #[error("refusing to create an ambiguous tag using digest algorithm as name")]
    AmbiguousTag,
    /// The image has several names and was called by its ID.
    #[error(
        "conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
    )]
    ManyNames {
        /// Twelve digits of the ID.
        short: String,
    },
    /// Other images are built on this one.
    #[error("conflict: unable to delete {short} (cannot be forced) - image has dependent child images")]
    HasChildren {
        /// Twelve digits of the ID.
        short: String,
    },
    /// Only one prune goes on at a time.
    #[error("a prune operation is already running")]
    PruneRunning,
    /// The image is there, but for another platform.
    #[error(
        "image with reference {reference} was found but its platform ({actual}) does not match the specified platform ({wanted})"
    )]
    OtherPlatform {
        /// What was asked for.
        reference: String,
        /// The image's platform.
        actual: String,
        /// The platform that was asked for.
        wanted: String,
    },
    /// The pattern of a filter is not a shell pattern.
    #[error("invalid filter: syntax error in pattern {pattern:?}")]
    Pattern {
        /// The pattern.
        pattern: String,
    },
    /// It cannot be done here.
    #[error("{what} is not supported yet")]
    Unsupported {
        /// What.
        what: String,
    },
    /// The image could not be built.
    #[error(transparent)]
    Build(Box<mica_builder::Error>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] mica_store::Error),
    /// Bytes from or to the client, or a file, failed.
    #[error("cannot {action}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Nobody wants the answer any more.
    #[error("the request was cancelled")]
    Cancelled,
    /// The thread that worked on it ended without a result.
    #[error("internal error: the worker ended without a result")]
    Worker,
}

impl Error {
    /// What a caller can do about it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoSuchImage { .. } | Self::NoBase { .. } | Self::OtherPlatform { .. } => Kind::NotFound,
            Self::BlankName
            | Self::Reference(_)
            | Self::Platform(_)
            | Self::TagWithDigest
            | Self::AmbiguousTag
            | Self::Pattern { .. } => Kind::Invalid,
            Self::ManyNames { .. } | Self::HasChildren { .. } | Self::PruneRunning => Kind::Conflict,
            Self::Unsupported { .. } => Kind::Unsupported,
            Self::Build(error) => build_kind(error),
            Self::Store(error) => store_kind(error),
            Self::Io { source, .. } if caused_by_cancel(source) => Kind::Cancelled,
            Self::Io { .. } | Self::Worker => Kind::Internal,
            Self::Cancelled => Kind::Cancelled,
        }
    }

    /// The exit code of the RUN that failed, if one did.
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Build(error) => match **error {
                mica_builder::Error::Run { code, .. } => Some(code),
                _ => None,
            },
            _ => None,
        }
    }

    /// The failure and its causes in one line, each layer saying its own part.
    pub fn describe(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let part = error.to_string();
            // transparent wrappers and careless libraries repeat what was said already
            if !part.is_empty() && !text.ends_with(&part) {
                text.push_str(": ");
                text.push_str(&part);
            }
            cause = error.source();
        }
        text
    }
}

impl From<mica_builder::Error> for Error {
    fn from(error: mica_builder::Error) -> Self {
        Self::Build(Box::new(error))
    }
}

impl From<Cancelled> for Error {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}

fn build_kind(error: &mica_builder::Error) -> Kind {
    use mica_builder::Error;
    match error {
        Error::Parse(_)
        | Error::EmptyDockerfile(_)
        | Error::LargeDockerfile { .. }
        | Error::IgnoreFile { .. }
        | Error::Target(_)
        | Error::Epoch(_)
        | Error::Syntax { .. }
        | Error::Check(_)
        | Error::Step { .. }
        | Error::Context(_)
        | Error::ContextIo(_) => Kind::Invalid,
        Error::Unsupported { .. } => Kind::Unsupported,
        Error::Cancelled => Kind::Cancelled,
        // docker answers 500 to a Dockerfile that is not there
        Error::NoDockerfile(_) | Error::Run { .. } | Error::Document(_) => Kind::Internal,
        Error::Store(error) => store_kind(error),
    }
}

fn store_kind(error: &mica_store::Error) -> Kind {
    use mica_store::Error;
    match error {
        Error::MissingImage { .. } => Kind::NotFound,
        Error::InUse { .. } => Kind::Conflict,
        Error::Locked { .. } => Kind::Unavailable,
        Error::Archive { .. } | Error::Digest { .. } | Error::Manifest { .. } => Kind::Invalid,
        Error::ArchiveData { source, .. } if caused_by_cancel(source) => Kind::Cancelled,
        Error::ArchiveData { .. } => Kind::Invalid,
        Error::Io { source, .. } if caused_by_cancel(source) => Kind::Cancelled,
        _ => Kind::Internal,
    }
}

/// Whether a [`Cancelled`] is at the bottom of it: readers that obey a `Cancel` fail with one.
fn caused_by_cancel(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<Cancelled>() {
            return true;
        }
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
            .map(|inner| inner as &(dyn std::error::Error + 'static));
        cause = inner.or_else(|| error.source());
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_is_told_once() {
        let inner = io::Error::other("disk full");
        let error = Error::Store(mica_store::Error::Io {
            action: "write a blob",
            source: inner,
        });
        assert_eq!(error.describe(), "cannot write a blob: disk full");
    }

    #[test]
    fn a_reader_that_was_stopped_is_a_cancelled_request() {
        let error = Error::Io {
            action: "read the archive",
            source: io::Error::other(Cancelled),
        };
        assert_eq!(error.kind(), Kind::Cancelled);
        let error = Error::Io {
            action: "read the archive",
            source: io::Error::other("no"),
        };
        assert_eq!(error.kind(), Kind::Internal);
    }
}
