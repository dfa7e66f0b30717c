//! Ctrl-C and SIGTERM: the work in hand is dropped, which closes its connection, which makes the daemon stop too.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::Error;

/// Runs `work` to its end or until a signal comes.
pub(crate) async fn or_interrupted<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let listen = |kind: SignalKind| -> Result<Signal, Error> {
        signal(kind).map_err(|source| Error::Transport {
            action: "listening for signals",
            source: source.into(),
        })
    };
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    tokio::select! {
        result = work => result,
        _ = interrupt.recv() => Err(Error::Interrupted { signal: 2 }),
        _ = terminate.recv() => Err(Error::Interrupted { signal: 15 }),
    }
}
