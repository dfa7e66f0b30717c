//! A client's session: the services that it answers on a connection which it opened.

use std::collections::HashSet;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codegen::http::uri::{PathAndQuery, Uri};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstCodec;
use tower_service::Service;

use crate::message::control::{BytesMessage, HealthRequest, HealthResponse};
use crate::message::session::{
    CheckAgentRequest, CheckAgentResponse, CredentialsRequest, CredentialsResponse, GetSecretRequest,
    GetSecretResponse,
};
use crate::service::Method;
use crate::{CONNECTION_WINDOW, MESSAGE_LIMIT, STREAM_WINDOW};

const CREDENTIALS: Method = "/moby.filesync.v1.Auth/Credentials";
const SECRET: Method = "/moby.buildkit.secrets.v1.Secrets/GetSecret";
const CHECK_AGENT: Method = "/moby.sshforward.v1.SSH/CheckAgent";
const FORWARD_AGENT: Method = "/moby.sshforward.v1.SSH/ForwardAgent";
const HEALTH: Method = "/grpc.health.v1.Health/Check";
const UPLOAD: Method = "/moby.upload.v1.Upload/Pull";
pub(crate) const SEND: Method = "/moby.filesync.v1.FileSend/DiffCopy";
pub(crate) const SYNC: Method = "/moby.filesync.v1.FileSync/DiffCopy";

/// In the metadata of a forwarded agent: which.
const AGENT_ID: &str = "buildkit.ssh.id";
/// In the metadata of an upload: what of it.
const UPLOAD_PATH: &str = "urlpath";

