//! How much goes on with one host at the same time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Blobs that are fetched at a time (docker's number).
const DOWNLOADS: usize = 3;
/// Requests for parts of blobs at a time: one for each download, and one more that a big blob may take.
const PARTS: usize = 4;
/// Blobs that are sent at a time (docker's number).
const UPLOADS: usize = 5;
/// Blobs that are sent at a time to a registry that has shown that it cannot take more (ghcr under parallel pushes).
const UPLOADS_WHEN_TIRED: usize = 2;
/// Server errors during uploads after which a registry counts as tired.
const TIRED: u32 = 2;

/// The lanes of one host. Small requests need none.
#[derive(Debug)]
pub(crate) struct Lanes {
    downloads: Arc<Semaphore>,
    parts: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
    server_errors: AtomicU32,
}

/// A place in a lane, given back when it drops.
pub(crate) type Place = OwnedSemaphorePermit;

impl Default for Lanes {
    fn default() -> Self {
        Self {
            downloads: Arc::new(Semaphore::new(DOWNLOADS)),
            parts: Arc::new(Semaphore::new(PARTS)),
            uploads: Arc::new(Semaphore::new(UPLOADS)),
            server_errors: AtomicU32::new(0),
        }
    }
}

async fn place(lane: &Arc<Semaphore>) -> Place {
    lane.clone()
        .acquire_owned()
        .await
        .expect("lanes are never closed")
}

impl Lanes {
    /// Waits for a place among the blobs that are fetched.
    pub(crate) async fn download(&self) -> Place {
        place(&self.downloads).await
    }

    /// Waits for a place among the requests for blobs.
    pub(crate) async fn part(&self) -> Place {
        place(&self.parts).await
    }

    /// A place among the requests for blobs, if one is free.
    pub(crate) fn spare_part(&self) -> Option<Place> {
        self.parts.clone().try_acquire_owned().ok()
    }

    /// Waits for a place among the blobs that are sent.
    pub(crate) async fn upload(&self) -> Place {
        place(&self.uploads).await
    }

    /// An upload got a server error: after some, fewer go at a time from now on.
    pub(crate) fn server_error(&self) {
        if self.server_errors.fetch_add(1, Ordering::Relaxed) + 1 != TIRED {
            return;
        }
        let uploads = self.uploads.clone();
        tokio::spawn(async move {
            // as they come free
            if let Ok(places) = uploads.acquire_many((UPLOADS - UPLOADS_WHEN_TIRED) as u32).await {
                places.forget();
            }
        });
    }
}

/// The lanes of all hosts.
#[derive(Debug, Default)]
pub(crate) struct AllLanes(Mutex<HashMap<String, Arc<Lanes>>>);

impl AllLanes {
    /// The lanes of a host.
    pub(crate) fn of(&self, host: &str) -> Arc<Lanes> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(host.to_owned()).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tired_registry_gets_fewer_uploads() {
        let lanes = Lanes::default();
        lanes.server_error();
        assert_eq!(lanes.uploads.available_permits(), UPLOADS);
        lanes.server_error();
        lanes.server_error();
        tokio::task::yield_now().await;
        assert_eq!(lanes.uploads.available_permits(), UPLOADS_WHEN_TIRED);
        let _one = lanes.upload().await;
    }

    #[tokio::test]
    async fn parts_are_counted_over_all_blobs_of_a_host() {
        let all = AllLanes::default();
        let lanes = all.of("a");
        let _taken = [
            lanes.part().await,
            lanes.part().await,
            lanes.part().await,
            lanes.part().await,
        ];
        assert!(all.of("a").spare_part().is_none());
        assert!(all.of("b").spare_part().is_some());
    }
}
