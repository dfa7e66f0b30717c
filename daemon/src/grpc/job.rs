//! A build that a client asks for by gRPC: what is told of it, and what it came to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use mica_buildkit::message::control::StatusResponse;
use mica_engine::HeldImage;
use mica_oci::{Attested, ImageId, PlatformImage};
use mica_task::{Cancel, Event};
use tokio::sync::{mpsc, oneshot, watch};
use tonic::Status;

use crate::grpc::caching::Caching;
use crate::grpc::frontend::Tar;
use crate::grpc::history::Recording;
use crate::grpc::sessions::Named;
use crate::grpc::status::response;
use crate::wire::status::Vertices;

/// How long a build waits for the upload it asks for (moby's own time): its client sends both requests at once.
const UPLOAD_WAIT: Duration = Duration::from_secs(5);
/// How much of what is told waits for the client.
const WAITING: usize = 64;
/// How long the first of it waits for a client that asks; after that nobody will.
const UNHEARD: Duration = Duration::from_secs(6);
/// How often whoever waits for a client looks whether the build is to stop.
const PAUSE: Duration = Duration::from_millis(50);

/// What is told of a build.
pub(crate) type Told = mpsc::Receiver<StatusResponse>;

/// A build.
pub(crate) struct Job {
    /// The session that answers for its client.
    pub(crate) session: Option<Named>,
    /// What it allows.
    pub(crate) entitlements: Vec<String>,
    /// Where its cache goes.
    pub(crate) caching: Caching,
    /// Stops it.
    pub(crate) cancel: Cancel,
    /// No other build of this daemon has it.
    pub(crate) number: u64,
    /// The user who asked for it.
    pub(crate) user: Option<u32>,
    vertices: Mutex<Vertices>,
    teller: Mutex<Option<mpsc::Sender<StatusResponse>>>,
    told: Mutex<Option<mpsc::Receiver<StatusResponse>>>,
    results: Mutex<HashMap<String, ImageId>>,
    /// What was built, so that no prune takes it before it has a name.
    held: Mutex<Vec<Arc<HeldImage>>>,
    /// What is said of what was built.
    attested: Mutex<Attested>,
    /// Name and text of the Dockerfile, where it was asked for apart from its context.
    dockerfile: Mutex<Option<(String, Vec<u8>)>>,
    returned: watch::Sender<Option<Result<Returned, Status>>>,
    /// Where a context goes that comes with a request of its own, and where it comes from.
    upload: Mutex<Option<oneshot::Sender<Tar>>>,
    uploaded: Mutex<Option<oneshot::Receiver<Tar>>>,
    /// Where what is told of it is written down.
    recording: Option<Arc<Recording>>,
}

/// What a client says its build comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Returned {
    /// Nothing.
    Nothing,
    /// An image.
    Image(ImageId),
    /// Images by platform, though it may be only one: at least one, each platform once.
    Images(Vec<PlatformImage>),
}

/// Waits until the build is to stop.
pub(crate) async fn cancelled(cancel: &Cancel) {
    while !cancel.is_cancelled() {
        tokio::time::sleep(PAUSE).await;
    }
}

impl Job {
    /// A build of which nothing was told.
    pub(crate) fn new(
        session: Option<Named>,
        entitlements: Vec<String>,
        caching: Caching,
        cancel: Cancel,
        number: u64,
    ) -> Self {
        let (teller, told) = mpsc::channel(WAITING);
        Self {
            session,
            entitlements,
            caching,
            cancel,
            number,
            user: None,
            vertices: Mutex::new(Vertices::new(number)),
            teller: Mutex::new(Some(teller)),
            told: Mutex::new(Some(told)),
            results: Mutex::default(),
            held: Mutex::default(),
            attested: Mutex::default(),
            dockerfile: Mutex::default(),
            returned: watch::Sender::new(None),
            upload: Mutex::default(),
            uploaded: Mutex::default(),
            recording: None,
        }
    }

    /// The same, with a context that comes with a request of its own.
    #[must_use]
    pub(crate) fn awaiting_upload(self) -> Self {
        let (upload, uploaded) = oneshot::channel();
        Self {
            upload: Mutex::new(Some(upload)),
            uploaded: Mutex::new(Some(uploaded)),
            ..self
        }
    }

    /// Takes the context that the build waits for, once.
    pub(crate) fn upload(&self, tar: Tar) -> Result<(), Status> {
        let unwanted = || Status::already_exists("the build waits for no upload, or has it already");
        let upload = lock(&self.upload).take().ok_or_else(unwanted)?;
        upload.send(tar).map_err(|_| unwanted())
    }

    /// Waits for that context.
    pub(crate) async fn uploaded(&self) -> Result<Tar, Status> {
        let none = || Status::invalid_argument("the build's context was to be uploaded, and was not");
        let uploaded = lock(&self.uploaded).take().ok_or_else(none)?;
        match tokio::time::timeout(UPLOAD_WAIT, uploaded).await {
            Ok(Ok(tar)) => Ok(tar),
            _ => Err(none()),
        }
    }

