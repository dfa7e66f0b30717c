//! What one vertex has to say in lines.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use mica_api::{CANCELED, Vertex, VertexLog, VertexStatus};

use crate::progress::trace::{name, numbers, seconds};
use crate::row::printable;

/// How often it is said how far a part is.
const PAUSE: Duration = Duration::from_secs(5);

/// The longest line that is put together; longer ones are broken.
const LINE_LIMIT: usize = 16 << 10;

/// Lines that are said again if it failed, and their bytes at most.
const FAILURE_LINES: usize = 10;
const FAILURE_BYTES: usize = 4 << 10;

/// More parts than these are not told.
const MAX_PARTS: usize = 1000;

/// A vertex: what it is, and what is to be said of it.
#[derive(Debug, Default)]
pub(super) struct Talk {
    number: Option<usize>,
    vertex: Vertex,
    /// Whether its end was said.
    is_over: bool,
    parts: Vec<Part>,
    warnings: Vec<String>,
    /// Output in lines, each with its time and its end.
    lines: Vec<u8>,
    /// Output without a line end, by stream, with its time in front.
    unfinished: [Vec<u8>; 2],
    /// The last lines that were said.
    last: Vec<u8>,
    waits_since: Option<Instant>,
}

#[derive(Debug)]
struct Part {
    status: VertexStatus,
    is_new: bool,
    said: Option<Instant>,
}

impl Talk {
    pub(super) fn set(&mut self, vertex: Vertex) {
        self.is_over &= vertex.completed.is_some();
        self.vertex = vertex;
        if self.has_ended() {
            self.break_lines();
        }
    }

    pub(super) fn part(&mut self, status: VertexStatus, now: Instant) {
        let found = self.parts.iter().position(|part| part.status.id == status.id);
        match found {
            Some(place) => {
                let part = &mut self.parts[place];
                let is_end = status.completed.is_some() && part.status.completed.is_none();
                let is_due = part.said.is_none_or(|said| said + PAUSE <= now);
                part.is_new |= is_end || is_due;
                part.status = status;
                if part.is_new {
                    part.said = Some(now);
                }
            }
            None if self.parts.len() < MAX_PARTS => self.parts.push(Part {
                status,
                is_new: true,
                said: Some(now),
            }),
            None => {}
        }
    }

    pub(super) fn warn(&mut self, short: &[u8]) {
        self.warnings.push(printable(&String::from_utf8_lossy(short)));
    }

