//! One download for everybody who wants a blob: it goes on while anybody waits, and stops when nobody does.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use mica_oci::{Descriptor, Digest};
use mica_registry::Remote;
use mica_store::{Blob, Lease, Store};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::bridge::blocking;
use crate::error::Error;

/// How many pieces wait between the connection and the disk.
const WAITING_PIECES: usize = 16;
/// How often the number of bytes is told.
const TELL: Duration = Duration::from_millis(100);

/// The downloads that go on.
#[derive(Default)]
pub(crate) struct Downloads(Mutex<HashMap<Digest, Weak<Flight>>>);

/// A download that goes on. It is stopped when the last who waits for it drops this.
struct Flight {
    state: watch::Receiver<State>,
    task: JoinHandle<()>,
    /// Of the blob, in bytes.
    size: u64,
    /// Keeps what arrived until everybody who waited has it.
    _lease: Lease,
}

#[derive(Debug, Clone)]
enum State {
    Coming(u64),
    Here,
    Failed(Arc<Error>),
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Downloads {
    /// The blob, fetched unless somebody is fetching it already; kept by `lease`. `tell` hears how many bytes there are.
    pub(crate) async fn get(
        &self,
        store: &Store,
        lease: &Lease,
        remote: &Arc<Remote>,
        blob: &Descriptor,
        tell: &(dyn Fn(u64) + Sync),
    ) -> Result<Blob, Arc<Error>> {
        loop {
            let (flight, own) = self.join(store, remote, blob);
            match follow(&flight, tell).await {
                Ok(()) => {
                    let (store, lease, digest) = (store.clone(), lease.clone(), blob.digest);
                    let found = blocking(move || Ok(store.blob(&lease, &digest)?)).await;
                    match found {
                        Ok(Some(blob)) => return Ok(blob),
                        Ok(None) => {}
                        Err(error) => return Err(Arc::new(error)),
                    }
                }
                // whoever began it may have been somebody with fewer rights
                Err(_) if !own => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// How many bytes are still to come of each blob that is being fetched.
    pub(crate) fn promised(&self) -> HashMap<Digest, u64> {
        let flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let coming = flights.iter().filter_map(|(digest, flight)| {
            let flight = flight.upgrade()?;
            match *flight.state.borrow() {
                State::Coming(bytes) if !flight.task.is_finished() => {
                    Some((*digest, flight.size.saturating_sub(bytes)))
                }
                _ => None,
            }
        });
        coming.collect()
    }

    /// The download that goes on, or a new one; and whether it is new.
    fn join(&self, store: &Store, remote: &Arc<Remote>, blob: &Descriptor) -> (Arc<Flight>, bool) {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        flights.retain(|_, flight| flight.strong_count() > 0);
        if let Some(flight) = flights.get(&blob.digest).and_then(Weak::upgrade)
            && !flight.task.is_finished()
        {
            return (flight, false);
        }
        let lease = store.lease();
        let (sender, state) = watch::channel(State::Coming(0));
        let work = fetch(store.clone(), lease.clone(), remote.clone(), blob.clone(), sender);
        let flight = Arc::new(Flight {
            state,
            task: tokio::spawn(work),
            size: blob.size,
            _lease: lease,
        });
        flights.insert(blob.digest, Arc::downgrade(&flight));
        (flight, true)
    }
}

async fn follow(flight: &Flight, tell: &(dyn Fn(u64) + Sync)) -> Result<(), Arc<Error>> {
    let mut state = flight.state.clone();
    loop {
        match &*state.borrow_and_update() {
            State::Coming(bytes) => tell(*bytes),
            State::Here => return Ok(()),
            State::Failed(error) => return Err(error.clone()),
        }
        if state.changed().await.is_err() {
            return Err(Arc::new(Error::Worker));
        }
    }
}

async fn fetch(
    store: Store,
    lease: Lease,
    remote: Arc<Remote>,
    blob: Descriptor,
    state: watch::Sender<State>,
) {
    let mut result = once(&store, &lease, &remote, &blob, &state).await;
    // what was left of an earlier attempt may have been damaged, for example by a power cut
    if let Ok(Fetched::Damaged { resumed: true, .. }) = &result {
        result = once(&store, &lease, &remote, &blob, &state).await;
    }
    let last = match result {
        Ok(Fetched::Whole) => State::Here,
        Ok(Fetched::Damaged { error, .. }) | Err(error) => State::Failed(Arc::new(error)),
    };
    state.send_replace(last);
}

async fn tell_now_and_then(mut counted: watch::Receiver<u64>, tell: &(dyn Fn(u64) + Sync)) -> Infallible {
    loop {
        tokio::time::sleep(TELL).await;
        if counted.has_changed().unwrap_or(false) {
            tell(*counted.borrow_and_update());
        }
    }
}

enum Fetched {
    Whole,
    /// It does not have its digest.
    Damaged {
        /// Whether part of it was there before.
        resumed: bool,
        error: Error,
    },
}

async fn once(
    store: &Store,
    lease: &Lease,
    remote: &Remote,
    blob: &Descriptor,
    state: &watch::Sender<State>,
) -> Result<Fetched, Error> {
    let (digest, size) = (blob.digest, blob.size);
    let mut partial = {
        let (store, lease) = (store.clone(), lease.clone());
        blocking(move || Ok(store.partial(&lease, &digest, size)?)).await?
    };
    let missing = partial.missing();
    let before = size - missing.iter().map(|range| range.end - range.start).sum::<u64>();
    state.send_replace(State::Coming(before));
    let (sender, mut pieces) = mpsc::channel(WAITING_PIECES);
    let (count, counted) = watch::channel(before);
    let writing = blocking(move || {
        while let Some(mica_registry::Piece { offset, bytes }) = pieces.blocking_recv() {
            partial.write_at(offset, &bytes)?;
            count.send_modify(|count| *count += bytes.len() as u64);
        }
        match partial.offset() == size {
            true => partial.commit().map(Some),
            // the download failed, and says why itself
            false => Ok(None),
        }
        .map_err(Error::from)
    });
    let downloading = async {
        let downloaded = remote.download(blob, &missing, &sender).await;
        drop(sender);
        downloaded
    };
    let tell = |bytes: u64| {
        state.send_replace(State::Coming(bytes.min(size)));
    };
    let (downloaded, written) = tokio::select! {
        both = async { tokio::join!(downloading, writing) } => both,
        never = tell_now_and_then(counted, &tell) => match never {},
    };
    match (downloaded, written) {
        (_, Err(Error::Store(error @ mica_store::Error::Digest { .. }))) => Ok(Fetched::Damaged {
            resumed: before > 0,
            error: Error::WrongContent {
                what: format!("blob {digest} from {}", remote.repository().registry()),
                source: error,
            },
        }),
        // a disk that is full makes the download give up: the disk is the reason
        (_, Err(error)) => Err(error),
        (Err(error), Ok(_)) => Err(Error::Registry(Box::new(error))),
        (Ok(()), Ok(Some(_))) => Ok(Fetched::Whole),
        (Ok(()), Ok(None)) => Err(Error::Worker),
    }
}
