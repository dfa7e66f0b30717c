//! The build context: the folder as a tar stream, made by a thread while it is sent.

mod header;
mod sink;
mod source;
mod walk;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc::{self, Receiver};

pub(crate) use crate::context::source::{InPlace, MAX_FILE_BYTES, Source, Wanted};

use crate::context::sink::{Sink, Stop};
use crate::error::Error;

/// Pieces on their way between the thread and the socket.
const PIECES_IN_FLIGHT: usize = 8;

/// A context being sent.
pub(crate) struct Sending {
    failure: Arc<Mutex<Option<Error>>>,
}

impl Sending {
    /// Why the context could not be read to its end, if it could not.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Starts a thread that reads the context. The pieces end with an error if it fails; the error itself is kept in
/// [`Sending`]. The thread ends when the pieces are dropped.
pub(crate) fn send(
    source: Source,
    warn: impl Fn(String) + Send + 'static,
) -> Result<(Sending, Receiver<io::Result<Bytes>>), Error> {
    let (pieces, receiver) = mpsc::channel(PIECES_IN_FLIGHT);
    let failure = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&failure);
    let work = move || {
        let mut sink = Sink::new(pieces.clone());
        let result = walk::write(&source, &mut sink, &warn).and_then(|()| sink.finish());
        if let Err(Stop::Failed(error)) = result {
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            let broken = io::Error::other("the build context cannot be read");
            let _gone = pieces.blocking_send(Err(broken));
        }
    };
    std::thread::Builder::new()
        .name("context".to_owned())
        .spawn(work)
        .map_err(|source| Error::Context {
            message: "cannot start a thread".to_owned(),
            source: Some(source),
        })?;
    Ok((Sending { failure }, receiver))
}
