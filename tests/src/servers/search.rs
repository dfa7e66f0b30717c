//! A registry of the older kind, which does nothing but let itself be searched.

use std::collections::VecDeque;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, LOCATION, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use crate::servers::Certificate;
use crate::servers::loopback::Loopback;

/// What is answered to a search.
#[derive(Debug, Clone)]
pub enum SearchReply {
    /// These bytes, with this status.
    Bytes(u16, Vec<u8>),
    /// That the search is elsewhere.
    Redirect(String),
    /// That user and password are wanted.
    WantsBasic,
    /// Nothing, ever.
    Never,
}

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchRequest {
    /// Path and query.
    pub path: String,
    /// What was shown, if anything was.
    pub authorization: Option<String>,
}

/// A running server; it ends when this is dropped.
pub struct SearchServer {
    loopback: Loopback,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    replies: Mutex<VecDeque<SearchReply>>,
    requests: Mutex<Vec<SearchRequest>>,
    /// Requests that wait for an answer.
    waiting: AtomicUsize,
}

impl SearchServer {
    /// A server without TLS that gives these answers, the last of them again and again.
    pub fn start(replies: impl IntoIterator<Item = SearchReply>) -> Self {
        Self::serve(replies, None)
    }

    /// The same with TLS.
    pub fn with_tls(replies: impl IntoIterator<Item = SearchReply>, certificate: &Certificate) -> Self {
        let chain = vec![CertificateDer::from(certificate.der.clone())];
        let key = PrivatePkcs8KeyDer::from(certificate.key_der.clone());
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the versions that are asked for by default")
            .with_no_client_auth()
            .with_single_cert(chain, key.into())
            .expect("the key fits the certificate");
        Self::serve(replies, Some(TlsAcceptor::from(Arc::new(config))))
    }

    fn serve(replies: impl IntoIterator<Item = SearchReply>, tls: Option<TlsAcceptor>) -> Self {
        let state = Arc::new(State {
            replies: Mutex::new(replies.into_iter().collect()),
            ..State::default()
        });
        let shared = state.clone();
        let loopback = Loopback::serve(move |stream| {
            let (state, tls) = (shared.clone(), tls.clone());
            async move {
                match tls {
                    None => connection(stream, state).await,
                    Some(tls) => {
                        // a client that does not trust us is its own trouble
                        if let Ok(stream) = tls.accept(stream).await {
                            connection(stream, state).await;
                        }
                    }
                }
            }
        });
        Self { loopback, state }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.loopback.address()
    }

    /// Its name as names of images have it.
    pub fn host(&self) -> String {
        format!("localhost:{}", self.address().port())
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<SearchRequest> {
        let requests = self.state.requests.lock();
        requests.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests wait for an answer, their clients still being there.
    pub fn waiting(&self) -> usize {
        self.state.waiting.load(Ordering::SeqCst)
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin, state: Arc<State>) {
    let service = service_fn(move |request| {
        let state = state.clone();
        async move { Ok::<_, std::convert::Infallible>(answer(&request, &state).await) }
    });
    // a connection that breaks is its client's trouble
    let _broken = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// Counts a waiting request for as long as it waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn answer(request: &Request<Incoming>, state: &State) -> Response<Full<Bytes>> {
    let authorization = request.headers().get(AUTHORIZATION);
    let path = request.uri().path_and_query().map(ToString::to_string);
    let seen = SearchRequest {
        path: path.unwrap_or_default(),
        authorization: authorization
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned),
    };
    let shown = seen.authorization.is_some();
    state
        .requests
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(seen);
    let reply = {
        let mut replies = state.replies.lock().unwrap_or_else(PoisonError::into_inner);
        match replies.len() {
            0 | 1 => replies.front().cloned(),
            _ => replies.pop_front(),
        }
    };
    let built = match reply {
        None => Response::builder().status(404).body(Full::default()),
        Some(SearchReply::Bytes(status, bytes)) => {
            Response::builder().status(status).body(Full::new(bytes.into()))
        }
        Some(SearchReply::Redirect(to)) => Response::builder()
            .status(302)
            .header(LOCATION, to)
            .body(Full::default()),
        Some(SearchReply::WantsBasic) if shown => Response::builder().body(Full::new(Bytes::from_static(
            br#"{"results":[{"name":"private"}]}"#,
        ))),
        Some(SearchReply::WantsBasic) => Response::builder()
            .status(401)
            .header(WWW_AUTHENTICATE, "Basic realm=\"test\"")
            .body(Full::default()),
        Some(SearchReply::Never) => {
            let _waiting = Waiting::begin(&state.waiting);
            pending().await
        }
    };
    built.expect("these headers are valid")
}
