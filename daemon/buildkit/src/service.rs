//! A gRPC server on one connection: a table of methods by path.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::server::{Grpc, ServerStreamingService, StreamingService, UnaryService};
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

use crate::{CONNECTION_WINDOW, MESSAGE_LIMIT, STREAM_WINDOW};

/// The most calls of one connection that go on at the same time.
const CALLS_LIMIT: u32 = 256;
/// The longest head of a call in bytes.
const HEAD_LIMIT: u32 = 64 << 10;

type Answer<T> = Pin<Box<dyn Future<Output = Result<T, Status>> + Send>>;
type Handler =
    Arc<dyn Fn(Request<Incoming>) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> + Send + Sync>;

/// Messages that come one after the other.
pub type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// How much of a refused call's messages is read away, in bytes, and how long that may take.
const DRAIN_LIMIT: usize = 16 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(10);
/// How long a refusal waits for the end of what is refused.
const PATIENCE: Duration = Duration::from_millis(500);

/// A call that is not answered yet.
pub struct Next {
    handler: Handler,
    request: Request<Incoming>,
}

impl Next {
    /// Answers it.
    pub async fn answer(self) -> Response<Body> {
        (self.handler)(self.request).await
    }

    /// Refuses it, once the client has sent what it has to send or taken its time. What still comes is read away meanwhile: the client
    /// would otherwise see a broken stream instead of the status.
    pub async fn refuse(self, status: Status) -> Response<Body> {
        let mut body = self.request.into_body();
        let draining = tokio::spawn(tokio::time::timeout(DRAIN_TIME, async move {
            let mut read = 0;
            while let Some(Ok(frame)) = body.frame().await {
                read += frame.data_ref().map_or(0, Bytes::len);
                if read > DRAIN_LIMIT {
                    return;
                }
            }
        }));
        // it goes on in the background if it takes longer
        let _ = tokio::time::timeout(PATIENCE, draining).await;
        status.into_http()
    }
}

/// The path of a method: `/package.Service/Method`.
pub type Method = &'static str;

/// Methods by path. A path that is not among them is answered with "unimplemented".
#[derive(Clone, Default)]
pub struct Methods(HashMap<Method, Handler>);

/// A function as one of tonic's services.
struct Call<F, A>(F, PhantomData<fn() -> A>);

impl<F, A> Call<F, A> {
    fn of(function: F) -> Self {
        Self(function, PhantomData)
    }
}

impl<F, A, Q, R> UnaryService<Q> for Call<F, A>
where
    F: Fn(tonic::Request<Q>) -> A,
    A: Future<Output = Result<R, Status>> + Send + 'static,
    R: Message + 'static,
{
    type Response = R;
    type Future = Answer<tonic::Response<R>>;

    fn call(&mut self, request: tonic::Request<Q>) -> Self::Future {
        let answer = (self.0)(request);
        Box::pin(async move { answer.await.map(tonic::Response::new) })
    }
}

impl<F, A, Q, R> ServerStreamingService<Q> for Call<F, A>
where
    F: Fn(tonic::Request<Q>) -> A,
    A: Future<Output = Result<Messages<R>, Status>> + Send + 'static,
    R: Message + 'static,
{
    type Response = R;
    type ResponseStream = Messages<R>;
    type Future = Answer<tonic::Response<Messages<R>>>;

    fn call(&mut self, request: tonic::Request<Q>) -> Self::Future {
        let answer = (self.0)(request);
        Box::pin(async move { answer.await.map(tonic::Response::new) })
    }
}

impl<F, A, Q, R> StreamingService<Q> for Call<F, A>
where
    F: Fn(tonic::Request<Streaming<Q>>) -> A,
    A: Future<Output = Result<Messages<R>, Status>> + Send + 'static,
    R: Message + 'static,
{
    type Response = R;
    type ResponseStream = Messages<R>;
    type Future = Answer<tonic::Response<Messages<R>>>;

    fn call(&mut self, request: tonic::Request<Streaming<Q>>) -> Self::Future {
        let answer = (self.0)(request);
        Box::pin(async move { answer.await.map(tonic::Response::new) })
    }
}

/// A function that gives metadata along with its messages, as one of tonic's services.
struct Headed<F>(F);

impl<F, A, Q, R> ServerStreamingService<Q> for Headed<F>
where
    F: Fn(tonic::Request<Q>) -> A,
    A: Future<Output = Result<(MetadataMap, Messages<R>), Status>> + Send + 'static,
    R: Message + 'static,
{
    type Response = R;
    type ResponseStream = Messages<R>;
    type Future = Answer<tonic::Response<Messages<R>>>;

    fn call(&mut self, request: tonic::Request<Q>) -> Self::Future {
        let answer = (self.0)(request);
        Box::pin(async move {
            let (metadata, messages) = answer.await?;
            let mut response = tonic::Response::new(messages);
            *response.metadata_mut() = metadata;
            Ok(response)
        })
    }
}

