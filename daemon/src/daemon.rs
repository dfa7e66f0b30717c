//! What all requests share: the engine, the settings, the builds that are running.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use mica_engine::Engine;
use mica_task::Cancel;
use tokio::sync::watch;

use crate::activity::Activity;
use crate::config::Registries;
use crate::grpc::{History, Jobs, Sessions};

/// What all requests share.
pub(crate) struct Daemon {
    /// Does the work.
    pub(crate) engine: Engine,
    /// What is known of registries.
    pub(crate) registries: Registries,
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
    /// Says when to stop.
    pub(crate) stop: watch::Sender<bool>,
}

impl Daemon {
    /// Waits until the daemon is told to leave.
    pub(crate) async fn stopped(&self) {
        // the sender lives in `self`, so the wait cannot fail
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }
}

/// The builds that are running.
#[derive(Clone, Default)]
pub(crate) struct Builds(Arc<Mutex<Running>>);

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
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if running.stopped {
            cancel.cancel();
        }
        let number = running.next;
        running.next += 1;
        running
            .builds
            .insert(number, (name.map(str::to_owned), cancel.clone()));
        Registered {
            builds: self.clone(),
            number,
        }
    }

    /// Stops the builds that are called so.
    pub(crate) fn cancel(&self, name: &str) {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (own, cancel) in running.builds.values() {
            if own.as_deref() == Some(name) {
                cancel.cancel();
            }
        }
    }

    /// Stops all builds, and those that begin from now on.
    pub(crate) fn stop(&self) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        let mut running = self.builds.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.builds.remove(&self.number);
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
}
