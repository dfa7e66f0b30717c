//! All that the requests to one registry share.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hyper::header::HOST;
use hyper::http::request::Parts;

use crate::registry::auth::Grants;
use crate::registry::content::Content;
use crate::registry::fault::Faults;
use crate::registry::options::Options;
use crate::registry::quirks::Quirks;
use crate::registry::record::Record;
use crate::registry::uploads::Upload;

pub(crate) struct State {
    pub(crate) options: Options,
    pub(crate) quirks: Quirks,
    pub(crate) faults: Faults,
    pub(crate) record: Record,
    /// Where redirects of blobs lead.
    pub(crate) port_of_storage: u16,
    inner: Mutex<Inner>,
}

pub(crate) struct Inner {
    pub(crate) content: Content,
    pub(crate) grants: Grants,
    pub(crate) uploads: HashMap<String, Upload>,
    pub(crate) upload_count: u64,
    /// Uploads whose bytes are coming in.
    pub(crate) uploads_running: usize,
}

impl State {
    pub(crate) fn new(options: Options, content: Content, port_of_storage: u16) -> Self {
        Self {
            quirks: Quirks::of(&options),
            options,
            faults: Faults::default(),
            record: Record::default(),
            port_of_storage,
            inner: Mutex::new(Inner {
                content,
                grants: Grants::default(),
                uploads: HashMap::new(),
                upload_count: 0,
                uploads_running: 0,
            }),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn scheme(&self) -> &'static str {
        if self.options.tls { "https" } else { "http" }
    }

    /// The registry's address as the client of a request knows it.
    pub(crate) fn root(&self, parts: &Parts) -> String {
        format!("{}://{}", self.scheme(), self.host(parts))
    }

    /// The address of the host that redirects lead to.
    pub(crate) fn storage(&self, parts: &Parts) -> String {
        let host = self.host(parts);
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        format!("{}://{name}:{}", self.scheme(), self.port_of_storage)
    }

    fn host<'a>(&self, parts: &'a Parts) -> &'a str {
        parts
            .headers
            .get(HOST)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("127.0.0.1")
    }
}