    pub(super) fn log(&mut self, log: &VertexLog) {
        let stamp = self.stamp(log.timestamp);
        let unfinished = &mut self.unfinished[usize::from(log.stream == 2)];
        for piece in log.data.split_inclusive(|byte| *byte == b'\n') {
            // a line has the time of its first byte
            if unfinished.is_empty() {
                unfinished.extend_from_slice(stamp.as_bytes());
            }
            unfinished.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.lines.append(unfinished);
            } else if unfinished.len() >= LINE_LIMIT {
                unfinished.push(b'\n');
                self.lines.append(unfinished);
            }
        }
        if self.has_ended() {
            self.break_lines();
        }
    }

    /// A time as seconds since it began, and a blank.
    fn stamp(&self, time: Option<Timestamp>) -> String {
        let time = match (self.vertex.started, time) {
            (Some(started), Some(time)) => seconds(started, time),
            _ => 0.0,
        };
        match time {
            time if time < 10.0 => format!("{time:.3} "),
            time if time < 100.0 => format!("{time:.2} "),
            _ => format!("{time:.1} "),
        }
    }

    fn break_lines(&mut self) {
        for unfinished in &mut self.unfinished {
            if !unfinished.is_empty() {
                unfinished.push(b'\n');
                self.lines.append(unfinished);
            }
        }
    }

    /// Ends it if it did not end.
    pub(super) fn cancel(&mut self, now: Timestamp) {
        if self.vertex.completed.is_none() {
            self.vertex.completed = Some(now);
            CANCELED.clone_into(&mut self.vertex.error);
        }
        self.break_lines();
    }

    pub(super) fn is_begun(&self) -> bool {
        self.vertex.started.is_some()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.vertex.completed.is_some()
    }

    /// How many bytes of output wait.
    pub(super) fn held(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is something to say.
    pub(super) fn has_more(&self) -> bool {
        let is_unsaid = self.number.is_none() || (self.has_ended() && !self.is_over);
        self.is_begun()
            && (is_unsaid
                || !self.lines.is_empty()
                || !self.warnings.is_empty()
                || self.parts.iter().any(|part| part.is_new))
    }

    /// Notes since when there is something to say.
    pub(super) fn note_waiting(&mut self, now: Instant) {
        if self.has_more() {
            self.waits_since.get_or_insert(now);
        }
    }

    pub(super) fn waits_since(&self) -> Option<Instant> {
        self.waits_since
    }

    /// Its number, once it was announced.
    pub(super) fn number(&self) -> Option<usize> {
        self.number
    }

    pub(super) fn announce(&mut self, number: usize) {
        self.number = Some(number);
    }

    /// Says everything; what it is called too if another one spoke before.
    pub(super) fn say(&mut self, number: usize, is_new: bool, out: &mut Vec<u8>) {
        let mut line = |text: String| out.extend_from_slice(format!("#{number} {text}\n").as_bytes());
        if is_new {
            line(name(&self.vertex.name));
        }
        for part in self.parts.iter_mut().filter(|part| part.is_new) {
            part.is_new = false;
            line(part_text(&part.status));
        }
        for warning in self.warnings.drain(..) {
            line(format!("WARN: {warning}"));
        }
        let lines = std::mem::take(&mut self.lines);
        let start = format!("#{number} ");
        for text in lines.split_inclusive(|byte| *byte == b'\n') {
            out.extend_from_slice(start.as_bytes());
            out.extend_from_slice(text);
        }
        self.last.extend_from_slice(last_lines(&lines));
        self.last.drain(..self.last.len() - last_lines(&self.last).len());
        self.waits_since = None;
        if self.has_ended() && !self.is_over {
            self.is_over = true;
            out.extend_from_slice(format!("#{number} {}\n", self.end()).as_bytes());
        }
    }

    fn end(&self) -> String {
        if self.vertex.is_canceled() {
            return "CANCELED".to_owned();
        }
        if !self.vertex.error.is_empty() {
            return format!("ERROR: {}", printable(&self.vertex.error));
        }
        if self.vertex.cached {
            return "CACHED".to_owned();
        }
        let time = match (self.vertex.started, self.vertex.completed) {
            (Some(started), Some(completed)) => seconds(started, completed),
            _ => 0.0,
        };
        format!("DONE {time:.1}s")
    }

    /// Its name and what it wrote last, if it failed.
    pub(super) fn failure(&self) -> Option<(String, Vec<String>)> {
        let has_failed = !self.vertex.error.is_empty() && !self.vertex.is_canceled();
        has_failed.then(|| {
            let last = String::from_utf8_lossy(&self.last);
            (name(&self.vertex.name), last.lines().map(str::to_owned).collect())
        })
    }
}

/// The lines at the end that are said again; the first may have lost its start.
fn last_lines(lines: &[u8]) -> &[u8] {
    let lines = &lines[lines.len().saturating_sub(FAILURE_BYTES)..];
    let mut ends = (0..lines.len()).rev().filter(|place| lines[*place] == b'\n');
    match ends.nth(FAILURE_LINES) {
        Some(end) => &lines[end + 1..],
        None => lines,
    }
}

fn part_text(part: &VertexStatus) -> String {
    let mut text = name(&part.id);
    if let Some(numbers) = numbers(part) {
        text.push_str(&format!(" {numbers}"));
    }
    let end = part.completed.or(part.timestamp);
    if let (Some(started), Some(end)) = (part.started, end) {
        let time = seconds(started, end);
        if time > 0.01 {
            text.push_str(&format!(" {time:.1}s"));
        }
    }
    if part.completed.is_some() {
        text.push_str(" done");
    }
    text
}
