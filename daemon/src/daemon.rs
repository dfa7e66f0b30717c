//! What all requests share: the engine, the settings, the builds that are running.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use mica_engine::Engine;
use mica_task::Cancel;
use tokio::sync::watch;

use crate::activity::Activity;
use crate::grpc::{History, Jobs, Sessions};
use crate::keeping::Upkeep;
use crate::metrics::Metrics;
use crate::names::Names;
use crate::reload::Current;
use crate::work::{Task, Work};

/// What all requests share.
pub(crate) struct Daemon {
    /// Does the work.
    pub(crate) engine: Engine,
    /// The settings in force.
    pub(crate) settings: Current,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// What whoever keeps the disk from filling up has to know.
    pub(crate) upkeep: Arc<Upkeep>,
    /// Who gave which name.
    pub(crate) names: Names,
    /// Whether anything goes on.
    pub(crate) activity: Activity,
    /// The builds that are running.
    pub(crate) builds: Builds,
    /// Sessions that clients have attached.
    pub(crate) sessions: Sessions,
    /// Builds that were asked for by gRPC.
    pub(crate) jobs: Jobs,
    /// What is known of those, and of those of before.
    pub(crate) history: History,
    /// Says when to stop: no new requests are taken, builds go on.
    pub(crate) stop: watch::Sender<bool>,
    /// Says when what still goes on is to end.
    pub(crate) end: watch::Sender<bool>,
}

impl Daemon {
    /// Waits until the daemon is told to leave.
    pub(crate) async fn stopped(&self) {
        // the sender lives in `self`, so the wait cannot fail
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    /// Waits until what still goes on is to end.
    pub(crate) async fn ended(&self) {
        // as above
        let _ = self.end.subscribe().wait_for(|end| *end).await;
    }

    /// Waits until the daemon is told to leave and no build goes on any more, or none may.
    pub(crate) async fn drained(&self) {
        self.stopped().await;
        tokio::select! {
            () = self.builds.none() => {}
            () = self.ended() => {}
        }
    }

    /// Work begins that is about these names.
    pub(crate) fn work(&self, task: Task, names: impl IntoIterator<Item = String>) -> Work {
        Work::begin((&self.metrics, &self.upkeep), task, names)
    }
}

/// The builds that are running.
#[derive(Clone)]
pub(crate) struct Builds {
    running: Arc<Mutex<Running>>,
    /// How many there are.
    count: watch::Sender<usize>,
}

impl Default for Builds {
    fn default() -> Self {
        Self {
            running: Arc::default(),
            count: watch::Sender::new(0),
        }
    }
}

#[derive(Default)]
struct Running {
    next: u64,
    builds: HashMap<u64, (Option<String>, Cancel)>,
    stopped: bool,
}

/// A running build; while it lives it can be stopped by its name.
pub(crate) struct Registered {
    builds: Builds,
    number: u64,
}

impl Builds {
    /// A build begins; `name` is what its client calls it.
    pub(crate) fn begin(&self, name: Option<&str>, cancel: &Cancel) -> Registered {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.stopped {
            cancel.cancel();
        }
        let number = running.next;
        running.next += 1;
        running
            .builds
            .insert(number, (name.map(str::to_owned), cancel.clone()));
        self.count.send_replace(running.builds.len());
        Registered {
            builds: self.clone(),
            number,
        }
    }

    /// Stops the builds that are called so.
    pub(crate) fn cancel(&self, name: &str) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        for (own, cancel) in running.builds.values() {
            if own.as_deref() == Some(name) {
                cancel.cancel();
            }
        }
    }

    /// Lets those that run go on, and stops all that begin from now on.
    pub(crate) fn close(&self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.stopped = true;
    }

    /// Waits until none is running.
    pub(crate) async fn none(&self) {
        // the sender lives in `self`, so the wait cannot fail
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Stops all builds, and those that begin from now on.
    pub(crate) fn stop(&self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.stopped = true;
        for (_, cancel) in running.builds.values() {
            cancel.cancel();
        }
    }
}

impl Registered {
    /// A number no other build of this daemon has.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut running = self.builds.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.builds.remove(&self.number);
        self.builds.count.send_replace(running.builds.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_are_stopped_by_name_or_all_at_once() {
        let builds = Builds::default();
        let cancels: Vec<Cancel> = (0..4).map(|_| Cancel::new()).collect();
        let _a = builds.begin(Some("a"), &cancels[0]);
        let _b = builds.begin(Some("b"), &cancels[1]);
        drop(builds.begin(Some("a"), &cancels[2]));
        builds.cancel("a");
        assert!(cancels[0].is_cancelled() && !cancels[1].is_cancelled() && !cancels[2].is_cancelled());
        builds.stop();
        assert!(cancels[1].is_cancelled());
        let _late = builds.begin(None, &cancels[3]);
        assert!(cancels[3].is_cancelled());
    }

    #[tokio::test]
    async fn those_that_run_may_end_when_no_more_may_begin() {
        let builds = Builds::default();
        let (running, late) = (Cancel::new(), Cancel::new());
        let registered = builds.begin(None, &running);
        builds.close();
        assert!(!running.is_cancelled());
        let refused = builds.begin(None, &late);
        assert!(late.is_cancelled());
        drop(refused);
        let none = builds.none();
        tokio::pin!(none);
        let soon = std::time::Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, &mut none).await.is_err());
        drop(registered);
        none.await;
    }
}
