//! How a build is told to who asked for it: in docker's classic lines, or as BuildKit's vertices.

use bytes::Bytes;
use jiff::Timestamp;
use mica_api::{BuiltImage, Message, STATUS_ID, Status};
use mica_engine::BuildOutcome;
use mica_oci::PlatformImage;
use mica_task::Event;
use serde::Serialize;

use crate::wire::status::Vertices;
use crate::wire::stream::{ClassicStream, Style, kept, line};

/// How a build that is no session's is told; [`trace`](crate::wire::trace) tells of those.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// In docker's classic lines.
    Classic,
    /// As vertices.
    Status,
}

/// Turns the events of a build into lines.
pub(crate) enum Telling {
    /// Docker's classic builder's.
    Classic(Box<ClassicStream>),
    /// Lines whose `aux` holds what changed.
    Status(Box<StatusStream>),
}

impl Telling {
    /// Nothing was said yet. Quiet builds have only classic lines.
    pub(crate) fn new(style: Style, manner: Manner, seed: u64) -> Self {
        match manner {
            Manner::Status if !style.quiet => Self::Status(Box::new(StatusStream::new(seed))),
            Manner::Status | Manner::Classic => Self::Classic(Box::new(ClassicStream::new(style, seed))),
        }
    }

    /// Whether an event says nothing that an answer begins with: what fails after it is still told with a status.
    pub(crate) fn is_early(&self, event: &Event) -> bool {
        let is_beside = matches!(
            event,
            Event::Planned { .. } | Event::Begun { .. } | Event::Moved { .. } | Event::Ended { .. }
        );
        is_beside && matches!(self, Self::Classic(_))
    }

    /// The lines for an event; empty where there is nothing to say, or nothing yet.
    pub(crate) fn event(&mut self, event: Event) -> Bytes {
        match self {
            Self::Classic(stream) => stream.event(event),
            Self::Status(stream) => stream.event(event),
        }
    }

    /// The last lines: what was built.
    pub(crate) fn finish(&mut self, outcome: &BuildOutcome) -> Bytes {
        match self {
            Self::Classic(stream) => {
                let lines = stream.finish(&outcome.image, &outcome.unused_args);
                match outcome.images.len() {
                    0 | 1 => lines,
                    // even what is quiet says which they are
                    _ => [lines, line(&built(outcome))].concat().into(),
                }
            }
            Self::Status(stream) => stream.finish(outcome),
        }
    }

    /// The last lines of a build that failed.
    pub(crate) fn fail(&mut self, message: &str, code: Option<i32>) -> Bytes {
        match self {
            Self::Classic(stream) => stream.fail(message, code),
            Self::Status(stream) => stream.fail(message, code),
        }
    }
}

/// A stream of [`Status`] lines.
pub(crate) struct StatusStream {
    vertices: Vertices,
}

impl StatusStream {
    fn new(seed: u64) -> Self {
        Self {
            vertices: Vertices::new(seed),
        }
    }

    fn event(&mut self, event: Event) -> Bytes {
        let text = match &event {
            Event::Excerpt { text } => text.clone(),
            Event::Kept { build, enterable } => kept(&build.to_string(), *enterable).concat(),
            _ => String::new(),
        };
        if !text.is_empty() {
            return line(&Message::stream(text));
        }
        told(&self.vertices.event(event, Timestamp::now()))
    }

    fn finish(&mut self, outcome: &BuildOutcome) -> Bytes {
        let mut status = self.vertices.close(Timestamp::now());
        if !outcome.unused_args.is_empty() {
            let unused = outcome.unused_args.join(" ");
            let text = format!("[Warning] One or more build-args [{unused}] were not consumed");
            status.append(self.vertices.warning(text));
        }
        [told(&status), line(&built(outcome))].concat().into()
    }

    fn fail(&mut self, message: &str, code: Option<i32>) -> Bytes {
        let status = self.vertices.close(Timestamp::now());
        [
            told(&status),
            line(&Message::failure(message, code.map(i64::from))),
        ]
        .concat()
        .into()
    }
}

/// What was built, one image or several.
fn built(outcome: &BuildOutcome) -> Message {
    let id = outcome.image.to_string();
    let image = |image: &PlatformImage| BuiltImage {
        platform: image.platform.to_string(),
        id: image.image.to_string(),
    };
    match &outcome.images[..] {
        [] | [_] => Message::image(id),
        images => Message::images(id, &images.iter().map(image).collect::<Vec<_>>()),
    }
}

/// A line that tells what changed, written without a copy of its output in between.
#[derive(Serialize)]
struct StatusLine<'a> {
    id: &'static str,
    aux: &'a Status,
}

fn told(status: &Status) -> Bytes {
    if status.is_empty() {
        return Bytes::new();
    }
    line(&StatusLine {
        id: STATUS_ID,
        aux: status,
    })
}
