//! What is known of a build: its vertices and what was told of them.

use std::collections::HashMap;

use jiff::Timestamp;
use mica_api::{Status, Vertex, VertexLog, VertexStatus, VertexWarning};

use crate::progress::tail::Tail;
use crate::row::printable;

/// More vertices, parts of one and warnings than these are not shown: no build has so many.
const MAX_VERTICES: usize = 20_000;
const MAX_PARTS: usize = 1000;
pub(crate) const MAX_WARNINGS: usize = 1000;

/// The longest name that is kept, in characters.
const NAME_LIMIT: usize = 2000;

/// Lines of a running step's output that are shown.
const TAIL_LINES: usize = 6;
/// Lines of its output that are shown once it failed.
const FAILURE_LINES: usize = 100;

/// A build.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) vertices: Vec<Piece>,
    /// Those that began, in that order.
    begun: Vec<usize>,
    places: HashMap<String, usize>,
    pub(crate) warnings: Vec<VertexWarning>,
    /// The first time that was told.
    pub(crate) first: Option<Timestamp>,
}

/// A vertex and what was told of it.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) name: String,
    pub(crate) started: Option<Timestamp>,
    pub(crate) completed: Option<Timestamp>,
    pub(crate) cached: bool,
    pub(crate) error: String,
    pub(crate) parts: Vec<VertexStatus>,
    pub(crate) warnings: Vec<String>,
    /// Its last output; empty once it succeeded.
    pub(crate) tail: Tail,
    pub(crate) failure: Tail,
}

impl Piece {
    fn new() -> Self {
        Self {
            name: String::new(),
            started: None,
            completed: None,
            cached: false,
            error: String::new(),
            parts: Vec::new(),
            warnings: Vec::new(),
            tail: Tail::new(TAIL_LINES),
            failure: Tail::new(FAILURE_LINES),
        }
    }

    /// Whether it has begun and not ended.
    pub(crate) fn is_running(&self) -> bool {
        self.started.is_some() && self.completed.is_none()
    }

    fn set(&mut self, vertex: Vertex) {
        self.name = name(&vertex.name);
        self.started = vertex.started;
        self.completed = vertex.completed;
        self.cached = vertex.cached;
        self.error = printable(&vertex.error);
        if self.completed.is_some() {
            self.tail = Tail::new(TAIL_LINES);
            if self.error.is_empty() {
                self.failure = Tail::new(FAILURE_LINES);
            }
        }
    }

    fn set_part(&mut self, part: VertexStatus) {
        match self.parts.iter().position(|own| own.id == part.id) {
            Some(place) => self.parts[place] = part,
            None if self.parts.len() < MAX_PARTS => self.parts.push(part),
            None => {}
        }
    }
}

impl Trace {
    /// Takes in what changed.
    pub(crate) fn update(&mut self, status: Status) {
        for vertex in status.vertexes {
            let started = vertex.started;
            let digest = vertex.digest.clone();
            if let Some(piece) = self.piece(&digest) {
                let begins = piece.started.is_none() && started.is_some();
                piece.set(vertex);
                if begins {
                    self.begun.push(self.places[&digest]);
                }
            }
            self.first = self.first.or(started);
        }
        for log in status.logs {
            self.log(&log);
        }
        for part in status.statuses {
            if let Some(piece) = self.piece(&part.vertex) {
                piece.set_part(part);
            }
        }
        for warning in status.warnings {
            if self.warnings.len() >= MAX_WARNINGS {
                return;
            }
            let short = printable(&String::from_utf8_lossy(&warning.short));
            if let Some(piece) = self.piece(&warning.vertex) {
                piece.warnings.push(short);
            }
            self.warnings.push(warning);
        }
    }

    /// Ends all that runs: nobody wants it any more.
    pub(crate) fn cancel(&mut self, now: Timestamp) {
        for piece in self.vertices.iter_mut().filter(|piece| piece.is_running()) {
            piece.completed = Some(now);
            mica_api::CANCELED.clone_into(&mut piece.error);
            for part in piece.parts.iter_mut().filter(|part| part.completed.is_none()) {
                part.completed = Some(now);
            }
        }
    }

    /// The vertices that began, in that order.
    pub(crate) fn begun(&self) -> impl Iterator<Item = &Piece> {
        self.begun.iter().map(|place| &self.vertices[*place])
    }

    /// How many vertices have ended, and how many there are.
    pub(crate) fn count(&self) -> (usize, usize) {
        let ended = self.vertices.iter().filter(|piece| piece.completed.is_some());
        (ended.count(), self.vertices.len())
    }

    fn log(&mut self, log: &VertexLog) {
        if let Some(piece) = self.piece(&log.vertex)
            && (piece.completed.is_none() || !piece.error.is_empty())
        {
            piece.tail.write(&log.data);
            piece.failure.write(&log.data);
        }
    }

    /// The vertex of this digest; it is new if there was none.
    fn piece(&mut self, digest: &str) -> Option<&mut Piece> {
        let place = match self.places.get(digest) {
            Some(place) => *place,
            None if self.vertices.len() >= MAX_VERTICES || digest.is_empty() => return None,
            None => {
                self.places.insert(digest.to_owned(), self.vertices.len());
                self.vertices.push(Piece::new());
                self.vertices.len() - 1
            }
        };
        self.vertices.get_mut(place)
    }
}

/// The name of a vertex on one line.
pub(crate) fn name(text: &str) -> String {
    let spaced: String = text
        .chars()
        .take(NAME_LIMIT)
        .map(|c| if matches!(c, '\t' | '\n' | '\r') { ' ' } else { c })
        .collect();
    printable(&spaced)
}

/// The seconds between two times, never below 0.
pub(crate) fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}

/// A number of bytes with two decimals: `12.34MB`.
pub(crate) fn bytes(count: i64) -> String {
    let mut value = count.max(0) as f64;
    let mut units = ["B", "kB", "MB", "GB", "TB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    while value >= 1000.0 {
        let Some(next) = units.next() else { break };
        (value, unit) = (value / 1000.0, next);
    }
    match unit {
        "B" => format!("{value:.0}B"),
        unit => format!("{value:.2}{unit}"),
    }
}

/// How far a part is, if that is known: `1.05MB / 3.40MB`.
pub(crate) fn numbers(part: &VertexStatus) -> Option<String> {
    match (part.current, part.total) {
        (current, total) if total > 0 => Some(format!("{} / {}", bytes(current), bytes(total))),
        (current, _) if current > 0 => Some(bytes(current)),
        _ => None,
    }
}
