//! Requests to the daemon over its Unix socket, one connection each.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming};
use hyper::header::{ACCEPT, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use mica_api::ErrorBody;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::sync::mpsc::Receiver;

use crate::error::{Error, is_absent};
use crate::handed::Handing;
use crate::host::Host;
use crate::secret::Secret;
use crate::start;

/// The longest answer that is kept whole: lists of tens of thousands of images fit.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// The longest text of a refusal.
const MAX_REFUSAL_BYTES: usize = 1024 * 1024;

/// The longest line of a progress stream.
const MAX_LINE_BYTES: usize = 16 * 1024 * 1024;

/// The daemon.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    host: Host,
}

/// What a request carries.
#[derive(Debug)]
pub(crate) enum Body {
    /// Nothing.
    Empty,
    /// JSON that holds secrets; sent once.
    Json(Option<Secret>),
    /// Pieces made by a thread; an error breaks the request off.
    Pieces(Receiver<io::Result<Bytes>>),
    /// The same where it is known how many bytes are still to come.
    Sized(Receiver<io::Result<Bytes>>, u64),
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Json(json) => Poll::Ready(json.take().map(|json| {
                let bytes = Bytes::copy_from_slice(json.reveal().as_bytes());
                Ok(Frame::data(bytes))
            })),
            Self::Pieces(pieces) => pieces
                .poll_recv(cx)
                .map(|piece| piece.map(|piece| piece.map(Frame::data))),
            Self::Sized(pieces, left) => pieces.poll_recv(cx).map(|piece| {
                let piece = piece?;
                if let Ok(bytes) = &piece {
                    *left = left.saturating_sub(bytes.len() as u64);
                }
                Some(piece.map(Frame::data))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Empty | Self::Json(None))
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Self::Empty | Self::Json(None) => hyper::body::SizeHint::with_exact(0),
            Self::Json(Some(json)) => hyper::body::SizeHint::with_exact(json.reveal().len() as u64),
            Self::Pieces(_) => hyper::body::SizeHint::default(),
            Self::Sized(_, left) => hyper::body::SizeHint::with_exact(*left),
        }
    }
}

impl Client {
    /// A client of the daemon at `host`; nothing is connected yet.
    pub(crate) fn new(host: Host) -> Self {
        Self { host }
    }

    /// Where the daemon is.
    pub(crate) fn place(&self) -> String {
        self.host.address()
    }

    /// Sends a request. `path` is what follows the version, query included.
    ///
    /// # Errors
    /// When nobody listens, the connection breaks or the daemon refuses.
    pub(crate) async fn send(&self, method: Method, path: &str, body: Body) -> Result<Answer, Error> {
        self.send_with(method, path, None, body).await
    }

    /// The same with a header that holds credentials.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub(crate) async fn send_with(
        &self,
        method: Method,
        path: &str,
        credentials: Option<(&'static str, Secret)>,
        body: Body,
    ) -> Result<Answer, Error> {
        self.send_handing(method, path, credentials, body, Vec::new())
            .await
    }

    /// The same with descriptors.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub(crate) async fn send_handing(
        &self,
        method: Method,
        path: &str,
        credentials: Option<(&'static str, Secret)>,
        body: Body,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Answer, Error> {
        let mut request = request(method, path, credentials, body)?;
        if !descriptors.is_empty() {
            let count = HeaderValue::from(descriptors.len());
            request.headers_mut().insert(mica_api::DESCRIPTORS_HEADER, count);
        }
        self.exchange(request, path, descriptors).await
    }

    /// Sends a request without a body that is best answered with this type.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub(crate) async fn send_accepting(
        &self,
        method: Method,
        path: &str,
        kind: &'static str,
    ) -> Result<Answer, Error> {
        let mut request = request(method, path, None, Body::Empty)?;
        request
            .headers_mut()
            .insert(ACCEPT, HeaderValue::from_static(kind));
        self.exchange(request, path, Vec::new()).await
    }

