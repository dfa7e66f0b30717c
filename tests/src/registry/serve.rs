//! One request: recorded, judged, perhaps spoilt, answered.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use hyper::header::RANGE;
use hyper::http::request::Parts;
use hyper::{Method, Request};

use crate::registry::content;
use crate::registry::fault::Act;
use crate::registry::record::Entry;
use crate::registry::reply::{Body, Reply, empty, header, refusal, with_body};
use crate::registry::route::Route;
use crate::registry::state::State;

/// The length of a manifest that no honest registry has, in bytes.
const HUGE: usize = 5 << 20;
/// The most bytes of a manifest or form that are taken.
const SMALL: usize = 16 << 20;

/// A request's body.
pub(crate) struct Incoming {
    body: hyper::body::Incoming,
    entry: Entry,
    /// Bytes until the connection breaks.
    cut: Option<u64>,
}

impl Incoming {
    pub(crate) fn is_empty(&self) -> bool {
        self.body.is_end_stream()
    }

    /// The next bytes; `None` at the end.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let frame = match self.body.frame().await {
                None if self.cut.is_some() => return Err(broken()),
                None => return Ok(None),
                Some(frame) => frame.map_err(io::Error::other)?,
            };
            let Ok(bytes) = frame.into_data() else { continue };
            self.entry
                .bytes_in
                .fetch_add(bytes.len() as u64, Ordering::Relaxed);
            if let Some(cut) = &mut self.cut {
                if (bytes.len() as u64) >= *cut {
                    return Err(broken());
                }
                *cut -= bytes.len() as u64;
            }
            return Ok(Some(bytes));
        }
    }

    pub(crate) async fn drain(&mut self) -> io::Result<()> {
        while self.next().await?.is_some() {}
        Ok(())
    }

    async fn whole(&mut self) -> io::Result<Bytes> {
        let mut all = Vec::new();
        while let Some(bytes) = self.next().await? {
            if all.len() + bytes.len() > SMALL {
                return Err(io::Error::other("a document is too large"));
            }
            all.extend_from_slice(&bytes);
        }
        Ok(all.into())
    }
}

fn broken() -> io::Error {
    io::Error::other("broken on purpose")
}

/// Answers one request. An error breaks the connection.
pub(crate) async fn serve(
    state: Arc<State>,
    elsewhere: bool,
    request: Request<hyper::body::Incoming>,
) -> io::Result<Reply> {
    let (mut parts, body) = request.into_parts();
    let entry = state.record.begin(&parts, elsewhere);
    let path = parts.uri.path();
    let route = match path.strip_prefix("/blob/") {
        Some(digest) if elsewhere => Route::Stored(digest.to_owned()),
        _ if elsewhere => Route::Other,
        _ => Route::of(path, state.quirks.token_path),
    };
    let mut body = Incoming {
        body,
        entry: entry.clone(),
        cut: None,
    };
    let kind = route.kind(&parts.method);
    if state.faults.take(&parts.method, kind, true).is_some() {
        state.lock().grants.forget();
    }
    let (reply, act) = match state.check(&route, &parts) {
        Some(refusal) => {
            body.drain().await?;
            (refusal, None)
        }
        None => {
            let act = state.faults.take(&parts.method, kind, false);
            let reply = match &act {
                Some(act) => state.instead(act, &mut parts, &route, &mut body).await?,
                None => None,
            };
            let reply = match reply {
                Some(reply) => reply,
                None => state.answer(&route, &parts, &mut body).await?,
            };
            (reply, act)
        }
    };
    let mut reply = match act {
        Some(act) => spoilt(&act, reply)?,
        None => reply,
    };
    if parts.method == Method::HEAD {
        *reply.body_mut() = Body::default();
    }
    reply.body_mut().counts(&entry.bytes_out);
    state.record.answered(&entry, reply.status().as_u16());
    Ok(reply)
}

impl State {
    async fn answer(&self, route: &Route, parts: &Parts, body: &mut Incoming) -> io::Result<Reply> {
        let reply = match route {
            Route::Root => header(empty(200), "docker-distribution-api-version", "registry/2.0"),
            Route::Token => {
                let form = body.whole().await?;
                self.token(parts, &String::from_utf8_lossy(&form))
            }
            Route::Manifest(repository, reference) => {
                let document = body.whole().await?;
                self.manifest(parts, repository, reference, document)
            }
            Route::Blob(repository, digest) => self.blob(parts, repository, digest)?,
            Route::UploadStart(repository) => self.start_upload(parts, repository)?,
            Route::Upload(repository, id) => self.upload(parts, repository, id, body).await?,
            Route::Tags(repository) => self.tags(parts, repository),
            Route::Stored(digest) => self.stored(parts, digest)?,
            Route::Other => refusal(404, "NOT_FOUND", "there is nothing here"),
        };
        // a body nobody read would break the connection before the answer is out
        body.drain().await?;
        Ok(reply)
    }

    /// What a fault answers in place of the truth; changes the request where it works in that way.
    async fn instead(
        &self,
        act: &Act,
        parts: &mut Parts,
        route: &Route,
        body: &mut Incoming,
    ) -> io::Result<Option<Reply>> {
        let reply = match act {
            Act::Status { code, retry_after } => {
                let reply = refusal(*code, "UNAVAILABLE", "not now");
                match retry_after {
                    Some(text) => header(reply, "retry-after", text),
                    None => reply,
                }
            }
            Act::Answer { code, headers, body } => {
                let reply = with_body(*code, Body::bytes(body.clone()));
                headers
                    .iter()
                    .fold(reply, |reply, (name, value)| header(reply, name, value))
            }
            Act::UploadUnknown => {
                if let Route::Upload(_, id) = route {
                    self.forget_upload(id);
                }
                refusal(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
            }
            Act::BlobUnknownOnManifest => refusal(404, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry"),
            Act::Redirect(to) => header(empty(307), "location", to),
            Act::HugeManifest => {
                let mut huge = Body::default();
                huge.become_chunked(vec![b' '; HUGE]);
                with_body(200, huge)
            }
            Act::ResetInRequest(bytes) => {
                body.cut = Some(*bytes);
                return Ok(None);
            }
            Act::IgnoreRange => {
                parts.headers.remove(RANGE);
                return Ok(None);
            }
            _ => return Ok(None),
        };
        body.drain().await?;
        Ok(Some(reply))
    }
}

/// What a fault does to an answer.
fn spoilt(act: &Act, mut reply: Reply) -> io::Result<Reply> {
    match act {
        Act::LostReply => return Err(broken()),
        Act::ResetInResponse(bytes) => reply.body_mut().breaks_after(*bytes),
        Act::WrongDigestHeader => {
            return Ok(header(
                reply,
                "docker-content-digest",
                &content::digest(b"another"),
            ));
        }
        Act::WrongBody => reply.body_mut().spoil()?,
        Act::LongBody => reply.body_mut().lengthen(),
        Act::ShortBody => reply.body_mut().halve()?,
        Act::Gzip => {
            use std::io::Write as _;
            let whole = reply.body_mut().whole()?;
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packer.write_all(&whole)?;
            let packed = packer.finish()?;
            reply.body_mut().become_chunked(packed);
            return Ok(header(reply, "content-encoding", "gzip"));
        }
        Act::Header(name, value) => return Ok(header(reply, name, value)),
        _ => {}
    }
    Ok(reply)
}
