//! Accepts connections and answers requests until told to stop.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue, SERVER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use mica_api::{API_VERSION, ErrorBody};
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use crate::answering::Answering;
use crate::connection::share;
use crate::crowd::{Crowd, Place};
use crate::daemon::Daemon;
use crate::descriptors::Waiting;
use crate::grpc;
use crate::listen::Listener;
use crate::log::{self, Level};
use crate::preface;
use crate::rights::Peer;
use crate::routes;
use crate::wire::reply::{Reply, json_bytes};

/// How long the head of a request may take, and an idle connection may stay (moby's ReadHeaderTimeout).
const HEAD_TIMEOUT: Duration = Duration::from_secs(300);
/// The longest head of a request in bytes. Clients send the credentials of all their registries in it.
const HEAD_LIMIT: usize = 512 << 10;
/// The most headers of a request.
const HEADERS_LIMIT: usize = 128;
/// How long to wait when the system has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The most who are told at one time that there is no room.
const REFUSALS_LIMIT: usize = 64;
/// How long somebody for whom there is no room may take to hear so.
const REFUSAL_TIME: Duration = Duration::from_secs(5);

/// Says when to stop; clones say the same.
pub(crate) type Stop = watch::Receiver<bool>;

/// Who is at the other end of a connection, and what they sent along.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Descriptors that wait for their request.
    pub(crate) waiting: Waiting,
    /// Who it is.
    pub(crate) peer: Peer,
    /// The connection's place among others.
    pub(crate) place: Place,
}

/// Accepts connections on all sockets until told to stop. Socket files are gone when this returns; connections that were accepted
/// go on and end by themselves.
pub(crate) async fn serve(daemon: Arc<Daemon>, listeners: Vec<Listener>, stop: Stop) -> io::Result<()> {
    let crowd = Crowd::new();
    let mut sockets = JoinSet::new();
    for listener in listeners {
        listener.socket.set_nonblocking(true)?;
        let socket = UnixListener::from_std(listener.socket.try_clone()?)?;
        let (daemon, crowd, mut stop) = (daemon.clone(), crowd.clone(), stop.clone());
        sockets.spawn(async move {
            let mut listener = listener;
            let told = stop.clone();
            tokio::select! {
                () = accept(&daemon, &socket, &crowd, &told) => {}
                // the sender is gone only when the program ends
                _ = stop.wait_for(|stop| *stop) => {}
            }
            listener.close();
        });
    }
    while sockets.join_next().await.is_some() {}
    Ok(())
}

async fn accept(daemon: &Arc<Daemon>, socket: &UnixListener, crowd: &Crowd, stop: &Stop) {
    let refusing = Arc::new(Semaphore::new(REFUSALS_LIMIT));
    loop {
        match socket.accept().await {
            Ok((stream, _)) => {
                let Some(place) = crowd.enter() else {
                    // of more than so many nobody is told
                    if let Ok(turn) = refusing.clone().try_acquire_owned() {
                        tokio::spawn(refuse(stream, crowd.limit(), turn));
                    }
                    continue;
                };
                let (daemon, stop) = (daemon.clone(), stop.clone());
                let busy = daemon.activity.begin();
                tokio::spawn(async move {
                    tokio::select! {
                        () = talk(daemon, stream, stop, place.clone()) => {}
                        () = place.told_to_leave() => {}
                    }
                    drop((busy, place));
                });
            }
            Err(error) => {
                log::say(Level::Warn, &format!("cannot accept a connection: {error}"), &[]);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Says that there is no room, whatever is asked, and waits a while for the client to have read it.
async fn refuse(mut stream: UnixStream, limit: usize, _turn: OwnedSemaphorePermit) {
    let body = ErrorBody {
        message: format!("too many connections: {limit} are busy, try again when some of them are done"),
    };
    let Ok(reply) = json_bytes(&body) else { return };
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n",
        reply.len()
    );
    let told = async {
        stream.write_all(&[head.as_bytes(), &reply].concat()).await?;
        stream.shutdown().await?;
        // what was sent already would make the client lose the answer
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    let _ = tokio::time::timeout(REFUSAL_TIME, told).await;
}

/// Answers the requests of one connection. When the client goes away everything that is done for it is dropped, and with it told to
/// stop.
async fn talk(daemon: Arc<Daemon>, stream: UnixStream, mut stop: Stop, place: Place) {
    let peer = Peer::of(&stream);
    let begins = tokio::time::timeout(HEAD_TIMEOUT, preface::is_http2(&stream));
    let is_http2 = tokio::select! {
        begins = begins => begins,
        _ = stop.wait_for(|stop| *stop) => return,
    };
    match is_http2 {
        Ok(Ok(false)) => {}
        Ok(Ok(true)) => {
            let _work = place.work();
            return talk_http2(daemon, peer, stream).await;
        }
        // nothing was said, or the client is gone
        Ok(Err(_)) | Err(_) => return,
    }
    let caller = Caller {
        waiting: Waiting::default(),
        peer,
        place,
    };
    let (bytes, client) = share(stream, caller.waiting.clone());
    let answer = service_fn(|request| answer(daemon.clone(), caller.clone(), request));
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_LIMIT)
            .max_headers(HEADERS_LIMIT)
            // a client that has sent all it has to say may still wait for the answer; whether it does, the watch knows
            .half_close(true)
            .serve_connection(TokioIo::new(bytes), answer)
            .with_upgrades()
    );
    let mut stopping = false;
    loop {
        tokio::select! {
            biased;
            // an error is the client's: garbage, or a connection that broke
            _ = connection.as_mut() => return,
            () = client.gone() => return,
            _ = stop.wait_for(|stop| *stop), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Answers gRPC on a connection that began with HTTP/2.
async fn talk_http2(daemon: Arc<Daemon>, peer: Peer, stream: UnixStream) {
    let (bytes, client) = share(stream, Waiting::default());
    tokio::select! {
        () = grpc::serve(&daemon, &peer, bytes) => {}
        () = client.gone() => {}
    }
}

async fn answer(
    daemon: Arc<Daemon>,
    caller: Caller,
    request: Request<Incoming>,
) -> Result<Reply, Infallible> {
    let work = caller.place.work();
    let seen = Answering::begin(&daemon, &caller.peer, &request);
    let answer = routes::dispatch(daemon, caller, request);
    let mut reply = match log::within(seen.request(), answer).await {
        Ok(reply) => reply,
        Err(failure) => failure.reply(),
    };
    seen.answered(&mut reply);
    reply.body_mut().hold(work);
    let headers = reply.headers_mut();
    let fixed = |name| HeaderName::from_static(name);
    headers.insert(fixed("api-version"), HeaderValue::from_static(API_VERSION));
    headers.insert(fixed("docker-experimental"), HeaderValue::from_static("false"));
    headers.insert(fixed("ostype"), HeaderValue::from_static("linux"));
    headers.insert(
        SERVER,
        HeaderValue::from_static(concat!("Docker/", env!("CARGO_PKG_VERSION"), " (linux)")),
    );
    Ok(reply)
}
