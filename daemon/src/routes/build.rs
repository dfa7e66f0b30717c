//! Building images as the classic builder's clients ask for it, and pruning the build cache.

use std::io;

use bytes::Bytes;
use hyper::StatusCode;
use jiff::Timestamp;
use mica_api::{BuildInput, BuildPruneReport};
use mica_engine::{
    BodyReader, Budget, BuildOutcome, BuildRequest, CacheSelection, CancelOnDrop, Engine, Error, Events,
    Input, PruneWatch, Source, blocking, events,
};
use mica_task::{Cancel, Cancellable, Event};
use tokio::sync::{mpsc, oneshot};

use crate::daemon::Registered;
use crate::descriptors::Descriptors;
use crate::grpc::build_right;
use crate::rights::Peer;
use crate::routes::Call;
use crate::routes::build_query::{Builder, builder, request, style};
use crate::routes::{build_input, build_session, prune};
use crate::wire::credential;
use crate::wire::filter::Filters;
use crate::wire::query::Query;
use crate::wire::reply::{Failure, JSON, Pieces, Reply, empty, pieces};
use crate::wire::telling::{Manner, Telling};
use crate::wire::time;
use crate::wire::upload::look_for_room;
use crate::wire::version::ApiVersion;
use crate::work::{Task, familiar};

/// How many pieces of the stream wait for a slow client.
pub(super) const WAITING: usize = 8;

/// How many bytes are put together in a piece, where more is told at once than the client takes.
const PIECE: usize = 64 << 10;

const PRUNE_FILTERS: [&str; 9] = [
    "until",
    "unused-for",
    "id",
    "parent",
    "type",
    "description",
    "inuse",
    "shared",
    "private",
];

/// The request's body; reading it fails once the build is cancelled.
type Body = Cancellable<BodyReader>;

type Ending = oneshot::Receiver<Result<BuildOutcome, Error>>;

/// `POST /build`. What fails before anything was told is answered with a status; from then on the stream tells everything.
pub(crate) async fn build(call: Call) -> Result<Reply, Failure> {
    if builder(&call.query)? == Builder::BuildKit {
        return build_session::build(call).await;
    }
    let request = request(&call.query)?;
    let remote = call.query.filled("remote").map(str::to_owned);
    start(call, request, Manner::Classic, |_, _, context| {
        Ok(Input::of(match remote {
            Some(address) => Source::Address(address),
            None => Source::Tar(Box::new(context)),
        }))
    })
    .await
}

/// `POST /mica/build`: the same with what the query parameter `input` names, and told as vertices if asked for with
/// `progress=status`.
pub(crate) async fn build_here(call: Call) -> Result<Reply, Failure> {
    if builder(&call.query)? == Builder::BuildKit {
        return Err(Failure::invalid("version=2 has a door of its own: /build"));
    }
    let mut request = request(&call.query)?;
    let mut wire: BuildInput = call.query.json("input")?;
    build_input::adopt(&mut wire, &mut request)?;
    let manner = match call.query.filled("progress") {
        None => Manner::Classic,
        Some("status") => Manner::Status,
        Some(other) => {
            return Err(Failure::invalid(format!(
                "invalid progress {other:?}: use status"
            )));
        }
    };
    start(call, request, manner, |descriptors, peer, context| {
        build_input::take(wire, descriptors, peer, context)
    })
    .await
}

/// Builds what `input` makes of the request's descriptors and body.
async fn start(
    mut call: Call,
    mut request: BuildRequest,
    manner: Manner,
    input: impl FnOnce(Descriptors, Peer, Body) -> Result<Input, Failure> + Send + 'static,
) -> Result<Reply, Failure> {
    let (right, what) = build_right(&request, false);
    call.may(right, what)?;
    look_for_room(&call.daemon.engine, &call.headers, "the build context").await?;
    request.credentials = credential::all(&call.headers).into();
    let (daemon, tags, user) = (call.daemon.clone(), request.tags.clone(), call.peer.user);
    let cancel = Cancel::new();
    let registered = call.daemon.builds.begin(call.query.filled("buildid"), &cancel);
    let mut stream = Telling::new(style(&call.query), manner, registered.number());
    // a client that goes away drops this, wherever it is by then
    let guard = CancelOnDrop::new(cancel.clone());
    let (reporter, mut told) = events();
    let (end, mut ending) = oneshot::channel();
    let (engine, busy) = (call.daemon.engine.clone(), call.busy.clone());
    let (descriptors, peer) = (std::mem::take(&mut call.descriptors), call.peer);
    let context = cancel.guard(call.upload.into_reader());
    // reading what was handed over may wait for a disk
    let input = blocking(move || Ok(input(descriptors, peer, context))).await??;
    let work = daemon.work(Task::Build, familiar(&tags));
    tokio::spawn(async move {
        let built = blocking(move || {
            let built = engine.build(request, input, reporter, cancel);
            drop(busy);
            built
        });
        let built = built.await;
        if built.is_ok() {
            tags.iter().for_each(|tag| daemon.names.given(user, tag));
        }
        work.end(&built);
        // nobody may be left who wants to know
        let _ = end.send(built);
    });
    // the reporter goes with the work, so the end of the events is the end of the work
    let Some(first) = first(&mut told, &stream).await else {
        return match result(&mut ending).await {
            Ok(outcome) => Ok(whole_stream(stream.finish(&outcome), guard)),
            Err(error) => Err(error.into()),
        };
    };
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(tell(stream, first, told, ending, sender, registered));
    Ok(pieces(JSON, Pieces::new(receiver, guard)))
}

