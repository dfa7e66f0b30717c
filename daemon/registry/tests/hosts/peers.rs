//! The other side of a connection: certificates, servers and a proxy.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A certificate and its key.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
    der: CertificateDer<'static>,
    key_der: Vec<u8>,
}

/// An authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let name = format!("authority {:x?}", &key.public_key_raw()[..8]);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn issue(&self, names: &[&str]) -> Pair {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let certificate = CertificateParams::new(names).unwrap();
        Pair::new(&certificate.signed_by(&key, &self.0).unwrap(), &key)
    }
}

impl Pair {
    fn new(certificate: &rcgen::Certificate, key: &KeyPair) -> Self {
        Self {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().clone(),
            key_der: key.serialize_der(),
        }
    }

    /// A certificate that is its own authority, as `openssl req -x509` makes them, good until a year.
    pub(crate) fn own_authority(name: &str, until: i32) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.into()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = date_time_ymd(until, 1, 1);
        Self::new(&params.self_signed(&key).unwrap(), &key)
    }
}

/// Starts a server that answers every request with what it was sent, after `client: yes` or `client: no` for a client
/// certificate of this authority. A request for `/redirect` is sent to another host.
pub(crate) async fn tls_server(pair: &Pair, clients: &Authority) -> SocketAddr {
    let provider = Arc::new(default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(clients.0.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .unwrap();
    let key = PrivatePkcs8KeyDer::from(pair.key_der.clone());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![pair.der.clone()], key.into())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // clients that do not like the certificate leave
                if let Ok(stream) = acceptor.accept(stream).await {
                    let known = stream.get_ref().1.peer_certificates().is_some();
                    answer(stream, if known { "client: yes\n" } else { "client: no\n" }).await;
                }
            });
        }
    });
    address
}

/// Starts a server that speaks plain HTTP and answers as [`tls_server`] does.
pub(crate) async fn plain_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, "plain\n"));
        }
    });
    address
}

/// Starts a server that takes requests and says nothing. The channel tells of each.
pub(crate) async fn silent_server() -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (told, requests) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            head(&mut stream).await;
            open.push(stream);
            told.send(()).unwrap();
        }
    });
    (address, requests)
}

/// Starts an HTTP proxy that leads every connection to one server, and keeps what it was asked.
pub(crate) async fn proxy(to: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let kept = Arc::clone(&kept);
            tokio::spawn(async move {
                let head = head(&mut stream).await;
                kept.lock().unwrap().push(head.clone());
                if !head.starts_with("CONNECT ") {
                    return reply(stream, "proxy\n", &head).await;
                }
                let mut server = TcpStream::connect(to).await.unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut server).await;
            });
        }
    });
    (address, asked)
}

/// Reads the head of a request, or what comes before the other side stops.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
        // no request: what a TLS client says first
        if head[0] < b' ' {
            break;
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, note: &str) {
    let head = head(&mut stream).await;
    reply(stream, note, &head).await;
}

async fn reply(mut stream: impl AsyncWrite + Unpin, note: &str, head: &str) {
    let body = format!("{note}{head}");
    let status = match head.contains(" /redirect ") {
        true => "307 Temporary Redirect\r\nlocation: https://elsewhere.example/",
        false if head.is_empty() || head.as_bytes()[0] < b' ' => "400 Bad Request",
        false => "200 OK",
    };
    let reply = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    // the other side may have left
    let _ = stream.write_all(reply.as_bytes()).await;
    let _ = stream.shutdown().await;
}