    /// What is told of the build, for the first who asks.
    pub(crate) fn told(&self) -> Option<Told> {
        lock(&self.told).take()
    }

    /// The same for a user, whose are the names that it gives.
    pub(super) fn of_user(mut self, user: u32) -> Self {
        self.user = Some(user);
        self
    }

    /// With what is told of it written down.
    #[must_use]
    pub(crate) fn recorded(self, recording: Option<Arc<Recording>>) -> Self {
        Self { recording, ..self }
    }

    /// Tells of an event; waits while the client is behind.
    pub(crate) async fn tell(&self, event: Event) {
        let status = lock(&self.vertices).event(event, Timestamp::now());
        self.say(response(status)).await;
    }

    /// The build is to stop, and whoever listens hears no more.
    pub(super) fn stop(&self) {
        self.cancel.cancel();
        lock(&self.teller).take();
    }

    /// Everything that began has ended.
    pub(crate) async fn close(&self) {
        let status = response(lock(&self.vertices).close(Timestamp::now()));
        if let Some(recording) = &self.recording {
            recording.take(&status);
        }
        let teller = lock(&self.teller).clone();
        if let Some(teller) = teller
            && status != StatusResponse::default()
        {
            // whoever has not heard it by then has stopped listening
            let _ = tokio::time::timeout(UNHEARD, teller.send(status)).await;
        }
        // the end of the stream tells the client
        lock(&self.teller).take();
    }

    pub(super) async fn say(&self, response: StatusResponse) {
        if response == StatusResponse::default() {
            return;
        }
        if let Some(recording) = &self.recording {
            recording.take(&response);
        }
        let Some(teller) = lock(&self.teller).clone() else {
            return;
        };
        tokio::select! {
            biased;
            () = self.offer(&teller, response) => {}
            // a build that is to stop does not wait for those who read slowly
            () = cancelled(&self.cancel) => {}
        }
    }

    async fn offer(&self, teller: &mpsc::Sender<StatusResponse>, response: StatusResponse) {
        match tokio::time::timeout(UNHEARD, teller.reserve()).await {
            Ok(Ok(place)) => place.send(response),
            // the client listens no more
            Ok(Err(_)) => {}
            Err(_) => {
                let nobody = lock(&self.told).take();
                if nobody.is_none() {
                    // somebody listens, and slowly: they get all of it
                    let _ = teller.send(response).await;
                }
            }
        }
    }

    /// Remembers the Dockerfile, to show its lines.
    pub(crate) fn remember(&self, name: String, text: Vec<u8>) {
        *lock(&self.dockerfile) = Some((name, text));
    }

    /// Name and text of the Dockerfile, if it is known.
    pub(crate) fn dockerfile(&self) -> Option<(String, Vec<u8>)> {
        lock(&self.dockerfile).clone()
    }

    /// Notes what is said of images that were built.
    pub(crate) fn attest(&self, said: Attested) {
        lock(&self.attested).extend(said);
    }

    /// What is said of what was built.
    pub(crate) fn attested(&self) -> Attested {
        lock(&self.attested).clone()
    }

    /// Holds what was built until the build is over.
    pub(crate) fn hold(&self, image: HeldImage) {
        lock(&self.held).push(Arc::new(image));
    }

    /// An image that was built here.
    pub(crate) fn held(&self, image: &ImageId) -> Result<Arc<HeldImage>, Status> {
        let held = lock(&self.held);
        let found = held.iter().find(|held| held.id() == *image);
        found
            .cloned()
            .ok_or_else(|| Status::not_found(format!("no such image: {image}")))
    }

    /// Keeps a result for the client to return.
    pub(crate) fn keep(&self, name: String, image: ImageId) {
        lock(&self.results).insert(name, image);
    }

    /// The image behind a result's name.
    pub(crate) fn result(&self, name: &str) -> Result<ImageId, Status> {
        lock(&self.results)
            .get(name)
            .copied()
            .ok_or_else(|| Status::not_found(format!("no such ref: {name}")))
    }

    /// The client says what its build comes to. What it says first counts.
    pub(crate) fn finish(&self, returned: Result<Returned, Status>) {
        self.returned.send_if_modified(|said| {
            let is_first = said.is_none();
            if is_first {
                *said = Some(returned);
            }
            is_first
        });
    }

    /// Waits until the client has said it.
    pub(crate) async fn returned(&self) -> Result<Returned, Status> {
        let mut returned = self.returned.subscribe();
        match returned.wait_for(Option::is_some).await {
            Ok(found) => found.clone().unwrap_or(Ok(Returned::Nothing)),
            Err(_) => Err(Status::cancelled("the build was given up")),
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