fn grpc<Q, R>() -> Grpc<ProstCodec<R, Q>>
where
    Q: Message + Default + 'static,
    R: Message + 'static,
{
    Grpc::new(ProstCodec::default())
        .max_decoding_message_size(MESSAGE_LIMIT)
        .max_encoding_message_size(MESSAGE_LIMIT)
}

impl Methods {
    /// A method with one request and one answer.
    #[must_use]
    pub fn unary<Q, R, F, A>(mut self, method: Method, function: F) -> Self
    where
        Q: Message + Default + 'static,
        R: Message + 'static,
        F: Fn(tonic::Request<Q>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Result<R, Status>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |request: Request<Incoming>| {
            let function = function.clone();
            Box::pin(async move { grpc::<Q, R>().unary(Call::of(function), request).await })
        });
        self.0.insert(method, handler);
        self
    }

    /// A method with one request that is answered piece by piece.
    #[must_use]
    pub fn stream<Q, R, F, A>(mut self, method: Method, function: F) -> Self
    where
        Q: Message + Default + 'static,
        R: Message + 'static,
        F: Fn(tonic::Request<Q>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Result<Messages<R>, Status>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |request: Request<Incoming>| {
            let function = function.clone();
            Box::pin(async move { grpc::<Q, R>().server_streaming(Call::of(function), request).await })
        });
        self.0.insert(method, handler);
        self
    }

    /// A method with one request that is answered piece by piece, after metadata.
    #[must_use]
    pub fn stream_after<Q, R, F, A>(mut self, method: Method, function: F) -> Self
    where
        Q: Message + Default + 'static,
        R: Message + 'static,
        F: Fn(tonic::Request<Q>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Result<(MetadataMap, Messages<R>), Status>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |request: Request<Incoming>| {
            let function = Headed(function.clone());
            Box::pin(async move { grpc::<Q, R>().server_streaming(function, request).await })
        });
        self.0.insert(method, handler);
        self
    }

    /// A method whose requests and answers both come piece by piece.
    #[must_use]
    pub fn exchange<Q, R, F, A>(mut self, method: Method, function: F) -> Self
    where
        Q: Message + Default + 'static,
        R: Message + 'static,
        F: Fn(tonic::Request<Streaming<Q>>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Result<Messages<R>, Status>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |request: Request<Incoming>| {
            let function = function.clone();
            Box::pin(async move { grpc::<Q, R>().streaming(Call::of(function), request).await })
        });
        self.0.insert(method, handler);
        self
    }

    /// The paths of all methods.
    pub fn paths(&self) -> impl Iterator<Item = Method> {
        self.0.keys().copied()
    }

    /// The same methods, each call of which goes through `guard` first: it lets the call be answered, or answers by itself.
    #[must_use]
    pub fn guarded<G, A>(self, guard: G) -> Self
    where
        G: Fn(Method, Next) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        let guarded = self.0.into_iter().map(|(method, handler)| {
            let guard = guard.clone();
            let new: Handler = Arc::new(move |request| {
                let handler = handler.clone();
                Box::pin(guard(method, Next { handler, request }))
            });
            (method, new)
        });
        Self(guarded.collect())
    }

    /// Answers the calls of one connection until its client goes away. Calls that are not done by then are dropped.
    pub async fn serve<C>(self, connection: C)
    where
        C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.serve_until(connection, std::future::pending()).await;
    }

    /// Answers the calls of one connection until its client goes away, or until `end`: from then on no new ones are taken, and
    /// those that go on are answered. Calls that are not done when this is dropped are dropped.
    pub async fn serve_until<C>(self, connection: C, end: impl Future<Output = ()>)
    where
        C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let handler = self.0.get(request.uri().path()).cloned();
            async move {
                let answer = match handler {
                    Some(handler) => handler(request).await,
                    None => {
                        let path = request.uri().path();
                        Status::unimplemented(format!("unknown method {path}")).into_http()
                    }
                };
                Ok::<_, Infallible>(answer)
            }
        });
        let serving = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(CALLS_LIMIT)
            .max_header_list_size(HEAD_LIMIT)
            .serve_connection(TokioIo::new(connection), service);
        let mut serving = std::pin::pin!(serving);
        // an error is the client's: garbage, or a connection that broke
        tokio::select! {
            _ = serving.as_mut() => return,
            () = end => serving.as_mut().graceful_shutdown(),
        }
        let _ = serving.await;
    }
}
