//! What can go wrong between us and a registry.

use std::io;

use mica_oci::{Digest, DigestError};
use thiserror::Error;

use crate::hosts::HostError;
use crate::refusal::Refusal;

/// Why a registry did not do what it was asked for.
#[derive(Debug, Error)]
pub enum Error {
    /// The settings, certificates or rules for a host do not allow or make a connection.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The registry said no.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// No connection, or it broke.
    #[error("cannot reach {url}")]
    Network {
        /// The address, without the query.
        url: String,
        /// What went wrong.
        #[source]
        source: reqwest::Error,
    },
    /// Nothing came for too long.
    #[error("{url} has sent nothing for {seconds} seconds")]
    Stalled {
        /// The address, without the query.
        url: String,
        /// How long nothing came.
        seconds: u64,
    },
    /// The address a request was to go to is none.
    #[error("{text:?} is no address: {reason}")]
    Address {
        /// What was given, query taken off.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The token endpoint answered with something that is no token.
    #[error("the token endpoint {url} gave no token: {reason}")]
    Token {
        /// The endpoint.
        url: String,
        /// What came instead.
        reason: String,
    },
    /// The registry wants to be shown something that this client has not.
    #[error("{host} wants {schemes} authentication, which is not supported: only Bearer and Basic are")]
    Scheme {
        /// The registry.
        host: String,
        /// What it wants.
        schemes: String,
    },
    /// Content is not what its digest says.
    #[error("{what} from {host} has digest {actual}, expected {expected}")]
    Digest {
        /// What was fetched or sent.
        what: String,
        /// The registry.
        host: String,
        /// The digest that was promised.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// A digest in an answer is none.
    #[error("{host} sent a digest that is none")]
    BadDigest {
        /// The registry.
        host: String,
        /// What is wrong with it.
        #[source]
        source: DigestError,
    },
    /// Content ended early: the connection broke in a quiet way.
    #[error("{what} from {host} broke off: of {expected} bytes {actual}")]
    Short {
        /// What was fetched.
        what: String,
        /// The registry.
        host: String,
        /// The promised length in bytes.
        expected: u64,
        /// What came.
        actual: String,
    },
    /// Content is longer or shorter than it was said to be.
    #[error("{what} from {host} is not of the promised size of {expected} bytes: {actual}")]
    Size {
        /// What was fetched.
        what: String,
        /// The registry.
        host: String,
        /// The promised length in bytes.
        expected: u64,
        /// What came.
        actual: String,
    },
    /// A document is larger than any honest one.
    #[error("{what} from {host} is larger than the limit of {limit} bytes")]
    TooLarge {
        /// What was fetched.
        what: String,
        /// The registry.
        host: String,
        /// The most that is read.
        limit: usize,
    },
    /// An answer does not follow the protocol.
    #[error("{host} does not follow the protocol: {reason}")]
    Protocol {
        /// The registry.
        host: String,
        /// What is wrong.
        reason: String,
    },
    /// Too many redirects.
    #[error("{url} leads through more than {limit} redirects")]
    Redirects {
        /// Where it began.
        url: String,
        /// The most that are followed.
        limit: usize,
    },
    /// The source of an upload failed.
    #[error("cannot read what is to be sent")]
    Source(#[source] io::Error),
    /// Whoever wanted the bytes does not take them any more.
    #[error("the download was given up")]
    Unwanted,
    /// All places a registry's content may come from failed.
    #[error("{registry}: {attempts}")]
    Everywhere {
        /// The registry.
        registry: String,
        /// Each place with what went wrong there.
        attempts: String,
        /// What went wrong at the registry itself.
        #[source]
        origin: Box<Error>,
    },
}

impl Error {
    /// The registry's refusal, if it said no.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Everywhere { origin, .. } => origin.refusal(),
            _ => None,
        }
    }

    /// Whether no answer came at all.
    pub fn is_silence(&self) -> bool {
        match self {
            Self::Network { .. } | Self::Stalled { .. } => true,
            Self::Everywhere { origin, .. } => origin.is_silence(),
            _ => false,
        }
    }

    /// Whether trying again a moment later may help.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Refused(refusal) => {
                reqwest::StatusCode::from_u16(refusal.status).is_ok_and(crate::retry::is_passing)
                    && !refusal.is_quota()
            }
            Self::Network { source, .. } => !is_certain(source),
            Self::Short { .. } | Self::Stalled { .. } => true,
            _ => false,
        }
    }

    /// How long the registry asks to wait before the next try.
    pub(crate) fn wait(&self) -> Option<std::time::Duration> {
        match self {
            Self::Refused(refusal) => refusal.wait,
            _ => None,
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

/// Whether a failure to connect will be the same the next time: a certificate nobody vouches for does not get better.
fn is_certain(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_)) =
            error.downcast_ref()
        {
            return true;
        }
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
            .map(|inner| inner as &(dyn std::error::Error + 'static));
        cause = inner.or_else(|| error.source());
    }
    error.is_builder()
}
