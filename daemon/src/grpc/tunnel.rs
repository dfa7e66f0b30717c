//! Sessions: on a connection of their own, or inside the one of `Control.Session`.

use std::sync::Arc;

use bytes::Bytes;
use mica_buildkit::message::control::BytesMessage;
use mica_buildkit::{Messages, Session};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming};

use crate::daemon::Daemon;
use crate::grpc::sessions::Named;

const NAME: &str = "x-docker-expose-session-uuid";
const SHARED_KEY: &str = "x-docker-expose-session-sharedkey";
const METHOD: &str = "x-docker-expose-session-grpc-method";

/// Bytes that wait between the two connections, each way.
const WAITING_BYTES: usize = 64 << 10;
/// How many messages wait for the client.
const WAITING: usize = 4;

/// What a client says of its session before it begins.
pub(crate) struct Announced {
    name: String,
    shared_key: String,
    methods: Vec<String>,
}

impl Announced {
    /// Reads headers; `all` gives all values of one.
    pub(crate) fn read(all: impl Fn(&str) -> Vec<String>) -> Result<Self, String> {
        let first = |name: &str| all(name).into_iter().next().unwrap_or_default();
        let name = first(NAME);
        if name.is_empty() {
            return Err(format!("a session without {NAME}"));
        }
        Ok(Self {
            name,
            shared_key: first(SHARED_KEY),
            methods: all(METHOD),
        })
    }

    /// Attaches the session at the other end of a connection, and carries it until one of both leaves.
    pub(crate) async fn carry<C>(self, daemon: &Daemon, connection: C)
    where
        C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // a client that speaks something else is gone with its connection
        let Ok((session, attached)) = Session::attach(connection, self.methods).await else {
            return;
        };
        let named = Named {
            session,
            // who says nothing of a folder shares what is known of it with nobody
            shared_key: match self.shared_key.is_empty() {
                true => self.name.clone(),
                false => self.shared_key,
            },
        };
        let number = daemon.sessions.begin(self.name.clone(), named);
        tokio::select! {
            () = attached.carry() => {}
            () = daemon.drained() => {}
        }
        daemon.sessions.end(&self.name, number);
    }
}

/// `Control.Session`: the messages are the bytes of a session's connection.
pub(super) async fn session(
    daemon: Arc<Daemon>,
    request: Request<Streaming<BytesMessage>>,
) -> Result<Messages<BytesMessage>, Status> {
    let metadata = request.metadata();
    let all = |name: &str| {
        let values = metadata.get_all(name).iter();
        values
            .filter_map(|value| Some(value.to_str().ok()?.to_owned()))
            .collect()
    };
    let announced = Announced::read(all).map_err(Status::invalid_argument)?;
    let (inner, outer) = tokio::io::duplex(WAITING_BYTES);
    let (mut from, mut to) = tokio::io::split(outer);
    let (sender, receiver) = mpsc::channel(WAITING);
    let mut messages = request.into_inner();
    let busy = daemon.activity.begin();
    tokio::spawn(async move {
        let incoming = async {
            while let Ok(Some(message)) = messages.message().await {
                if to.write_all(&message.data).await.is_err() {
                    return;
                }
            }
        };
        let outgoing = async {
            let mut buffer = vec![0; WAITING_BYTES];
            while let Ok(count @ 1..) = from.read(&mut buffer).await {
                let data = Bytes::copy_from_slice(&buffer[..count]);
                if sender.send(BytesMessage { data }).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = announced.carry(&daemon, inner) => {}
            () = incoming => {}
            () = outgoing => {}
        }
        drop(busy);
    });
    Ok(Box::pin(ReceiverStream::new(receiver).map(Ok)))
}
