//! Pauses between tries that take no time.

use std::sync::Mutex;
use std::time::Duration;

use mica_registry::{Listener, Notice};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::setting::Notices;

/// The test's clock, which stands still but for the pauses of the client that its listener hears of: they are over at once.
/// Connections go on in real time meanwhile, so no other timeout comes nearer.
pub(crate) struct Hurry {
    pub(crate) notices: Notices,
    pauses: mpsc::UnboundedSender<Duration>,
    skipping: JoinHandle<()>,
    /// While a blocking task runs, the stopped clock does not jump ahead by itself (tokio's `time::pause`).
    _held: std::sync::mpsc::Sender<()>,
}

impl Hurry {
    /// Stops the clock; the test's runtime must have one thread.
    pub(crate) fn new() -> Self {
        tokio::time::pause();
        let (held, holding) = std::sync::mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || holding.recv());
        let (pauses, mut asked) = mpsc::unbounded_channel();
        let skipping = tokio::spawn(async move {
            while let Some(pause) = asked.recv().await {
                // whoever told of the pause begins it first
                tokio::task::yield_now().await;
                // timers end at whole milliseconds
                tokio::time::advance(pause + Duration::from_millis(2)).await;
            }
        });
        Self {
            notices: Notices::default(),
            pauses,
            skipping,
            _held: held,
        }
    }

    /// Hears of pauses and ends them.
    pub(crate) fn listener(&self) -> Listener {
        let pauses = Mutex::new(self.pauses.clone());
        let notices = self.notices.clone();
        Listener::new(move |notice| {
            if let Notice::Retry { pause, .. } = &notice {
                pauses.lock().unwrap().send(*pause).unwrap();
            }
            notices.hear(notice);
        })
    }
}

impl Drop for Hurry {
    fn drop(&mut self) {
        self.skipping.abort();
    }
}
