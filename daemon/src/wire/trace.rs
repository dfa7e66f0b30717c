//! What is told of a build over a session, as the lines of `POST /build?version=2` (engine API contract, section 5).

use bytes::Bytes;
use mica_api::{Base64, Message};
use mica_buildkit::message::control::StatusResponse;
use prost::Message as _;
use serde::Serialize;

use crate::wire::held::Held;
use crate::wire::stream::line;

/// On lines that tell what changed.
const TRACE: &str = "moby.buildkit.trace";
/// On the line that tells of the image.
const IMAGE: &str = "moby.image.id";

/// Turns what is told into lines.
#[derive(Default)]
pub(crate) struct TraceStream {
    /// Of a quiet build.
    held: Option<Held>,
}

/// A line that tells what changed.
#[derive(Serialize)]
struct TraceLine {
    id: &'static str,
    aux: Base64,
}

impl TraceStream {
    /// A stream in which nothing was said yet.
    pub(crate) fn new(quiet: bool) -> Self {
        Self {
            held: quiet.then(Held::default),
        }
    }

    /// The line for what changed; empty while a build is quiet.
    pub(crate) fn status(&mut self, status: &StatusResponse) -> Bytes {
        let line = line(&TraceLine {
            id: TRACE,
            aux: Base64(status.encode_to_vec()),
        });
        match &mut self.held {
            None => line,
            Some(held) => {
                held.push(line);
                Bytes::new()
            }
        }
    }

    /// The last line: the image, unless the result went elsewhere.
    pub(crate) fn finish(self, image: Option<String>) -> Bytes {
        match image {
            None => Bytes::new(),
            // who asked for quiet takes the ID from the text
            Some(image) if self.held.is_some() => line(&Message::stream(format!("{image}\n"))),
            Some(image) => line(&Message {
                id: Some(IMAGE.to_owned()),
                ..Message::image(image)
            }),
        }
    }

    /// The last lines of a build that failed.
    pub(crate) fn fail(self, message: &str) -> Bytes {
        let mut lines = self.held.map(Held::into_lines).unwrap_or_default();
        // without the exit code of a step: BuildKit tells none here
        lines.extend_from_slice(&line(&Message::failure(message, None)));
        lines.into()
    }
}