    async fn exchange(
        &self,
        request: Request<Body>,
        path: &str,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Answer, Error> {
        let stream = Handing::new(self.connect().await?, descriptors);
        let lost = |action| {
            move |source: hyper::Error| Error::Transport {
                action,
                source: source.into(),
            }
        };
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(lost("opening the connection"))?;
        // A broken connection shows itself in the request and in the answer's body.
        tokio::spawn(connection);
        let response = sender
            .send_request(request)
            .await
            .map_err(lost("sending the request"))?;
        let answer = Answer {
            path: path.split('?').next().unwrap_or(path).to_owned(),
            response,
        };
        if answer.response.status().as_u16() >= 400 {
            return Err(answer.refusal().await);
        }
        Ok(answer)
    }

    /// Sends a request without a body and reads the answer.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str) -> Result<T, Error> {
        self.send(method, path, Body::Empty).await?.json().await
    }

    /// A connection to the daemon, which is started if nobody listens.
    ///
    /// # Errors
    /// When nobody listens.
    pub(crate) async fn connect(&self) -> Result<UnixStream, Error> {
        let socket = &self.host.socket;
        match UnixStream::connect(socket).await {
            Ok(stream) => Ok(stream),
            Err(source) if self.host.may_start && is_absent(&source) && start::is_allowed() => {
                start::start(socket, source).await
            }
            Err(source) => Err(Error::Connect {
                socket: socket.clone(),
                source,
            }),
        }
    }
}

