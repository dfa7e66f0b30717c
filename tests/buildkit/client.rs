//! A client of the daemon's gRPC, on a connection that was upgraded or that spoke HTTP/2 from its first byte.

use std::net::Shutdown;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::{Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mica_buildkit::{MESSAGE_LIMIT, Method};
use mica_tests::Daemon;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

/// In the metadata of a call: the build it belongs to.
const BUILD_ID: &str = "buildkit-controlapi-buildid";

/// Asks the daemon. Clones share the connection.
#[derive(Clone)]
pub(crate) struct Client {
    sender: Channel,
    connection: Arc<Connection>,
}

/// The connection by a descriptor of its own, to end it whoever else has it.
struct Connection(std::os::unix::net::UnixStream);

impl Drop for Connection {
    fn drop(&mut self) {
        // the daemon may have ended it before
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// Asks for an upgrade by hand; the answer's head and the connection after it.
pub(crate) async fn dial(daemon: &Daemon, path: &str, headers: &[(String, String)]) -> (String, UnixStream) {
    let mut stream = UnixStream::connect(daemon.socket()).await.unwrap();
    let mut head = format!("POST {path} HTTP/1.1\r\nHost: mica\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    let answer = read_head(&mut stream).await;
    (answer, stream)
}

/// A request of HTTP/1.1 without a body; the answer's head.
pub(crate) async fn dial_plain(daemon: &Daemon, path: &str) -> (String, UnixStream) {
    let mut stream = UnixStream::connect(daemon.socket()).await.unwrap();
    let head = format!("POST {path} HTTP/1.1\r\nHost: mica\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = read_head(&mut stream).await;
    (answer, stream)
}

/// Reads the head of an answer and not a byte more.
pub(crate) async fn read_head(stream: &mut UnixStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = stream.read_u8().await.expect("the daemon answers");
        head.push(byte);
    }
    String::from_utf8(head).unwrap()
}

impl Client {
    /// By `POST /grpc`.
    pub(crate) async fn upgraded(daemon: &Daemon) -> Self {
        let (answer, stream) = dial(daemon, "/grpc", &[]).await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        Self::over(stream).await
    }

    /// By HTTP/2 from the first byte.
    pub(crate) async fn plain(daemon: &Daemon) -> Self {
        Self::over(UnixStream::connect(daemon.socket()).await.unwrap()).await
    }

    /// On this connection.
    pub(crate) async fn over(stream: UnixStream) -> Self {
        let stream = stream.into_std().unwrap();
        let own = Connection(stream.try_clone().unwrap());
        let stream = UnixStream::from_std(stream).unwrap();
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(async move {
            // it ends when the daemon leaves or a test has seen enough
            let _ = connection.await;
        });
        Self {
            sender: Channel(sender),
            connection: Arc::new(own),
        }
    }

    /// Goes away without a word.
    pub(crate) fn vanish(&self) {
        self.connection.0.shutdown(Shutdown::Both).unwrap();
    }

    /// A call that belongs to no build.
    pub(crate) async fn ask<Q, R>(&self, method: Method, request: Q) -> Result<R, Status>
    where
        Q: Message + Send + Sync + 'static,
        R: Message + Default + Send + Sync + 'static,
    {
        self.unary(method, tonic::Request::new(request)).await
    }

    /// A call that belongs to a build.
    pub(crate) async fn bridge<Q, R>(&self, method: Method, build: &str, request: Q) -> Result<R, Status>
    where
        Q: Message + Send + Sync + 'static,
        R: Message + Default + Send + Sync + 'static,
    {
        let mut request = tonic::Request::new(request);
        request.metadata_mut().insert(BUILD_ID, build.parse().unwrap());
        self.unary(method, request).await
    }

    async fn unary<Q, R>(&self, method: Method, request: tonic::Request<Q>) -> Result<R, Status>
    where
        Q: Message + Send + Sync + 'static,
        R: Message + Default + Send + Sync + 'static,
    {
        let mut grpc = self.grpc().await?;
        let codec = ProstCodec::<Q, R>::default();
        let path = PathAndQuery::from_static(method);
        Ok(grpc.unary(request, path, codec).await?.into_inner())
    }

    /// A call that is answered piece by piece.
    pub(crate) async fn stream<Q, R>(&self, method: Method, request: Q) -> Result<Streaming<R>, Status>
    where
        Q: Message + Send + Sync + 'static,
        R: Message + Default + Send + Sync + 'static,
    {
        let mut grpc = self.grpc().await?;
        let codec = ProstCodec::<Q, R>::default();
        let path = PathAndQuery::from_static(method);
        let request = tonic::Request::new(request);
        Ok(grpc.server_streaming(request, path, codec).await?.into_inner())
    }

    /// A call in which both sides send any number of messages.
    pub(crate) async fn exchange<Q, R>(
        &self,
        method: Method,
        request: tonic::Request<impl Stream<Item = Q> + Send + 'static>,
    ) -> Result<Streaming<R>, Status>
    where
        Q: Message + Send + Sync + 'static,
        R: Message + Default + Send + Sync + 'static,
    {
        let mut grpc = self.grpc().await?;
        let codec = ProstCodec::<Q, R>::default();
        let path = PathAndQuery::from_static(method);
        Ok(grpc.streaming(request, path, codec).await?.into_inner())
    }

    async fn grpc(&self) -> Result<Grpc<Channel>, Status> {
        let mut grpc = Grpc::with_origin(self.sender.clone(), Uri::from_static("http://mica"))
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(4 * MESSAGE_LIMIT);
        grpc.ready()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(grpc)
    }
}

/// The connection, as tonic takes it.
#[derive(Clone)]
struct Channel(http2::SendRequest<Body>);

impl tower_service::Service<Request<Body>> for Channel {
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

/// Bytes in place of a message.
#[derive(Debug, Default)]
pub(crate) struct Raw(pub(crate) Vec<u8>);

impl Message for Raw {
    fn encode_raw(&self, out: &mut impl bytes::BufMut) {
        out.put_slice(&self.0);
    }

    fn merge_field(
        &mut self,
        _: u32,
        _: prost::encoding::WireType,
        _: &mut impl bytes::Buf,
        _: prost::encoding::DecodeContext,
    ) -> Result<(), prost::DecodeError> {
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}
