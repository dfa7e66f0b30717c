//! A vertex that has begun and did not end, and the parts of it that did not end.

use std::collections::BTreeMap;

use jiff::Timestamp;
use mica_api::{CANCELED, Status, Vertex, VertexStatus};

/// A vertex that is on its way.
#[derive(Debug)]
pub(super) struct Work {
    vertex: Vertex,
    /// The image it starts from.
    base: Option<String>,
    /// Whether any layer was on its way.
    is_fetching: bool,
    parts: BTreeMap<String, VertexStatus>,
}

impl Work {
    /// Tells that it begins.
    pub(super) fn begin(vertex: Vertex, base: Option<String>, now: Timestamp, out: &mut Status) -> Self {
        let vertex = Vertex {
            started: Some(now),
            ..vertex
        };
        out.vertexes.push(vertex.clone());
        Self {
            vertex,
            base,
            is_fetching: false,
            parts: BTreeMap::new(),
        }
    }

    pub(super) fn digest(&self) -> &str {
        &self.vertex.digest
    }

    /// The image it starts from.
    pub(super) fn base(&self) -> Option<&str> {
        self.base.as_deref()
    }

    /// Whether it starts from an image of which nothing had to be fetched.
    pub(super) fn is_idle_base(&self) -> bool {
        self.base.is_some() && !self.is_fetching
    }

    /// Tells how far a part is: bytes, and of how many where that is known.
    pub(super) fn part(
        &mut self,
        id: &str,
        name: &str,
        (current, total): (u64, Option<u64>),
        now: Timestamp,
        out: &mut Status,
    ) {
        self.is_fetching |= !name.is_empty();
        let part = self.parts.entry(id.to_owned()).or_insert_with(|| VertexStatus {
            id: id.to_owned(),
            vertex: self.vertex.digest.clone(),
            started: Some(now),
            ..VertexStatus::default()
        });
        name.clone_into(&mut part.name);
        part.current = signed(current);
        part.total = total.map_or(part.total, signed);
        part.timestamp = Some(now);
        out.statuses.push(part.clone());
    }

    /// Tells that a part is done, if it began.
    pub(super) fn end_part(&mut self, id: &str, name: &str, now: Timestamp, out: &mut Status) {
        if let Some(part) = self.parts.remove(id) {
            let name = name.to_owned();
            out.statuses.push(VertexStatus {
                name,
                current: part.current.max(part.total),
                ..ended(part, now)
            });
        }
    }

    /// Tells that it ended. `failure` is why it failed; empty if it was stopped.
    pub(super) fn end(self, failure: Option<String>, cached: bool, now: Timestamp, out: &mut Status) {
        let parts = self.parts.into_values();
        out.statuses.extend(parts.map(|part| ended(part, now)));
        let error = match failure {
            Some(reason) if reason.is_empty() => CANCELED.to_owned(),
            Some(reason) => reason,
            None => String::new(),
        };
        out.vertexes.push(Vertex {
            completed: Some(now),
            cached,
            error,
            ..self.vertex
        });
    }
}

fn ended(part: VertexStatus, now: Timestamp) -> VertexStatus {
    VertexStatus {
        timestamp: Some(now),
        completed: Some(now),
        ..part
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
