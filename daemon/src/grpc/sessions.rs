//! The sessions that clients have attached.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mica_buildkit::Session;
use tokio::sync::watch;
use tonic::Status;

/// How long a build waits for the session it names: a client opens both at once (BuildKit's own time).
const WAIT: Duration = Duration::from_secs(5);

/// The sessions that are attached, by what their clients call them.
#[derive(Clone)]
pub(crate) struct Sessions {
    attached: Arc<Mutex<HashMap<String, (u64, Named)>>>,
    changes: watch::Sender<u64>,
}

/// A session with what its client says of itself.
#[derive(Clone)]
pub(crate) struct Named {
    /// The session.
    pub(crate) session: Session,
    /// What its folders are known by from build to build.
    pub(crate) shared_key: String,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            attached: Arc::default(),
            changes: watch::Sender::new(0),
        }
    }
}

impl Sessions {
    /// A session is there; it takes the place of an older one of that name. The number is to be given to
    /// [`end`](Self::end).
    pub(crate) fn begin(&self, name: String, session: Named) -> u64 {
        let mut number = 0;
        self.changes.send_modify(|count| {
            *count += 1;
            number = *count;
            self.lock().insert(name, (number, session));
        });
        number
    }

    /// The session is gone.
    pub(crate) fn end(&self, name: &str, number: u64) {
        let mut attached = self.lock();
        if attached.get(name).is_some_and(|(own, _)| *own == number) {
            attached.remove(name);
        }
    }

    /// The session of this name, which may still be on its way.
    pub(crate) async fn get(&self, name: &str) -> Result<Named, Status> {
        let mut changes = self.changes.subscribe();
        let found = async {
            loop {
                if let Some((_, session)) = self.lock().get(name) {
                    return session.clone();
                }
                if changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(WAIT, found).await.map_err(|_| {
            Status::not_found(format!(
                "no active session for {name}: the client did not attach it"
            ))
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (u64, Named)>> {
        self.attached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
