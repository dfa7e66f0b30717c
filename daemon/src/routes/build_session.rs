//! `POST /build?version=2`: builds as clients of the older BuildKit ask for them, over a session that they opened before
//! (engine API contract, sections 2.11 and 5).

use std::io::{self, Read};
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use mica_buildkit::message::control::Exporter;
use mica_engine::BodyReader;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::grpc::{self, Order, Origin, Told};
use crate::routes::Call;
use crate::routes::build::WAITING;
use crate::routes::build_query::{output, request, style};
use crate::wire::credential;
use crate::wire::query::Query;
use crate::wire::reply::{Failure, JSON, Pieces, Reply, empty, pieces};
use crate::wire::trace::TraceStream;

/// How long a session may take to begin; a build with one that takes longer fails where it asks for something.
const BEGIN: Duration = Duration::from_secs(5);

/// As `remote`: the context is a folder that the session sends.
const SESSION: &str = "client-session";
/// As `remote`: the context comes with another request.
const UPLOAD: &str = "upload-request";
/// Before the build's ID as the ID of that request.
const UPLOAD_FOR: &str = "upload-request:";

/// Builds. What is wrong with the request is answered with a status, all else is told in the stream: a client cannot ask for the build to
/// be stopped before the answer has begun.
pub(crate) async fn build(mut call: Call) -> Result<Reply, Failure> {
    let name = call.query.filled("buildid").map(str::to_owned);
    if let Some(build) = name.as_deref().and_then(|name| name.strip_prefix(UPLOAD_FOR)) {
        return upload(call, build).await;
    }
    let session = match call.query.filled("session") {
        Some(name) => {
            let named = call.daemon.sessions.get(name).await.map_err(failure)?;
            // before anything is refused: docker 20.10 ends its session when it hears of that, and waits for ever if it was not done
            // beginning it
            let _ = tokio::time::timeout(BEGIN, named.session.begun()).await;
            Some(named)
        }
        None => None,
    };
    let mut request = request(&call.query)?;
    // of a client whose session knows none
    request.credentials = credential::all(&call.headers).into();
    let style = style(&call.query);
    let output = output(&call.query)?.map(|output| Exporter {
        kind: output.kind,
        attrs: output.attrs.unwrap_or_default(),
    });
    let pushes = output.as_ref().is_some_and(|output| grpc::is_push(&output.attrs));
    let (right, what) = grpc::build_right(&request, pushes);
    call.may(right, what)?;
    let user = call.peer.user;
    let origin = match origin(&call.query, name.as_deref())? {
        Some(origin) => origin,
        None => {
            call.upload = call.upload.wanted(&call.headers).await;
            Origin::Tar(Box::new(call.upload.into_reader()))
        }
    };
    let order = Order {
        name,
        session,
        request,
        origin,
        output,
        user,
    };
    let (told, ending) = grpc::begin(&call.daemon, order).map_err(failure)?;
    let (sender, receiver) = mpsc::channel(WAITING);
    // a client that goes away drops this, and with it the build
    let mut work = JoinSet::new();
    let (stream, busy) = (TraceStream::new(style.quiet), call.busy);
    work.spawn(async move {
        tell(stream, told, ending, sender).await;
        drop(busy);
    });
    Ok(pieces(JSON, Pieces::new(receiver, work)))
}

/// Where the context is from; nothing if it is the request's body.
fn origin(query: &Query, name: Option<&str>) -> Result<Option<Origin>, Failure> {
    match query.filled("remote") {
        None => Ok(None),
        Some(SESSION) => Ok(Some(Origin::Folder)),
        Some(UPLOAD) if name.is_none() => Err(Failure::invalid(
            "an upload needs a buildid, by which it is known",
        )),
        Some(UPLOAD) => Ok(Some(Origin::Upload)),
        Some(address) => Ok(Some(Origin::Address(address.to_owned()))),
    }
}

/// Tells what is told until the build has ended, then how it ended.
async fn tell(
    mut stream: TraceStream,
    mut told: Told,
    ending: impl Future<Output = Result<Option<String>, Status>>,
    sender: mpsc::Sender<io::Result<Bytes>>,
) {
    let telling = async {
        while let Some(status) = told.recv().await {
            let line = stream.status(&status);
            if !line.is_empty() && sender.send(Ok(line)).await.is_err() {
                // the client is gone, and so is this in a moment
                return;
            }
        }
    };
    let (ended, ()) = tokio::join!(ending, telling);
    let last = match ended {
        Ok(image) => stream.finish(image),
        Err(status) => stream.fail(status.message()),
    };
    // as above
    let _ = sender.send(Ok(last)).await;
}

/// The context of a build that another request asks for. Answered when it was read, or is not wanted any more.
async fn upload(call: Call, build: &str) -> Result<Reply, Failure> {
    let (end, ended) = oneshot::channel();
    let upload = call.upload.wanted(&call.headers).await;
    let tar = Awaited {
        reader: upload.into_reader(),
        _end: end,
    };
    grpc::upload(&call.daemon, build, Box::new(tar))
        .await
        .map_err(failure)?;
    // dropped, not sent
    let _ = ended.await;
    Ok(empty(StatusCode::OK))
}

/// A body whose end somebody waits for.
struct Awaited {
    reader: BodyReader,
    _end: oneshot::Sender<()>,
}

impl Read for Awaited {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

/// What cannot be begun, in HTTP's words.
fn failure(status: Status) -> Failure {
    let code = match status.code() {
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::AlreadyExists | Code::FailedPrecondition => StatusCode::CONFLICT,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable | Code::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Failure::new(code, status.message())
}
