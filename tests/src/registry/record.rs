//! What was asked of a registry, in order.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, RANGE};
use hyper::http::request::Parts;

/// One request and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The query, empty if there is none.
    pub query: String,
    /// Whether it came to the host that redirects lead to.
    pub elsewhere: bool,
    /// The scheme of its `Authorization`.
    pub authorization: Option<String>,
    /// Its `Range`.
    pub range: Option<String>,
    /// Its `Content-Length`.
    pub content_length: Option<u64>,
    /// All its headers but `Authorization`, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The answer's status; 0 if there was none.
    pub status: u16,
    /// Bytes of its body that came.
    pub bytes_in: u64,
    /// Bytes of the answer's body that went out.
    pub bytes_out: u64,
}

impl Request {
    /// A header's first value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }

    /// Method and path, as in `GET /v2/`.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// A request in the record.
#[derive(Clone)]
pub(crate) struct Entry {
    place: usize,
    pub(crate) bytes_in: Arc<AtomicU64>,
    pub(crate) bytes_out: Arc<AtomicU64>,
}

#[derive(Default)]
pub(crate) struct Record(Mutex<Vec<(Request, Entry)>>);

impl Record {
    pub(crate) fn begin(&self, parts: &Parts, elsewhere: bool) -> Entry {
        let text = |name| {
            parts.headers.get(name).map(|value: &hyper::header::HeaderValue| {
                String::from_utf8_lossy(value.as_bytes()).into_owned()
            })
        };
        let headers = parts.headers.iter().filter(|(name, _)| **name != AUTHORIZATION);
        let request = Request {
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            elsewhere,
            authorization: text(AUTHORIZATION)
                .map(|value| value.split(' ').next().unwrap_or_default().to_owned()),
            range: text(RANGE),
            content_length: text(CONTENT_LENGTH).and_then(|text| text.parse().ok()),
            headers: headers
                .map(|(name, value)| {
                    (
                        name.to_string(),
                        String::from_utf8_lossy(value.as_bytes()).into_owned(),
                    )
                })
                .collect(),
            status: 0,
            bytes_in: 0,
            bytes_out: 0,
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = Entry {
            place: all.len(),
            bytes_in: Arc::default(),
            bytes_out: Arc::default(),
        };
        all.push((request, entry.clone()));
        entry
    }

    pub(crate) fn answered(&self, entry: &Entry, status: u16) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((request, _)) = all.get_mut(entry.place) {
            request.status = status;
        }
    }

    pub(crate) fn all(&self) -> Vec<Request> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let with_bytes = all.iter().map(|(request, entry)| Request {
            bytes_in: entry.bytes_in.load(Ordering::Relaxed),
            bytes_out: entry.bytes_out.load(Ordering::Relaxed),
            ..request.clone()
        });
        with_bytes.collect()
    }
}
