//! Answers: a status, headers and a body that is whole or comes piece by piece.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use mica_api::ErrorBody;
use mica_engine::{Error, Kind};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::rights::Denied;

/// An answer.
pub(crate) type Reply = Response<ReplyBody>;

/// Exactly this, without a charset: Go clients print the raw body of anything else.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Objects in JSON, each on a line.
pub(crate) const LINES: HeaderValue = HeaderValue::from_static(mica_api::LINES_TYPE);
/// Plain text, as Go writes it.
pub(crate) const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// A tar.
pub(crate) const TAR: HeaderValue = HeaderValue::from_static("application/x-tar");

/// The body of an answer.
pub(crate) enum ReplyBody {
    /// All of it.
    Whole(Option<Bytes>),
    /// Pieces as they come.
    Pieces(Pieces),
}

/// A body that comes piece by piece. An error as a piece breaks the connection, so that nobody takes the part for the whole.
/// When the body is dropped, because it ended or because the client went away, the work behind it is told to stop.
pub(crate) struct Pieces {
    first: Option<io::Result<Bytes>>,
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    _work: Box<dyn Send>,
}

impl Pieces {
    /// A body made of what arrives at `receiver`. `work` is dropped with it.
    pub(crate) fn new(receiver: mpsc::Receiver<io::Result<Bytes>>, work: impl Send + 'static) -> Self {
        Self {
            first: None,
            receiver,
            _work: Box::new(work),
        }
    }

    /// The same once there is a first piece, or none will come. Some clients end their own body when the answer begins, and must not be
    /// answered before all of it was read (skopeo before 1.14 does).
    pub(crate) async fn begun(
        mut receiver: mpsc::Receiver<io::Result<Bytes>>,
        work: impl Send + 'static,
    ) -> Self {
        let first = receiver.recv().await;
        Self {
            first,
            ..Self::new(receiver, work)
        }
    }
}

impl ReplyBody {
    /// Keeps something until all of it was sent; what is whole is as good as sent.
    pub(crate) fn hold(&mut self, guard: impl Send + 'static) {
        if let Self::Pieces(pieces) = self {
            let work = std::mem::replace(&mut pieces._work, Box::new(()));
            pieces._work = Box::new((work, guard));
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Pieces(pieces) => match pieces.first.take() {
                Some(first) => Poll::Ready(Some(first)),
                None => pieces.receiver.poll_recv(context),
            }
            .map(|piece| piece.map(|piece| piece.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Pieces(_) => SizeHint::default(),
        }
    }
}

/// A request that cannot be answered as was hoped: a status and a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    status: StatusCode,
    message: String,
    plain: bool,
}

impl Failure {
    /// A failure with its status.
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            plain: false,
        }
    }

    /// The same in plain text: clients of before 1.24 print what they get.
    pub(crate) fn plain(self) -> Self {
        Self { plain: true, ..self }
    }

    /// The request makes no sense.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// The request makes sense, but nothing here can do it.
    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, message)
    }

    /// A right is missing.
    pub(crate) fn denied(denied: Denied) -> Self {
        Self::new(StatusCode::FORBIDDEN, denied.0)
    }

    /// There is no such route.
    pub(crate) fn no_route() -> Self {
        Self::new(StatusCode::NOT_FOUND, "page not found")
    }

    /// The text.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The answer that says so.
    pub(crate) fn reply(self) -> Reply {
        if self.plain {
            return whole(self.status, TEXT, self.message + "\n");
        }
        let body = ErrorBody {
            message: self.message,
        };
        json(self.status, &body).unwrap_or_else(|_| empty(StatusCode::INTERNAL_SERVER_ERROR))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match error.kind() {
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Invalid => StatusCode::BAD_REQUEST,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::Unauthorized => StatusCode::UNAUTHORIZED,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::Unsupported => StatusCode::NOT_IMPLEMENTED,
            // cancelled and still answered: the daemon is leaving, or another client stopped the work
            Kind::Unavailable | Kind::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.describe())
    }
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(ReplyBody::Whole(None));
    *reply.status_mut() = status;
    reply
}

/// An answer with a body of some type.
pub(crate) fn whole(status: StatusCode, kind: HeaderValue, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(ReplyBody::Whole(
        Some(body.into()).filter(|body: &Bytes| !body.is_empty()),
    ));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, kind);
    reply
}

/// An answer in JSON.
pub(crate) fn json<T: Serialize>(status: StatusCode, value: &T) -> Result<Reply, Failure> {
    Ok(whole(status, JSON, json_bytes(value)?))
}

/// The body of an answer in JSON, ended with a line end as Go does. What is long is written where it holds nobody up.
pub(crate) fn json_bytes<T: Serialize>(value: &T) -> Result<Bytes, Failure> {
    let mut bytes = serde_json::to_vec(value).map_err(|error| {
        Failure::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("cannot write the answer: {error}"),
        )
    })?;
    bytes.push(b'\n');
    Ok(bytes.into())
}

/// An answer that comes piece by piece.
pub(crate) fn pieces(kind: HeaderValue, body: Pieces) -> Reply {
    let mut reply = Response::new(ReplyBody::Pieces(body));
    reply.headers_mut().insert(CONTENT_TYPE, kind);
    reply
}

#[cfg(test)]
mod tests {
    use super::*;
    use mica_oci::ReferenceError;

    fn body(reply: Reply) -> String {
        match reply.into_body() {
            ReplyBody::Whole(bytes) => String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap(),
            ReplyBody::Pieces(_) => panic!("pieces"),
        }
    }

    #[test]
    fn failures_have_docker_s_shape() {
        let reply = Failure::no_route().reply();
        assert_eq!(reply.status(), 404);
        assert_eq!(reply.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(body(reply), "{\"message\":\"page not found\"}\n");
        let reply = Failure::no_route().plain().reply();
        assert_eq!(reply.status(), 404);
        assert_eq!(reply.headers()[CONTENT_TYPE], "text/plain; charset=utf-8");
        assert_eq!(body(reply), "page not found\n");
    }

    #[test]
    fn kinds_become_statuses() {
        for (error, status) in [
            (
                Error::NoSuchImage {
                    name: "x:latest".into(),
                },
                404,
            ),
            (Error::BlankName, 400),
            (Error::Reference(ReferenceError::Format), 400),
            (Error::PruneRunning, 409),
            (Error::Unsupported { what: "x".into() }, 501),
            (Error::Cancelled, 503),
            (Error::Worker, 500),
        ] {
            assert_eq!(Failure::from(error).status, status);
        }
    }
}
