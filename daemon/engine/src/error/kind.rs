//! What kind of failure each error is.

use std::io;

use mica_registry::HostError;
use mica_task::Cancelled;

use crate::error::Error;

/// What a caller can do about a failure; the HTTP status follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// What was named is not there.
    NotFound,
    /// What was asked for makes no sense.
    Invalid,
    /// It makes sense, but not in the state things are in.
    Conflict,
    /// Who asks did not prove who they are.
    Unauthorized,
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

impl Error {
    /// What a caller can do about it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoAttestations { .. }
            | Self::NoSuchImage { .. }
            | Self::NoSuchLog { .. }
            | Self::NoFailedStep { .. }
            | Self::OtherPlatform { .. }
            | Self::PullDenied { .. }
            | Self::NoSuchManifest { .. }
            | Self::NothingToPush { .. }
            | Self::NoSuchTag { .. }
            | Self::NoPlatform { .. } => Kind::NotFound,
            Self::LoginRefused { .. } => Kind::Unauthorized,
            Self::Search { source, .. } => match (&**source, source.refusal()) {
                (_, Some(refusal)) if refusal.is_about_rights() => Kind::Unauthorized,
                (mica_registry::Error::Host(HostError::Registry { .. }), _) => Kind::Invalid,
                _ => Kind::Internal,
            },
            Self::NoSearch { .. } => Kind::NotFound,
            Self::SearchScheme { .. } => Kind::Invalid,
            Self::Scratch | Self::PushDenied { .. } => Kind::Forbidden,
            Self::Import(error) if caused_by_cancel(error) => Kind::Cancelled,
            Self::Keep { source, .. } if caused_by_cancel(source) => Kind::Cancelled,
            Self::NoReference { .. } | Self::NoSuchFile { .. } => Kind::NotFound,
            Self::Overlap { .. } => Kind::Invalid,
            Self::Root(error) if caused_by_cancel(error) => Kind::Cancelled,
            Self::Beside { .. } => Kind::Conflict,
            Self::Root(_) | Self::Attestation(_) => Kind::Internal,
            Self::NoGit { .. } => Kind::Unsupported,
            Self::Git { .. } => Kind::Internal,
            Self::Import(_)
            | Self::Keep { .. }
            | Self::OtherContent { .. }
            | Self::Layout { .. }
            | Self::Schema1 { .. }
            | Self::Manifest { .. }
            | Self::Config { .. }
            | Self::Cache { .. }
            | Self::CacheTooLarge { .. }
            | Self::NoImage { .. }
            | Self::LayerCount { .. }
            | Self::Nested { .. }
            | Self::WrongSize { .. }
            | Self::WrongContent { .. }
            | Self::Server { .. } => Kind::Invalid,
            // docker's word for all that goes wrong on the way to a registry
            Self::Registry(_) | Self::FullDisk { .. } | Self::NoRoom { .. } => Kind::Internal,
            Self::Shared(error) => error.kind(),
            Self::BlankName
            | Self::Reference(_)
            | Self::Platform(_)
            | Self::TagWithDigest
            | Self::AmbiguousTag
            | Self::NoTerminal
            | Self::Pattern { .. } => Kind::Invalid,
            Self::ManyNames { .. }
            | Self::HasChildren { .. }
            | Self::PruneRunning
            | Self::StepOccupied { .. } => Kind::Conflict,
            Self::Unsupported { .. } => Kind::Unsupported,
            Self::Build(error) => build_kind(error),
            Self::Store(error) => store_kind(error),
            Self::Io { source, .. } if caused_by_cancel(source) => Kind::Cancelled,
            Self::Io { .. } | Self::Enter { .. } | Self::Worker => Kind::Internal,
            Self::Cancelled => Kind::Cancelled,
        }
    }

    /// Whether a build failed for an image that is nowhere: BuildKit tells that apart from what is wrong with a Dockerfile.
    pub fn lacks_image(&self) -> bool {
        use mica_builder::{Error as Build, StepError};
        let Self::Build(error) = self else { return false };
        let (Build::Step { problem, .. } | Build::NamedContext { problem, .. }) = &**error else {
            return false;
        };
        let StepError::Image(image) = problem else {
            return false;
        };
        let known = image.downcast_ref::<Self>();
        known.is_some_and(|error| error.kind() == Kind::NotFound)
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
        | Error::Address(_)
        | Error::RemoteContext { .. }
        | Error::NamedContext { .. }
        | Error::Sbom { .. }
        | Error::Context(_)
        | Error::ContextIo(_) => Kind::Invalid,
        Error::Source(_) | Error::Unsupported { .. } => Kind::Unsupported,
        Error::Cancelled => Kind::Cancelled,
        // docker answers 500 to a Dockerfile that is not there
        Error::NoDockerfile(_) | Error::NotReproducible { .. } | Error::Run { .. } | Error::Document(_) => {
            Kind::Internal
        }
        Error::Store(error) => store_kind(error),
    }
}

fn store_kind(error: &mica_store::Error) -> Kind {
    use mica_store::Error;
    match error {
        Error::MissingImage { .. } => Kind::NotFound,
        Error::InUse { .. } => Kind::Conflict,
        Error::Locked { .. } => Kind::Unavailable,
        Error::Archive { .. }
        | Error::Digest { .. }
        | Error::Manifest { .. }
        | Error::Oversize { .. }
        | Error::FalseClaim { .. } => Kind::Invalid,
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
