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
use hyper::service::{HttpService, service_fn};
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
use crate::wire::reply::{Reply, ReplyBody, json_bytes};

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
                    talk(daemon, stream, stop, place).await;
                    drop(busy);
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
async fn talk(daemon: Arc<Daemon>, stream: UnixStream, stop: Stop, place: Place) {
    let peer = Peer::of(&stream);
    match begins_http2(&stream, stop.clone(), &place).await {
        None => {}
        Some(true) => talk_http2(daemon, peer, stream, &place).await,
        Some(false) => {
            let caller = Caller {
                waiting: Waiting::default(),
                peer,
                place: place.clone(),
            };
            let waiting = caller.waiting.clone();
            let answer = service_fn(|request| answer(daemon.clone(), caller.clone(), request));
            talk_http1(stream, waiting, stop, &place, answer).await;
        }
    }
}

/// Whether a client begins with HTTP/2; `None` if it says nothing, is gone, has to make room, or the daemon is told to leave.
async fn begins_http2(stream: &UnixStream, mut stop: Stop, place: &Place) -> Option<bool> {
    tokio::select! {
        begins = tokio::time::timeout(HEAD_TIMEOUT, preface::is_http2(stream)) => begins.ok()?.ok(),
        _ = stop.wait_for(|stop| *stop) => None,
        () = place.told_to_leave() => None,
    }
}

/// Answers requests with `answer` until the client is gone, has to make room, or takes too long for the head of one.
async fn talk_http1<S>(stream: UnixStream, waiting: Waiting, mut stop: Stop, place: &Place, answer: S)
where
    S: HttpService<Incoming, ResBody = ReplyBody, Error = Infallible>,
{
    let (bytes, client) = share(stream, waiting);
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
            () = place.told_to_leave() => return,
            _ = stop.wait_for(|stop| *stop), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Answers gRPC on a connection that began with HTTP/2.
async fn talk_http2(daemon: Arc<Daemon>, peer: Peer, stream: UnixStream, place: &Place) {
    let (bytes, client) = share(stream, Waiting::default());
    tokio::select! {
        () = grpc::serve(&daemon, &peer, place, bytes) => {}
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

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::StatusCode;
    use tokio::io::AsyncReadExt;
    use tokio::time::Instant;

    use crate::wire::reply::empty;

    /// Answers what a client sends, until it is hung up on; what it heard, and how long that took.
    async fn told(sent: &[u8]) -> (String, Duration) {
        let (mut client, server) = UnixStream::pair().unwrap();
        let place = Crowd::new().enter().unwrap();
        let (_stopping, stop) = watch::channel(false);
        let began = Instant::now();
        client.write_all(sent).await.unwrap();
        tokio::spawn(async move {
            if begins_http2(&server, stop.clone(), &place).await == Some(false) {
                let answer = service_fn(async |_| Ok::<Reply, Infallible>(empty(StatusCode::OK)));
                talk_http1(server, Waiting::default(), stop, &place, answer).await;
            }
        });
        let mut heard = Vec::new();
        // a reset, where bytes of the client's were not read, is an end too
        let _ = client.read_to_end(&mut heard).await;
        (String::from_utf8(heard).unwrap(), began.elapsed())
    }

    /// The clock goes on when there is nothing else to wait for.
    #[tokio::test(start_paused = true)]
    async fn who_does_not_end_the_head_of_a_request_is_hung_up_on() {
        for (sent, answers) in [
            ("", 0),
            ("P", 0),
            ("GET /_pi", 0),
            ("GET /_ping HTTP/1.1\r\nHost: x\r\nX: ", 0),
            ("GET /_ping HTTP/1.1\r\nHost: x\r\n\r\nGET /_pi", 1),
            // idle after an answer
            ("GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n", 1),
        ] {
            let (heard, took) = told(sent.as_bytes()).await;
            assert_eq!(
                heard.matches("HTTP/1.1 200").count(),
                answers,
                "{sent:?}: {heard}"
            );
            assert!(
                took >= HEAD_TIMEOUT && took < HEAD_TIMEOUT + REFUSAL_TIME,
                "{sent:?}: {took:?}"
            );
        }
    }
}
