//! The body of a request: read on a thread, and never left half read.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, EXPECT};
use mica_engine::{BodyReader, Engine, blocking, body};

use crate::activity::Busy;
use crate::wire::reply::Failure;

/// How long the rest of an unwanted body may pause before the connection is closed.
const DRAIN_PAUSE: Duration = Duration::from_secs(10);

/// The shortest body that room is looked for, in bytes.
const WORTH_A_LOOK: u64 = 1 << 20;

/// How much of an unwanted body is read away: enough for any build context, not endless.
const DRAIN_LIMIT: u64 = 64 << 30;

/// Fails if what is to be received does not fit on the store's disk, as far as the client says how long it is.
pub(crate) async fn look_for_room(
    engine: &Engine,
    headers: &HeaderMap,
    what: &'static str,
) -> Result<(), Failure> {
    let length = headers.get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let Some(length) = length.filter(|length| *length >= WORTH_A_LOOK) else {
        return Ok(());
    };
    let engine = engine.clone();
    Ok(blocking(move || engine.look_for_room_of(what, length)).await?)
}

/// The body of a request. What of it is not read when it goes away is read and dropped in the background: a client that is
/// still sending would otherwise see a broken connection instead of the answer.
pub(crate) struct Upload {
    body: Option<Incoming>,
    /// What was read ahead.
    first: Option<hyper::Result<Frame<Bytes>>>,
    busy: Busy,
}

impl Upload {
    /// Takes in the body; `busy` tells that there is work while it is read.
    pub(crate) fn new(body: Incoming, busy: Busy) -> Self {
        Self {
            body: Some(body).filter(|body| !body.is_end_stream()),
            first: None,
            busy,
        }
    }

    /// Lets a client that waits for it send the body (`Expect: 100-continue`, RFC 9110, section 10.1.1). For answers that begin
    /// before the body is read: their head alone tells such a client not to send it.
    pub(crate) async fn wanted(mut self, headers: &HeaderMap) -> Self {
        if headers.contains_key(EXPECT) {
            self.first = self.frame().await;
        }
        self
    }

    async fn frame(&mut self) -> Option<hyper::Result<Frame<Bytes>>> {
        match (self.first.take(), self.body.as_mut()) {
            (Some(first), _) => Some(first),
            (None, Some(body)) => body.frame().await,
            (None, None) => None,
        }
    }

    /// The whole body, which must not be longer than `limit` bytes.
    pub(crate) async fn read(mut self, limit: usize) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        while let Some(frame) = self.frame().await {
            let frame = frame.map_err(|error| Failure::invalid(format!("cannot read the body: {error}")))?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > limit {
                return Err(Failure::invalid(format!("the body is longer than {limit} bytes")));
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes)
    }

    /// Moves the body, as it arrives, to a reader for a thread. The reader fails if the connection breaks.
    pub(crate) fn into_reader(mut self) -> BodyReader {
        let (sender, reader) = body();
        tokio::spawn(async move {
            loop {
                match self.frame().await {
                    Some(Ok(frame)) => {
                        let Ok(bytes) = frame.into_data() else { continue };
                        // when nobody reads any more, dropping `self` takes care of the rest
                        if sender.send(bytes).await.is_err() {
                            return;
                        }
                    }
                    Some(Err(error)) => return sender.fail(io::Error::other(error)).await,
                    None => return sender.finish().await,
                }
            }
        });
        reader
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(body) = self.body.take() else { return };
        let busy = self.busy.clone();
        // outside a runtime, at the very end of the program, there is no connection either
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                drain(body).await;
                drop(busy);
            });
        }
    }
}

async fn drain(mut body: Incoming) {
    let mut read = 0;
    while read < DRAIN_LIMIT {
        match tokio::time::timeout(DRAIN_PAUSE, body.frame()).await {
            Ok(Some(Ok(frame))) => read += frame.data_ref().map_or(0, |bytes| bytes.len() as u64),
            _ => return,
        }
    }
}
