//! What a quiet build would have told, kept for the case that it fails.

use std::collections::VecDeque;

use bytes::Bytes;
use mica_api::Message;

use crate::wire::stream::line;

/// The most bytes of lines that are kept; the last ones stay.
pub(crate) const LIMIT: usize = 1 << 20;

/// The lines of a quiet build, the oldest dropped when there are too many.
#[derive(Default)]
pub(crate) struct Held {
    lines: VecDeque<Bytes>,
    bytes: usize,
    dropped: bool,
}

impl Held {
    /// Keeps lines.
    pub(crate) fn push(&mut self, lines: Bytes) {
        self.bytes += lines.len();
        self.lines.push_back(lines);
        while self.bytes > LIMIT && self.lines.len() > 1 {
            self.bytes -= self.lines.pop_front().map_or(0, |line| line.len());
            self.dropped = true;
        }
    }

    /// What was kept; says first if that is not all.
    pub(crate) fn into_lines(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if self.dropped {
            let note = format!("[the output before the last {LIMIT} bytes was not kept]\n");
            bytes.extend_from_slice(&line(&Message::stream(note)));
        }
        for lines in self.lines {
            bytes.extend_from_slice(&lines);
        }
        bytes
    }
}
