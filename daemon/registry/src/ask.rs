//! A request to a registry, before it is known how it is authorized and where it leads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};

use crate::ports::Source;
use crate::scope::Scope;

/// What a request carries.
#[derive(Clone)]
pub(crate) enum Payload<'a> {
    Nothing,
    Bytes(Bytes),
    /// A blob, with its length if that is known.
    Blob(&'a dyn Source, Option<u64>, &'a Sent),
}

/// How many bytes of a blob went out.
#[derive(Default)]
pub(crate) struct Sent {
    pub(crate) bytes: Arc<AtomicU64>,
}

impl Sent {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// A request below a site.
#[derive(Clone)]
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    /// Below the endpoint, such as `blobs/uploads/`; or a whole address that the registry gave.
    pub(crate) target: Target,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload<'a>,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) follows: bool,
    /// Whether the answer may take as long as a registry takes to look through a blob.
    pub(crate) patient: bool,
}

/// Where a request goes.
#[derive(Clone)]
pub(crate) enum Target {
    /// `/v2/` itself.
    Root,
    /// `search` beside it, with this query.
    Search(String),
    /// Below `/v2/REPOSITORY/`, with a query.
    Below(String),
    /// An address the registry gave.
    Whole(Url),
}

impl<'a> Ask<'a> {
    pub(crate) fn new(method: Method, target: Target, scopes: &[Scope]) -> Self {
        Self {
            method,
            target,
            headers: HeaderMap::new(),
            payload: Payload::Nothing,
            scopes: scopes.to_vec(),
            follows: false,
            patient: false,
        }
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(crate) fn carries(mut self, payload: Payload<'a>) -> Self {
        self.payload = payload;
        self
    }

    /// The registry has a blob to look through before it answers.
    pub(crate) fn patient(mut self) -> Self {
        self.patient = true;
        self
    }

    /// Redirects are followed.
    pub(crate) fn following(mut self) -> Self {
        self.follows = true;
        self
    }
}
