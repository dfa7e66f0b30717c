//! BuildKit's gRPC: a second way to ask for the same builds. `control` is what a client asks of the daemon, `bridge` what it
//! asks while a build of its own goes on, `order` what `POST /build` hands over; all end in the engine's build.

mod bridge;
mod cache;
mod caching;
mod content;
mod control;
mod delivery;
mod export;
mod folder;
mod frontend;
mod held;
mod history;
mod job;
mod jobs;
mod lender;
mod order;
mod plan;
mod platforms;
mod push;
mod results;
mod rights;
mod sessions;
mod several;
mod status;
mod target;
mod tunnel;
mod upload;
mod worker;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Response;
use mica_buildkit::message::solver::{self, Any, FailedSource, Position, Range, SourceInfo};
use mica_buildkit::{Method, Methods, Next};
use mica_engine::{Error, Kind};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::{Code, Status};

pub(crate) use crate::grpc::frontend::Origin;
pub(crate) use crate::grpc::history::History;
pub(crate) use crate::grpc::job::Told;
pub(crate) use crate::grpc::jobs::Jobs;
pub(crate) use crate::grpc::order::{Order, begin, upload};
pub(crate) use crate::grpc::rights::{build_right, is_push};
pub(crate) use crate::grpc::sessions::Sessions;
pub(crate) use crate::grpc::tunnel::Announced;

use crate::crowd::Place;
use crate::daemon::Daemon;
use crate::log::{self, Level};
use crate::rights::Peer;
use crate::work::seconds;

/// How long the last answers of a connection may take once no build goes on any more and the daemon leaves.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// The most connections at one time that may take their time to make room for others.
static FAREWELLS: Semaphore = Semaphore::const_new(64);
/// The longest text of a failure, in bytes.
const TEXT_LIMIT: usize = 2 << 10;
/// The longest Dockerfile that is sent along with a failure at one of its lines, in bytes; of longer ones only what is near.
const SOURCE_LIMIT: usize = 4 << 10;
/// How much of a failure goes into headers, as it is written there, in bytes: many clients take 16 KiB of those and no more.
const HEADERS_LIMIT: usize = 14 << 10;
/// How many lines before and after the one that failed are near.
const NEAR: usize = 8;

/// Answers the calls of a connection until its client goes away or it has to make room for others, having nothing to do; once the
/// daemon is told to leave, until no build goes on.
pub(crate) async fn serve<C>(daemon: &Arc<Daemon>, peer: &Peer, place: &Place, connection: C)
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (guarding, guarded, own) = (daemon.clone(), peer.clone(), place.clone());
    let methods = methods(daemon, peer).guarded(move |method, next| {
        let (daemon, peer, work) = (guarding.clone(), guarded.clone(), own.work());
        async move {
            answer(daemon, peer, method, next)
                .await
                .map(|body| held::until_sent(body, work))
        }
    });
    // no new calls are taken then, which the client is told
    let end = async {
        tokio::select! {
            () = daemon.drained() => {}
            () = place.told_to_leave() => {}
        }
    };
    // who follows what happens is told nothing more
    let over = async {
        daemon.drained().await;
        tokio::time::sleep(LAST_ANSWERS).await;
    };
    tokio::select! {
        () = methods.serve_until(connection, end) => {}
        () = over => {}
        () = room_made(place) => {}
    }
}

/// Waits until the connection had to make room, and its client had the time to notice; a call that had begun is awaited.
async fn room_made(place: &Place) {
    place.told_to_leave().await;
    let farewell = FAREWELLS.try_acquire();
    loop {
        // of more than so many at once none waits
        if farewell.is_ok() {
            tokio::time::sleep(LAST_ANSWERS).await;
        }
        if place.is_idle() {
            return;
        }
        if farewell.is_err() {
            tokio::time::sleep(LAST_ANSWERS).await;
        }
    }
}

/// Answers a call, if the client may make it.
async fn answer(daemon: Arc<Daemon>, peer: Peer, method: Method, next: Next) -> Response<Body> {
    let (number, began) = (daemon.metrics.request(), Instant::now());
    let answer = match rights::may(&daemon, &peer, rights::right(method), method) {
        Ok(()) => log::within(number, next.answer()).await,
        Err(status) => next.refuse(status).await,
    };
    // a call that fails at once has its code in the head (gRPC over HTTP/2, "Responses")
    let code = answer
        .headers()
        .get("grpc-status")
        .and_then(|code| code.to_str().ok());
    let code = code.unwrap_or("0");
    daemon.metrics.called(method, code);
    let fields = [
        ("request", number.into()),
        ("method", method.into()),
        ("code", code.into()),
        ("uid", peer.user.into()),
        ("seconds", seconds(began.elapsed()).into()),
    ];
    log::say(Level::Debug, "call", &fields);
    answer
}

/// All methods that are answered.
fn methods(daemon: &Arc<Daemon>, peer: &Peer) -> Methods {
    let methods = control::methods(Methods::default(), daemon, peer);
    let methods = cache::methods(methods, daemon);
    results::methods(bridge::methods(methods, daemon), daemon)
}