/// The first event that an answer begins with.
async fn first(told: &mut Events, stream: &Telling) -> Option<Event> {
    loop {
        let event = told.recv().await?;
        if !stream.is_early(&event) {
            return Some(event);
        }
    }
}

fn whole_stream(lines: Bytes, guard: CancelOnDrop) -> Reply {
    let (sender, receiver) = mpsc::channel(1);
    // there is room for one
    let _ = sender.try_send(Ok(lines));
    pieces(JSON, Pieces::new(receiver, guard))
}

async fn result(ending: &mut Ending) -> Result<BuildOutcome, Error> {
    ending.await.unwrap_or(Err(Error::Worker))
}

/// Turns events into lines until the build ends, then tells how it ended.
async fn tell(
    mut stream: Telling,
    first: Event,
    mut told: Events,
    mut ending: Ending,
    sender: mpsc::Sender<io::Result<Bytes>>,
    registered: Registered,
) {
    let mut next = Some(first);
    while let Some(event) = next {
        let mut lines = Vec::from(stream.event(event));
        while let Some(event) = (lines.len() < PIECE).then(|| told.try_recv().ok()).flatten() {
            lines.extend_from_slice(&stream.event(event));
        }
        if !lines.is_empty() && sender.send(Ok(lines.into())).await.is_err() {
            // the client is gone: events vanish from here on
            break;
        }
        next = told.recv().await;
    }
    drop(told);
    let last = match result(&mut ending).await {
        Ok(outcome) => stream.finish(&outcome),
        Err(error) => stream.fail(&error.describe(), error.exit_code()),
    };
    drop(registered);
    // a client that is gone does not wait for the end
    let _ = sender.send(Ok(last)).await;
}

/// `POST /build/cancel`
pub(crate) fn cancel(call: &Call) -> Result<Reply, Failure> {
    let Some(id) = call.query.filled("id") else {
        return Err(Failure::invalid("build ID not provided"));
    };
    call.daemon.builds.cancel(id);
    Ok(empty(StatusCode::OK))
}

/// `POST /build/prune`
pub(crate) async fn prune(call: Call) -> Result<Reply, Failure> {
    let selection = cache_selection(&call)?;
    let prune = move |engine: &Engine, watch: &mut PruneWatch<'_>| engine.prune_cache(&selection, watch);
    prune::answer(call, "build cache", prune, |pruned| BuildPruneReport {
        caches_deleted: pruned.keys.iter().map(|key| key.digest().hex()).collect(),
        space_reclaimed: pruned.bytes,
    })
    .await
}

fn cache_selection(call: &Call) -> Result<CacheSelection, Failure> {
    let query = &call.query;
    let filters = Filters::of(query, &PRUNE_FILTERS)?;
    let shared = match filters.truth("private")? {
        Some(private) => Some(!private),
        None => filters.truth("shared")?,
    };
    Ok(CacheSelection {
        all: query.flag("all", false),
        unused_since: unused_since(&filters)?,
        ids: filters.values("id").to_vec(),
        parents: filters.values("parent").to_vec(),
        descriptions: filters.values("description").to_vec(),
        types: filters.values("type").to_vec(),
        in_use: filters.truth("inuse")?,
        shared,
        budget: budget(query, call.version)?,
    })
}

/// How much of the cache stays; 0 and less mean nothing. `keep-storage` is the older name of `reserved-space`.
fn budget(query: &Query, version: ApiVersion) -> Result<Budget, Failure> {
    let bytes = |name: &str| -> Result<Option<u64>, Failure> {
        let Some(text) = query.filled(name) else {
            return Ok(None);
        };
        let number: i64 = text.parse().map_err(|_| {
            Failure::invalid(format!("{name} is in bytes and expects an integer, got {text}"))
        })?;
        Ok(u64::try_from(number).ok().filter(|bytes| *bytes > 0))
    };
    if version < ApiVersion::v1(48) {
        return Ok(Budget {
            reserved: bytes("keep-storage")?,
            ..Budget::default()
        });
    }
    let reserved = match bytes("reserved-space")? {
        None => bytes("keep-storage")?,
        reserved => reserved,
    };
    Ok(Budget {
        reserved,
        most: bytes("max-used-space")?,
        free: bytes("min-free-space")?,
    })
}

/// `unused-for` is the older name of `until`; both are durations, or points in time.
fn unused_since(filters: &Filters) -> Result<Option<Timestamp>, Failure> {
    let (key, values) = match (filters.values("until"), filters.values("unused-for")) {
        (until, []) => ("until", until),
        ([], older) => ("unused-for", older),
        _ => {
            return Err(Failure::invalid(
                "conflicting filters: \"until\" and \"unused-for\"",
            ));
        }
    };
    match values {
        [] => Ok(None),
        [text] => match time::read(text, Timestamp::now()) {
            Some(time) => Ok(Some(time)),
            None => Err(Failure::invalid(format!(
                "{key:?} filter expects a duration (e.g., '24h') or a timestamp"
            ))),
        },
        _ => Err(Failure::invalid("filters expect only one value")),
    }
}
