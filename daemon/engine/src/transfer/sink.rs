//! The way of a transfer's events to whoever listens.

use mica_oci::Digest;
use mica_task::{LayerState, TransferEvent};
use tokio::sync::mpsc;

/// How many events wait for a slow client.
const WAITING: usize = 256;

/// The sending side.
#[derive(Debug, Clone)]
pub struct Sink(mpsc::Sender<TransferEvent>);

/// The receiving side.
pub type Events = mpsc::Receiver<TransferEvent>;

/// A new pair.
pub fn sink() -> (Sink, Events) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Sink(sender), receiver)
}

/// A sending side that does not keep the stream open.
#[derive(Debug, Clone)]
pub(crate) struct FaintSink(mpsc::WeakSender<TransferEvent>);

impl FaintSink {
    /// The sending side, while somebody else still has it.
    pub(crate) fn here(&self) -> Option<Sink> {
        self.0.upgrade().map(Sink)
    }
}

impl Sink {
    pub(crate) fn faint(&self) -> FaintSink {
        FaintSink(self.0.downgrade())
    }

    /// Tells of something that has to be heard; waits while the client is slow.
    pub(crate) async fn tell(&self, event: TransferEvent) {
        // nobody may be left who wants to know
        let _ = self.0.send(event).await;
    }

    /// Tells of something that may be missed, such as a number that is outdated a moment later.
    pub(crate) fn hint(&self, event: TransferEvent) {
        // the client is slow, or gone
        let _ = self.0.try_send(event);
    }

    pub(crate) async fn layer(&self, digest: &Digest, state: LayerState) {
        let digest = *digest;
        self.tell(TransferEvent::Layer { digest, state }).await;
    }

    pub(crate) fn layer_hint(&self, digest: &Digest, state: LayerState) {
        let digest = *digest;
        self.hint(TransferEvent::Layer { digest, state });
    }

    /// Ends once nobody listens any more.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}
