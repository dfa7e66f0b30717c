//! Prunes: each goes on until it is done, or until nobody waits for it any more.

use std::sync::Arc;

use mica_engine::{CancelOnDrop, Engine, Error, PruneProgress, PruneWatch, blocking};
use mica_task::Cancel;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::activity::Busy;
use crate::daemon::Daemon;
use crate::work::Task;

/// A prune that goes on.
pub(crate) struct Pruning<T> {
    /// How far it has got, `None` before it has begun; the other end goes with it. Who is slow misses what was overtaken
    /// meanwhile, and holds nothing up.
    pub(crate) told: watch::Receiver<Option<PruneProgress>>,
    /// What it did, in the end.
    pub(crate) end: End<T>,
    /// Ends it between two items when it is dropped: what is gone by then stays gone.
    pub(crate) wanted: CancelOnDrop,
}

/// What a prune did, once it has ended.
pub(crate) struct End<T>(JoinHandle<Result<T, Error>>);

impl<T: Send + 'static> Pruning<T> {
    /// Prunes what is called `what`.
    pub(crate) fn begin(
        daemon: &Arc<Daemon>,
        busy: Busy,
        what: &'static str,
        prune: impl FnOnce(&Engine, &mut PruneWatch<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Self {
        let cancel = Cancel::new();
        let wanted = CancelOnDrop::new(cancel.clone());
        let (tell, told) = watch::channel(None);
        let engine = daemon.engine.clone();
        let work = daemon.work(Task::Prune, [what.to_owned()]);
        let task = tokio::spawn(async move {
            let pruned = blocking(move || {
                let mut watch = PruneWatch {
                    cancel: &cancel,
                    tell: &mut |progress| {
                        tell.send_replace(Some(progress));
                    },
                };
                let pruned = prune(&engine, &mut watch);
                drop(busy);
                pruned
            });
            let pruned = pruned.await;
            work.end(&pruned);
            pruned
        });
        Self {
            told,
            end: End(task),
            wanted,
        }
    }

    /// Waits for what it did. Given up, it ends.
    pub(crate) async fn done(self) -> Result<T, Error> {
        self.end.wait().await
    }
}

impl<T> End<T> {
    /// Waits for it.
    pub(crate) async fn wait(self) -> Result<T, Error> {
        self.0.await.unwrap_or(Err(Error::Worker))
    }
}