/// Why a session does not answer.
#[derive(Debug, Error)]
pub enum SessionError {
    /// The client speaks no HTTP/2.
    #[error("the client's session does not speak HTTP/2")]
    Handshake(#[source] hyper::Error),
    /// The client offers no such service.
    #[error("the client's session does not offer {0}")]
    NotOffered(Method),
    /// The client said no, or is gone.
    #[error("the client's session: {}", .0.message())]
    Refused(Box<Status>),
}

impl From<Status> for SessionError {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

/// A session. Clones share it.
#[derive(Clone)]
pub struct Session {
    channel: Channel,
    offered: Arc<HashSet<String>>,
    gone: watch::Receiver<bool>,
}

/// The connection of a session; while it is awaited the session answers.
pub struct Attached(BoxFuture<'static, ()>);

impl Attached {
    /// Carries the session until its client goes away.
    pub async fn carry(self) {
        self.0.await;
    }
}

impl Session {
    /// Attaches the client at the other end of a connection. `offered` are the methods it answers, as it names them.
    ///
    /// # Errors
    /// If the client does not speak HTTP/2.
    pub async fn attach<C>(
        connection: C,
        offered: impl IntoIterator<Item = String>,
    ) -> Result<(Self, Attached), SessionError>
    where
        C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let handshake = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(TokioIo::new(connection))
            .await;
        let (sender, connection) = handshake.map_err(SessionError::Handshake)?;
        let (told, gone) = watch::channel(false);
        let carried = async move {
            // how it ends makes no difference: the client is gone
            let _ = connection.await;
            let _ = told.send(true);
        };
        let session = Self {
            channel: Channel(sender),
            // BuildKit compares them without regard to case
            offered: Arc::new(
                offered
                    .into_iter()
                    .map(|method| method.to_ascii_lowercase())
                    .collect(),
            ),
            gone,
        };
        Ok((session, Attached(Box::pin(carried))))
    }

    /// Waits until the client is gone.
    pub async fn gone(&self) {
        let mut gone = self.gone.clone();
        // the sender goes when the connection does
        let _ = gone.wait_for(|gone| *gone).await;
    }

    /// Waits until the client has answered once, whatever it says: from then on it listens for the session's end too.
    pub async fn begun(&self) {
        let service = String::new();
        // those who have no such method say so, and that is an answer
        let _ = self
            .call::<_, HealthResponse>(HEALTH, MetadataMap::new(), HealthRequest { service })
            .await;
    }

    /// Whether the client answers this method.
    pub fn offers(&self, method: Method) -> bool {
        self.offered.contains(&method.to_ascii_lowercase())
    }

    /// The credentials that the client has for a registry; `None` if it has none.
    ///
    /// # Errors
    /// If the client cannot be asked.
    pub async fn credentials(&self, host: &str) -> Result<Option<(String, String)>, SessionError> {
        let request = CredentialsRequest {
            host: host.to_owned(),
        };
        let answer: CredentialsResponse = match self.ask(CREDENTIALS, request).await {
            Ok(answer) => answer,
            Err(SessionError::NotOffered(_)) => return Ok(None),
            Err(SessionError::Refused(status)) if is_none(&status) => return Ok(None),
            Err(error) => return Err(error),
        };
        let known = !answer.secret.is_empty() || !answer.username.is_empty();
        Ok(known.then_some((answer.username, answer.secret)))
    }

    /// A secret; `None` if the client has none of that name.
    ///
    /// # Errors
    /// If the client cannot be asked.
    pub async fn secret(&self, id: &str) -> Result<Option<Vec<u8>>, SessionError> {
        let request = GetSecretRequest { id: id.to_owned() };
        match self.ask::<_, GetSecretResponse>(SECRET, request).await {
            Ok(answer) => Ok(Some(answer.data)),
            Err(SessionError::NotOffered(_)) => Ok(None),
            Err(SessionError::Refused(status)) if is_none(&status) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the client has an agent of this name.
    ///
    /// # Errors
    /// If the client cannot be asked.
    pub async fn has_agent(&self, id: &str) -> Result<bool, SessionError> {
        let request = CheckAgentRequest { id: id.to_owned() };
        match self.ask::<_, CheckAgentResponse>(CHECK_AGENT, request).await {
            Ok(CheckAgentResponse {}) => Ok(true),
            Err(SessionError::NotOffered(_) | SessionError::Refused(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Talks to the client's agent: what is sent goes to it, what it says comes back.
    ///
    /// # Errors
    /// If the client cannot be asked.
    pub async fn agent(
        &self,
        id: &str,
        sent: impl Stream<Item = BytesMessage> + Send + 'static,
    ) -> Result<Answers<BytesMessage>, SessionError> {
        self.exchange(FORWARD_AGENT, plain(AGENT_ID, id)?, sent).await
    }

    /// What the client uploads at this path of its own, such as a Dockerfile it was given on its standard input.
    ///
    /// # Errors
    /// If the client cannot be asked.
    pub async fn upload(&self, path: &str) -> Result<Answers<BytesMessage>, SessionError> {
        let nothing = tokio_stream::empty::<BytesMessage>();
        self.exchange(UPLOAD, plain(UPLOAD_PATH, path)?, nothing).await
    }

    async fn ask<Q, R>(&self, method: Method, request: Q) -> Result<R, SessionError>
    where
        Q: Message + Send + 'static,
        R: Message + Default + Send + 'static,
    {
        self.ask_with(method, MetadataMap::new(), request).await
    }

    pub(crate) async fn ask_with<Q, R>(
        &self,
        method: Method,
        metadata: MetadataMap,
        request: Q,
    ) -> Result<R, SessionError>
    where
        Q: Message + Send + 'static,
        R: Message + Default + Send + 'static,
    {
        if !self.offers(method) {
            return Err(SessionError::NotOffered(method));
        }
        self.call(method, metadata, request).await
    }

    async fn call<Q, R>(&self, method: Method, metadata: MetadataMap, request: Q) -> Result<R, SessionError>
    where
        Q: Message + Send + 'static,
        R: Message + Default + Send + 'static,
    {
        let mut grpc = self.grpc().await?;
        let codec = ProstCodec::<Q, R>::default();
        let path = PathAndQuery::from_static(method);
        let mut request = tonic::Request::new(request);
        *request.metadata_mut() = metadata;
        let answer = grpc.unary(request, path, codec).await?;
        Ok(answer.into_inner())
    }

    /// Begins a call in which both sides send any number of messages. The client need not answer before it was told
    /// something, so nothing is waited for here.
    pub(crate) async fn exchange<Q, R>(
        &self,
        method: Method,
        metadata: MetadataMap,
        sent: impl Stream<Item = Q> + Send + 'static,
    ) -> Result<Answers<R>, SessionError>
    where
        Q: Message + Send + 'static,
        R: Message + Default + Send + 'static,
    {
        if !self.offers(method) {
            return Err(SessionError::NotOffered(method));
        }
        let mut grpc = self.grpc().await?;
        let mut request = tonic::Request::new(sent);
        *request.metadata_mut() = metadata;
        let codec = ProstCodec::<Q, R>::default();
        let path = PathAndQuery::from_static(method);
        Ok(Answers::Awaited(tokio::spawn(async move {
            grpc.streaming(request, path, codec)
                .await
                .map(tonic::Response::into_inner)
        })))
    }

    async fn grpc(&self) -> Result<Grpc<Channel>, SessionError> {
        // HTTP/2 wants to know whom it asks, though there is only one
        let mut grpc = Grpc::with_origin(self.channel.clone(), Uri::from_static("http://client"))
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(MESSAGE_LIMIT);
        let ready = grpc.ready().await;
        ready.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(grpc)
    }
}

/// What a client answers, message by message. Dropping it ends the call.
pub enum Answers<T> {
    /// It has not begun to.
    Awaited(JoinHandle<Result<Streaming<T>, Status>>),
    /// It has.
    Begun(Box<Streaming<T>>),
    /// That was all.
    Over,
}

impl<T> Answers<T> {
    /// The next message; `None` after the last.
    ///
    /// # Errors
    /// If the client fails or is gone.
    pub async fn next(&mut self) -> Result<Option<T>, SessionError> {
        if let Self::Awaited(task) = self {
            let begun = task.await.map_err(|_| Status::internal("the call broke down"));
            *self = Self::Over;
            *self = Self::Begun(Box::new(begun??));
        }
        match self {
            Self::Begun(messages) => Ok(messages.message().await?),
            _ => Ok(None),
        }
    }
}

impl<T> Drop for Answers<T> {
    fn drop(&mut self) {
        if let Self::Awaited(task) = self {
            task.abort();
        }
    }
}

/// Metadata of one entry.
pub(crate) fn plain(key: &'static str, value: &str) -> Result<MetadataMap, SessionError> {
    let mut map = MetadataMap::new();
    let value = MetadataValue::try_from(value)
        .map_err(|_| Status::invalid_argument(format!("{key} {value:?} is not of printable characters")))?;
    map.insert(key, value);
    Ok(map)
}

/// Whether an answer means that there is nothing rather than that something is wrong.
fn is_none(status: &Status) -> bool {
    matches!(status.code(), Code::NotFound | Code::Unimplemented)
}

/// The connection, as tonic takes it.
#[derive(Clone)]
struct Channel(http2::SendRequest<Body>);

impl Service<Request<Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, Result<Response<Incoming>, hyper::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