/// How the engine's errors are told. `dockerfile` is the name and text of the file that lines are of.
fn refused(error: &Error, dockerfile: Option<&(String, Vec<u8>)>) -> Status {
    let code = match error.kind() {
        _ if error.lacks_image() => Code::NotFound,
        Kind::NotFound => Code::NotFound,
        Kind::Invalid => Code::InvalidArgument,
        Kind::Conflict => Code::FailedPrecondition,
        Kind::Unauthorized => Code::Unauthenticated,
        Kind::Forbidden => Code::PermissionDenied,
        Kind::Unsupported => Code::Unimplemented,
        Kind::Unavailable => Code::Unavailable,
        Kind::Cancelled => Code::Cancelled,
        // what BuildKit says of a step that failed
        Kind::Internal => Code::Unknown,
    };
    let message = error.describe_for_buildkit();
    let details = match (error.line(), dockerfile) {
        (Some(line), Some((name, text))) => vec![failed_at(line, name, text)],
        _ => Vec::new(),
    };
    status(code, message, details)
}

/// A failure with details.
fn status(code: Code, mut message: String, details: Vec<Any>) -> Status {
    if message.len() > TEXT_LIMIT {
        let end = (0..=TEXT_LIMIT).rev().find(|end| message.is_char_boundary(*end));
        message.truncate(end.unwrap_or_default());
        message.push('…');
    }
    let whole = solver::Status {
        code: code.into(),
        message: message.clone(),
        details,
    };
    // letters outside of ASCII take three bytes each, and details four for three (gRPC over HTTP/2, "Responses")
    let text: usize = message
        .bytes()
        .map(|byte| {
            if byte.is_ascii_graphic() || byte == b' ' {
                1
            } else {
                3
            }
        })
        .sum();
    if whole.details.is_empty() || text + whole.encoded_len() * 4 / 3 > HEADERS_LIMIT {
        return Status::new(code, message);
    }
    Status::with_details(code, message, whole.encode_to_vec().into())
}

/// A text as far as it is short or near a line; the other lines are empty, so that numbers of lines mean the same.
fn near(line: u32, text: &[u8]) -> Vec<u8> {
    if text.len() <= SOURCE_LIMIT {
        return text.to_vec();
    }
    let line = usize::try_from(line).unwrap_or(usize::MAX);
    let mut left = SOURCE_LIMIT;
    let mut found = Vec::new();
    for (number, text) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        if number > line.saturating_add(NEAR) {
            break;
        }
        if number.abs_diff(line) <= NEAR && text.len() < left {
            left -= text.len();
            found.extend_from_slice(text);
        }
        found.push(b'\n');
    }
    found
}

/// The lines that clients show of a file.
fn failed_at(line: u32, name: &str, text: &[u8]) -> Any {
    let position = Position {
        line: i32::try_from(line).unwrap_or(i32::MAX),
        character: 0,
    };
    let source = FailedSource {
        info: Some(SourceInfo {
            filename: name.to_owned(),
            data: near(line, text),
            language: "Dockerfile".to_owned(),
        }),
        ranges: vec![Range {
            start: Some(position),
            end: Some(position),
        }],
    };
    Any {
        type_url: FailedSource::TYPE_URL.to_owned(),
        value: source.encode_to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of the headers that tell of a failure, as they are written.
    fn headers(status: &Status) -> usize {
        let map = status.clone().into_http::<()>().headers().clone();
        map.iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 32)
            .sum()
    }

    #[test]
    fn failures_fit_into_headers() {
        let text = |length: usize, letter: &str| letter.repeat(length);
        for line in [
            text(10, "x"),
            text(3000, "x"),
            text(100_000, "x"),
            text(50_000, "ü"),
        ] {
            for lines in [1, 100, 100_000] {
                let file = format!(
                    "{}{line}\n{}",
                    "RUN a\n".repeat(lines - 1),
                    "RUN b\n".repeat(lines)
                );
                let line_number = u32::try_from(lines).unwrap();
                let detail = failed_at(line_number, "Dockerfile", file.as_bytes());
                let status = status(Code::Unknown, format!("failed: {line}"), vec![detail]);
                assert!(
                    headers(&status) < 16 << 10,
                    "{} of {lines} lines",
                    headers(&status)
                );
                assert!(status.message().starts_with("failed: "));
            }
        }
    }

    #[test]
    fn lines_keep_their_numbers() {
        let file: String = (1..=2000).map(|number| format!("RUN {number}\n")).collect();
        let left = String::from_utf8(near(1000, file.as_bytes())).unwrap();
        let lines: Vec<&str> = left.split('\n').collect();
        assert_eq!(
            (lines[998], lines[999], lines[1000]),
            ("RUN 999", "RUN 1000", "RUN 1001")
        );
        assert!(lines[0].is_empty() && lines[990].is_empty() && lines.len() < 1012);
        assert_eq!(near(3, b"a\nb\nc"), b"a\nb\nc");
        assert_eq!(
            near(0, file.as_bytes()).len(),
            near(1, file.as_bytes()).len() - "RUN 9\n".len()
        );
        near(u32::MAX, file.as_bytes());
    }
}
