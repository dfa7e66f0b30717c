//! Answers, and bodies that can break off in the middle.

use std::collections::VecDeque;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use fs_err::File;
use hyper::body::{Frame, SizeHint};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

/// How much of a file is read at once, in bytes.
const STEP: u64 = 128 << 10;

pub(crate) type Reply = Response<Body>;

enum Part {
    Bytes(Bytes),
    File(File, u64),
}

impl Part {
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(_, left) => *left,
        }
    }
}

/// A body made of bytes and of stretches of files.
#[derive(Default)]
pub(crate) struct Body {
    parts: VecDeque<Part>,
    /// Whether its length is not told.
    chunked: bool,
    /// Bytes until the connection breaks.
    cut: Option<u64>,
    paused: bool,
    out: Arc<AtomicU64>,
}

impl Body {
    pub(crate) fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self {
            parts: VecDeque::from([Part::Bytes(bytes.into())]),
            ..Self::default()
        }
    }

    /// The bytes of a file from `start` to before `end`.
    pub(crate) fn file(mut file: File, start: u64, end: u64) -> io::Result<Self> {
        file.seek(SeekFrom::Start(start))?;
        Ok(Self {
            parts: VecDeque::from([Part::File(file, end - start)]),
            ..Self::default()
        })
    }

    pub(crate) fn len(&self) -> u64 {
        self.parts.iter().map(Part::len).sum()
    }

    pub(crate) fn counts(&mut self, out: &Arc<AtomicU64>) {
        self.out = out.clone();
    }

    pub(crate) fn breaks_after(&mut self, bytes: u64) {
        self.cut = Some(bytes);
    }

    pub(crate) fn lengthen(&mut self) {
        self.chunked = true;
        self.parts.push_back(Part::Bytes(Bytes::from(vec![b'+'; 4096])));
    }

    pub(crate) fn halve(&mut self) -> io::Result<()> {
        let mut bytes = self.whole()?;
        bytes.truncate(bytes.len() / 2);
        self.become_chunked(bytes);
        Ok(())
    }

    pub(crate) fn spoil(&mut self) -> io::Result<()> {
        let mut bytes = self.whole()?;
        if let Some(first) = bytes.first_mut() {
            *first ^= 1;
        }
        self.parts = VecDeque::from([Part::Bytes(bytes.into())]);
        Ok(())
    }

    pub(crate) fn become_chunked(&mut self, bytes: Vec<u8>) {
        self.chunked = true;
        self.parts = VecDeque::from([Part::Bytes(bytes.into())]);
    }

    /// All that is left of it, taken out.
    pub(crate) fn whole(&mut self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        for part in self.parts.drain(..) {
            match part {
                Part::Bytes(bytes) => all.extend_from_slice(&bytes),
                Part::File(file, left) => {
                    file.take(left).read_to_end(&mut all)?;
                }
            }
        }
        Ok(all)
    }

    fn next(&mut self, most: u64) -> io::Result<Option<Bytes>> {
        loop {
            let Some(part) = self.parts.front_mut() else {
                return Ok(None);
            };
            if part.len() == 0 {
                self.parts.pop_front();
                continue;
            }
            return match part {
                Part::Bytes(bytes) => Ok(Some(bytes.split_to(bytes.len().min(most as usize)))),
                Part::File(file, left) => {
                    let mut step = vec![0; (*left).min(most).min(STEP) as usize];
                    file.read_exact(&mut step)?;
                    *left -= step.len() as u64;
                    Ok(Some(step.into()))
                }
            };
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let most = self.cut.unwrap_or(u64::MAX);
        if most == 0 {
            if !self.paused {
                // what was given so far goes out first
                self.paused = true;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            return Poll::Ready(Some(Err(io::Error::other("broken on purpose"))));
        }
        let next = match self.next(most) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Poll::Ready(None),
            Err(error) => return Poll::Ready(Some(Err(error))),
        };
        let length = next.len() as u64;
        self.cut = self.cut.map(|cut| cut - length);
        self.out.fetch_add(length, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(next))))
    }

    fn size_hint(&self) -> SizeHint {
        match self.chunked {
            true => SizeHint::default(),
            false => SizeHint::with_exact(self.len()),
        }
    }
}

/// An answer without a body.
pub(crate) fn empty(code: u16) -> Reply {
    with_body(code, Body::default())
}

/// An answer with a body.
pub(crate) fn with_body(code: u16, body: Body) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = StatusCode::from_u16(code).expect("statuses have three digits");
    reply
}

/// An answer in JSON.
pub(crate) fn json(code: u16, value: &serde_json::Value) -> Reply {
    let reply = with_body(code, Body::bytes(value.to_string()));
    header(reply, "content-type", "application/json")
}

/// A refusal as the OCI distribution spec writes it ("Error Codes").
pub(crate) fn refusal(code: u16, error: &str, message: &str) -> Reply {
    json(
        code,
        &serde_json::json!({"errors": [{"code": error, "message": message}]}),
    )
}

/// The answer with one header more, or another one.
pub(crate) fn header(mut reply: Reply, name: &str, value: &str) -> Reply {
    let name: HeaderName = name.parse().expect("header names are tokens");
    let value = HeaderValue::from_str(value).expect("header values are visible text");
    reply.headers_mut().insert(name, value);
    reply
}
