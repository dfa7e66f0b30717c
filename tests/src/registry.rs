//! A registry in this process: it pulls and pushes as the real ones do, has their manners, and fails when told to.

mod auth;
mod blobs;
mod content;
mod fault;
mod image;
mod manifests;
mod options;
mod quirks;
mod record;
mod reply;
mod route;
mod serve;
mod state;
mod tls;
mod uploads;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use crate::registry::content::Content;
use crate::registry::serve::serve;
use crate::registry::state::State;

pub use crate::registry::fault::{Act, Fault, Kind};
pub use crate::registry::image::{Blob, Image};
pub use crate::registry::options::{Action, Door, Options, Personality, User};
pub use crate::registry::record::Request;

/// A running registry; it and all it holds is gone when this is dropped.
pub struct FakeRegistry {
    address: SocketAddr,
    state: Arc<State>,
    folder: TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FakeRegistry {
    /// A plain registry that lets everybody do everything, without TLS.
    pub fn start() -> Self {
        Self::with(Options::default())
    }

    /// A registry of a certain kind.
    ///
    /// # Panics
    /// If there is no port, thread or folder for it.
    pub fn with(options: Options) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("mica-registry-")
            .tempdir()
            .expect("a folder can be made");
        let content = Content::new(folder.path(), options.public.clone()).expect("folders can be made");
        let (main, storage) = (listener(), listener());
        let address = main.local_addr().expect("a listener knows its address");
        let storage_port = storage.local_addr().expect("a listener knows its address").port();
        let acceptor = options.tls.then(|| {
            let (acceptor, authority) = tls::acceptor();
            fs_err::write(folder.path().join("ca.pem"), authority).expect("files can be written");
            acceptor
        });
        let state = Arc::new(State::new(options, content, storage_port));
        let (stop, stopped) = oneshot::channel();
        let shared = state.clone();
        let thread = std::thread::Builder::new()
            .name("registry".to_owned())
            .spawn(move || run(shared, acceptor, [main, storage], stopped))
            .expect("a thread can be started");
        Self {
            address,
            state,
            folder,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Host and port, as they stand in the names of its images.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Host and port of where redirects of blobs lead.
    pub fn storage_host(&self) -> String {
        format!("127.0.0.1:{}", self.state.port_of_storage)
    }

    /// The certificate of the authority that vouches for a registry with TLS, in PEM.
    pub fn ca_path(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// What goes wrong from now on, once each.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.faults.add(faults);
    }

    /// How many scripted faults have not happened yet.
    pub fn faults_left(&self) -> usize {
        self.state.faults.left()
    }

    /// Lets requests for content fail by chance: `rate` of them, from 0 to 1, the same ones for the same seed and order.
    pub fn random(&self, seed: u64, rate: f64) {
        self.state.faults.set_random(seed, rate);
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.state.record.all()
    }

    /// The requests so far whose method and path begin in this way, as in `GET /token`.
    pub fn requests_like(&self, beginning: &str) -> Vec<Request> {
        let mut all = self.requests();
        all.retain(|request| request.line().starts_with(beginning));
        all
    }

    /// Lets everybody read a repository.
    pub fn make_public(&self, repository: &str) {
        self.state.lock().content.publish(repository);
    }

    /// Makes an empty repository.
    pub fn create(&self, repository: &str) {
        self.state.lock().content.repository(repository);
    }

    /// Takes all tokens back.
    pub fn revoke_tokens(&self) {
        self.state.lock().grants.forget();
    }

    /// Puts a blob into a repository and gives its digest.
    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let mut inner = self.state.lock();
        inner
            .content
            .put_blob(repository, bytes)
            .expect("files can be written")
    }

    /// Puts a manifest into a repository, under a tag if there is one, and gives its digest. Nothing is checked.
    pub fn put_manifest(
        &self,
        repository: &str,
        tag: Option<&str>,
        media_type: &str,
        bytes: &[u8],
    ) -> String {
        let bytes = Bytes::copy_from_slice(bytes);
        self.state
            .lock()
            .content
            .put_manifest(repository, tag, media_type, bytes)
    }

    /// Media type and bytes of a manifest by tag or digest.
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<(String, Bytes)> {
        let (_, manifest) = self.state.lock().content.manifest(repository, reference)?;
        Some((manifest.media_type, manifest.bytes))
    }

    /// The bytes of a blob.
    pub fn blob(&self, repository: &str, digest: &str) -> Option<Vec<u8>> {
        let inner = self.state.lock();
        inner
            .content
            .has_blob(repository, digest)
            .then(|| fs_err::read(inner.content.blob_path(digest)).expect("a blob that is listed is there"))
    }

    /// Whether all that a manifest names is there with the bytes it should have; else what is not.
    pub fn whole(&self, repository: &str, reference: &str) -> Result<(), String> {
        match self.state.lock().content.lack(repository, reference) {
            None => Ok(()),
            Some(lack) => Err(lack),
        }
    }

    /// How many uploads were begun and are neither done nor given up.
    pub fn open_uploads(&self) -> usize {
        self.state.lock().uploads.len()
    }
}

impl Drop for FakeRegistry {
    fn drop(&mut self) {
        // the thread may be gone already
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn listener() -> TcpListener {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there are free ports");
    listener.set_nonblocking(true).expect("sockets can be made so");
    listener
}

fn run(
    state: Arc<State>,
    acceptor: Option<TlsAcceptor>,
    [main, storage]: [TcpListener; 2],
    stopped: oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    runtime.block_on(async move {
        tokio::spawn(accept(state.clone(), acceptor.clone(), storage, true));
        tokio::select! {
            () = accept(state, acceptor, main, false) => {}
            _ = stopped => {}
        }
    });
}

async fn accept(state: Arc<State>, acceptor: Option<TlsAcceptor>, listener: TcpListener, elsewhere: bool) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("the listener does not block");
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        // small answers are not held back
        let _ = stream.set_nodelay(true);
        let (state, acceptor) = (state.clone(), acceptor.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| serve(state.clone(), elsewhere, request));
            let http = hyper::server::conn::http1::Builder::new();
            // clients that leave, and faults, end connections with an error
            let _ = match acceptor {
                None => http.serve_connection(TokioIo::new(stream), service).await,
                Some(acceptor) => match acceptor.accept(stream).await {
                    Ok(stream) => http.serve_connection(TokioIo::new(stream), service).await,
                    Err(_) => return,
                },
            };
        });
    }
}
