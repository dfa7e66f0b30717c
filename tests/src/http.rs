//! Plain HTTP over a Unix socket, one connection for each question.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// How long an answer may take, from the first byte asked to the last one told.
const LIMIT: Duration = Duration::from_secs(120);

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// The method.
    pub method: Method,
    /// Path and query as they are sent.
    pub target: String,
    /// Headers beside `Host` and those that tell how long the body is.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// What was answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// All of the body.
    pub body: Bytes,
}

impl Question {
    /// A question without a body.
    pub fn new(method: Method, target: impl Into<String>) -> Self {
        Self {
            method,
            target: target.into(),
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// The same with a body.
    #[must_use]
    pub fn with(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Asks and reads all of the answer.
    ///
    /// # Errors
    /// What went wrong with the connection, in words.
    pub async fn ask(self, socket: &Path) -> Result<Answer, String> {
        let what = format!("{} {}", self.method, self.target);
        let answered = tokio::time::timeout(LIMIT, async {
            let (head, body) = self.open(socket).await?.into_parts();
            let body = body.collect().await.map_err(|error| describe(&error))?;
            Ok(Answer {
                status: head.status.as_u16(),
                headers: head.headers,
                body: body.to_bytes(),
            })
        });
        answered
            .await
            .unwrap_or_else(|_| Err(format!("no end after {} s", LIMIT.as_secs())))
            .map_err(|error: String| format!("{what}: {error}"))
    }

    /// Asks and leaves the body of the answer to be read; dropping it ends the connection.
    ///
    /// # Errors
    /// What went wrong with the connection, in words.
    pub async fn open(self, socket: &Path) -> Result<Response<Incoming>, String> {
        let stream = UnixStream::connect(socket)
            .await
            .map_err(|error| describe(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| describe(&error))?;
        tokio::spawn(async move {
            // what goes wrong is told to whoever asked
            let _ = connection.await;
        });
        let mut request = Request::builder()
            .method(self.method)
            .uri(self.target)
            .header("host", "daemon");
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let request = request
            .body(Full::new(self.body))
            .map_err(|error| describe(&error))?;
        sender
            .send_request(request)
            .await
            .map_err(|error| describe(&error))
    }
}

/// An error and its causes in one line.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Text within a path or a query (RFC 3986, 2.3).
pub fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}