fn request(
    method: Method,
    path: &str,
    credentials: Option<(&'static str, Secret)>,
    body: Body,
) -> Result<Request<Body>, Error> {
    let failed = |source: hyper::http::Error| Error::Transport {
        action: "making the request",
        source: source.into(),
    };
    let mut request = Request::builder()
        .method(method)
        .uri(format!("/v{}{path}", mica_api::API_VERSION))
        .header("Host", "mica")
        .header("User-Agent", concat!("mica/", env!("CARGO_PKG_VERSION")));
    if matches!(body, Body::Json(_)) {
        request = request.header("Content-Type", "application/json");
    }
    if let Some((name, value)) = credentials {
        let mut value = HeaderValue::try_from(value.reveal()).map_err(|error| failed(error.into()))?;
        // Not shown by whoever shows headers.
        value.set_sensitive(true);
        request = request.header(name, value);
    }
    request.body(body).map_err(failed)
}

/// The daemon's answer; its status is below 400.
#[derive(Debug)]
pub(crate) struct Answer {
    path: String,
    response: Response<Incoming>,
}

impl Answer {
    async fn piece(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            match self.response.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(source)) => {
                    return Err(Error::Transport {
                        action: "reading the answer",
                        source: source.into(),
                    });
                }
            }
        }
    }

    async fn bytes(&mut self, limit: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.piece().await? {
            if bytes.len() + piece.len() > limit {
                return Err(Error::TooLong {
                    path: self.path.clone(),
                    limit,
                });
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// The error a status of 400 and more stands for.
    async fn refusal(mut self) -> Error {
        let status = self.response.status();
        let bytes = match self.bytes(MAX_REFUSAL_BYTES).await {
            Ok(bytes) => bytes,
            Err(error) => return error,
        };
        let message = match serde_json::from_slice::<ErrorBody>(&bytes) {
            Ok(body) => body.message,
            Err(_) => String::from_utf8_lossy(&bytes).into_owned(),
        };
        let message = match message.trim() {
            "" => status.canonical_reason().unwrap_or("no reason given").to_owned(),
            text => text.to_owned(),
        };
        Error::Daemon {
            status: status.as_u16(),
            message,
        }
    }

    /// The whole answer as JSON.
    pub(crate) async fn json<T: DeserializeOwned>(mut self) -> Result<T, Error> {
        let bytes = self.bytes(MAX_ANSWER_BYTES).await?;
        let path = self.path;
        serde_json::from_slice(&bytes).map_err(|source| Error::Answer { path, source })
    }

    /// A header of the answer; empty if it is not there or not text.
    pub(crate) fn header(&self, name: &str) -> String {
        let value = self.response.headers().get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    }

    /// The whole answer, as it came, if it is not longer than `limit` bytes.
    pub(crate) async fn whole(mut self, limit: usize) -> Result<Vec<u8>, Error> {
        self.bytes(limit).await
    }

    /// The answer's lines as they come.
    pub(crate) fn lines(self) -> Lines {
        Lines {
            answer: self,
            limit: MAX_LINE_BYTES,
            pending: Vec::new(),
            rest: Bytes::new(),
        }
    }

    /// The same where a line may be as long as an answer that is kept whole.
    pub(crate) fn long_lines(self) -> Lines {
        Lines {
            limit: MAX_ANSWER_BYTES,
            ..self.lines()
        }
    }

    /// Copies the answer into a file as it comes; `told` makes the error of the file.
    pub(crate) async fn copy_to(
        mut self,
        file: &mut File,
        told: impl Fn(io::Error) -> Error,
    ) -> Result<(), Error> {
        while let Some(piece) = self.piece().await? {
            file.write_all(&piece).map_err(&told)?;
        }
        Ok(())
    }
}

/// The lines of a progress stream.
pub(crate) struct Lines {
    answer: Answer,
    /// The longest line.
    limit: usize,
    pending: Vec<u8>,
    rest: Bytes,
}

impl Lines {
    /// The next line that is not blank, as JSON.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
        loop {
            let end = self.rest.iter().position(|byte| *byte == b'\n');
            let taken = end.unwrap_or(self.rest.len());
            if self.pending.len() + taken > self.limit {
                return Err(Error::TooLong {
                    path: self.answer.path.clone(),
                    limit: self.limit,
                });
            }
            self.pending.extend_from_slice(&self.rest[..taken]);
            self.rest.advance(end.map_or(taken, |end| end + 1));
            let is_last = if end.is_some() {
                false
            } else if let Some(piece) = self.answer.piece().await? {
                self.rest = piece;
                continue;
            } else {
                true
            };
            let line = std::mem::take(&mut self.pending);
            if line.trim_ascii().is_empty() {
                if is_last {
                    return Ok(None);
                }
                continue;
            }
            let value = serde_json::from_slice(&line);
            return value.map(Some).map_err(|source| Error::Answer {
                path: self.answer.path.clone(),
                source,
            });
        }
    }
}

/// A query, or nothing if no parameter is set.
#[derive(Debug, Default)]
pub(crate) struct Query {
    text: String,
}

impl Query {
    /// Adds a parameter.
    pub(crate) fn push(&mut self, name: &str, value: impl AsRef<str>) {
        self.text.push(if self.text.is_empty() { '?' } else { '&' });
        self.text.push_str(name);
        self.text.push('=');
        encode(value.as_ref(), "", &mut self.text);
    }

    /// Adds `name=1` if it is so.
    pub(crate) fn flag(&mut self, name: &str, is_set: bool) {
        if is_set {
            self.push(name, "1");
        }
    }

    /// The text, `?` in front.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

/// An image's name as a piece of a path.
pub(crate) fn in_path(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    encode(name, "/:@", &mut out);
    out
}

/// Percent-encodes all but letters, digits, `-._~` and what is kept (RFC 3986, section 2.3).
fn encode(text: &str, kept: &str, out: &mut String) {
    for byte in text.bytes() {
        let c = char::from(byte);
        if byte.is_ascii_alphanumeric() || "-._~".contains(c) || kept.contains(c) {
            out.push(c);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_queries_are_encoded() {
        assert_eq!(in_path("a.b/c:d@sha256:e"), "a.b/c:d@sha256:e");
        assert_eq!(in_path("a b?#é%"), "a%20b%3F%23%C3%A9%25");
        let mut query = Query::default();
        assert_eq!(query.as_str(), "");
        query.push("t", "a/b:c");
        query.flag("q", true);
        query.flag("x", false);
        assert_eq!(query.as_str(), "?t=a%2Fb%3Ac&q=1");
    }
}
