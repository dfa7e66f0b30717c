//! Blobs on their way out: from here, or by redirect from another port whose signed addresses want no authorization.

use std::time::{SystemTime, UNIX_EPOCH};

use fs_err::File;
use hyper::Method;
use hyper::header::{AUTHORIZATION, RANGE};
use hyper::http::request::Parts;

use crate::registry::content;
use crate::registry::reply::{Body, Reply, empty, header, refusal, with_body};
use crate::registry::route::parameter;
use crate::registry::state::State;

/// How long a signed address is good for, in seconds.
const SIGNED: u64 = 300;

impl State {
    pub(crate) fn blob(&self, parts: &Parts, repository: &str, digest: &str) -> std::io::Result<Reply> {
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            return Ok(refusal(405, "UNSUPPORTED", "the operation is unsupported"));
        }
        if !self.lock().content.has_blob(repository, digest) {
            return Ok(refusal(404, "BLOB_UNKNOWN", "blob unknown to registry"));
        }
        if self.quirks.redirects && parts.method == Method::GET {
            let until = now() + SIGNED;
            let to = format!(
                "{}/blob/{digest}?until={until}&sig={}",
                self.storage(parts),
                signature(digest, until)
            );
            return Ok(header(empty(307), "location", &to));
        }
        self.send_blob(parts, digest)
    }

    /// A blob at a signed address.
    pub(crate) fn stored(&self, parts: &Parts, digest: &str) -> std::io::Result<Reply> {
        let query = parts.uri.query().unwrap_or_default();
        let until = parameter(query, "until")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        let signed = parameter(query, "sig").is_some_and(|text| text == signature(digest, until));
        if parts.headers.contains_key(AUTHORIZATION) {
            let text = "<?xml version=\"1.0\"?><Error><Code>InvalidArgument</Code><Message>Only one auth mechanism allowed</Message></Error>";
            return Ok(with_body(400, Body::bytes(text)));
        }
        if parts.method != Method::GET || !signed || until < now() {
            return Ok(with_body(
                403,
                Body::bytes("<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>"),
            ));
        }
        self.send_blob(parts, digest)
    }

    fn send_blob(&self, parts: &Parts, digest: &str) -> std::io::Result<Reply> {
        let path = self.lock().content.blob_path(digest);
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let range = parts.headers.get(RANGE).and_then(|value| value.to_str().ok());
        let reply = match range.map(|text| range_of(text, size)) {
            Some(None) => {
                let reply = refusal(416, "RANGE_INVALID", "the range cannot be satisfied");
                return Ok(header(reply, "content-range", &format!("bytes */{size}")));
            }
            Some(Some((start, end))) => {
                let reply = with_body(206, Body::file(file, start, end)?);
                header(
                    reply,
                    "content-range",
                    &format!("bytes {start}-{}/{size}", end - 1),
                )
            }
            None if parts.method == Method::HEAD => header(empty(200), "content-length", &size.to_string()),
            None => with_body(200, Body::file(file, 0, size)?),
        };
        let reply = header(reply, "content-type", "application/octet-stream");
        let reply = header(reply, "accept-ranges", "bytes");
        Ok(header(reply, "docker-content-digest", digest))
    }
}

/// The bytes a range names, from the first to before the last (RFC 9110, section 14.1.2); only one range is understood.
fn range_of(text: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let start = first.parse().ok()?;
    let end = match last {
        "" => size,
        last => last.parse::<u64>().ok()?.checked_add(1)?.min(size),
    };
    (start < end).then_some((start, end))
}

fn signature(digest: &str, until: u64) -> String {
    content::digest(format!("signed {digest} {until}").as_bytes())[7..23].to_owned()
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
