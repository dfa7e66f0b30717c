//! What is told of a build, as messages.

use jiff::Timestamp as Time;
use mica_api::{SourceInfo as File, SourcePosition, SourceRange, Status};
use mica_buildkit::message::control::{StatusResponse, Vertex, VertexLog, VertexStatus, VertexWarning};
use mica_buildkit::message::solver::{Position, Range, SourceInfo, Timestamp};

/// What changed, as a message.
pub(super) fn response(status: Status) -> StatusResponse {
    StatusResponse {
        vertexes: status.vertexes.into_iter().map(vertex).collect(),
        statuses: status.statuses.into_iter().map(part).collect(),
        logs: status.logs.into_iter().map(log).collect(),
        warnings: status.warnings.into_iter().map(warning).collect(),
    }
}

pub(super) fn time(time: Time) -> Timestamp {
    Timestamp {
        seconds: time.as_second(),
        nanos: time.subsec_nanosecond(),
    }
}

fn vertex(vertex: mica_api::Vertex) -> Vertex {
    Vertex {
        digest: vertex.digest,
        inputs: vertex.inputs,
        name: vertex.name,
        cached: vertex.cached,
        started: vertex.started.map(time),
        completed: vertex.completed.map(time),
        error: vertex.error,
    }
}

fn part(part: mica_api::VertexStatus) -> VertexStatus {
    VertexStatus {
        id: part.id,
        vertex: part.vertex,
        name: part.name,
        current: part.current,
        total: part.total,
        timestamp: part.timestamp.map(time),
        started: part.started.map(time),
        completed: part.completed.map(time),
    }
}

fn log(log: mica_api::VertexLog) -> VertexLog {
    VertexLog {
        vertex: log.vertex,
        timestamp: log.timestamp.map(time),
        stream: log.stream.into(),
        msg: log.data,
    }
}

fn warning(warning: mica_api::VertexWarning) -> VertexWarning {
    VertexWarning {
        vertex: warning.vertex,
        level: warning.level.into(),
        short: warning.short,
        detail: warning.detail.into_iter().map(|detail| detail.0).collect(),
        url: warning.url,
        info: warning.source_info.map(|File { filename }| SourceInfo {
            filename,
            ..SourceInfo::default()
        }),
        ranges: warning.range.into_iter().map(range).collect(),
    }
}

fn range(range: SourceRange) -> Range {
    let position = |SourcePosition { line, character }| Position { line, character };
    Range {
        start: Some(position(range.start)),
        end: Some(position(range.end)),
    }
}
