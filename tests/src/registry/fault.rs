//! What goes wrong on purpose: as scripted, once each, or by chance from a seed.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use hyper::Method;

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `/v2/` itself.
    Root,
    /// A manifest or index.
    Manifest,
    /// A blob.
    Blob,
    /// The beginning of an upload, or a mount.
    UploadStart,
    /// Bytes for an upload.
    UploadPatch,
    /// The end of an upload.
    UploadPut,
    /// Anything else about an upload.
    UploadOther,
    /// The token endpoint.
    Token,
    /// The list of tags.
    Tags,
    /// A blob on the host that redirects lead to.
    Stored,
    /// Nothing a registry has.
    Other,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// This status, with a `Retry-After` if one is given.
    Status {
        /// The status.
        code: u16,
        /// The header's text.
        retry_after: Option<String>,
    },
    /// This answer in place of the true one.
    Answer {
        /// The status.
        code: u16,
        /// Headers.
        headers: Vec<(&'static str, String)>,
        /// The body.
        body: String,
    },
    /// 404 BLOB_UPLOAD_UNKNOWN; the session is gone.
    UploadUnknown,
    /// 404 MANIFEST_BLOB_UNKNOWN, though all blobs are there.
    BlobUnknownOnManifest,
    /// The connection ends after this many bytes of the request's body.
    ResetInRequest(u64),
    /// The connection ends after this many bytes of the answer's body.
    ResetInResponse(u64),
    /// What is asked for is done, and the connection ends before the answer.
    LostReply,
    /// The answer names another digest.
    WrongDigestHeader,
    /// The answer's first byte is another one.
    WrongBody,
    /// The answer has more bytes than it should, and does not say how many.
    LongBody,
    /// The answer has half its bytes, and does not say how many.
    ShortBody,
    /// The whole is sent where a part was asked for.
    IgnoreRange,
    /// The answer is gzip on its way.
    Gzip,
    /// A redirect to this address.
    Redirect(String),
    /// Five MiB in place of a manifest.
    HugeManifest,
    /// All tokens are forgotten, then the request is answered.
    RevokeTokens,
    /// The answer has this header too, in place of its own.
    Header(&'static str, String),
}

/// One thing that goes wrong, once, with the first request it fits. Requests that are refused for who sent them do not count,
/// except for [`Act::RevokeTokens`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    kind: Kind,
    method: Option<Method>,
    act: Act,
}

impl Fault {
    /// A fault for any method.
    pub fn new(kind: Kind, act: Act) -> Self {
        Self {
            kind,
            method: None,
            act,
        }
    }

    /// Only for this method.
    #[must_use]
    pub fn only(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }
}

/// The faults that are to come.
#[derive(Default)]
pub(crate) struct Faults(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    script: VecDeque<Fault>,
    /// State of the generator and rate of faults from 0 to 1.
    random: Option<(u64, f64)>,
}

impl Faults {
    pub(crate) fn add(&self, faults: impl IntoIterator<Item = Fault>) {
        self.lock().script.extend(faults);
    }

    pub(crate) fn set_random(&self, seed: u64, rate: f64) {
        self.lock().random = (rate > 0.0).then_some((seed | 1, rate));
    }

    pub(crate) fn left(&self) -> usize {
        self.lock().script.len()
    }

    /// The fault for a request. `before` says that it is not yet known whether whoever asks may.
    pub(crate) fn take(&self, method: &Method, kind: Kind, before: bool) -> Option<Act> {
        let mut waiting = self.lock();
        let fits = |fault: &Fault| {
            fault.kind == kind
                && fault.method.as_ref().is_none_or(|own| own == method)
                && before == (fault.act == Act::RevokeTokens)
        };
        if let Some(place) = waiting.script.iter().position(fits) {
            return waiting.script.remove(place).map(|fault| fault.act);
        }
        if before {
            return None;
        }
        waiting.random_act(method, kind)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn random_act(&mut self, method: &Method, kind: Kind) -> Option<Act> {
        let status = |code| Act::Status {
            code,
            retry_after: None,
        };
        let acts = match kind {
            Kind::UploadStart => vec![status(503), Act::LostReply],
            Kind::UploadPatch | Kind::UploadPut => vec![
                status(500),
                Act::UploadUnknown,
                Act::ResetInRequest(10_000),
                Act::LostReply,
            ],
            Kind::Manifest if method == Method::PUT => vec![status(502), Act::LostReply],
            Kind::Manifest => vec![status(502), Act::ResetInResponse(10)],
            Kind::Blob | Kind::Stored if method == Method::GET => {
                vec![status(503), Act::ResetInResponse(10_000)]
            }
            _ => return None,
        };
        let (state, rate) = self.random.as_mut()?;
        let rate = *rate;
        let mut draw = || {
            // xorshift64 (Marsaglia, "Xorshift RNGs")
            *state ^= *state << 13;
            *state ^= *state >> 7;
            *state ^= *state << 17;
            *state >> 11
        };
        if draw() as f64 / (1_u64 << 53) as f64 >= rate {
            return None;
        }
        let chosen = draw() as usize % acts.len();
        acts.into_iter().nth(chosen)
    }
}
