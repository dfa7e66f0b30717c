//! What all builds of one process share: places to work at, the steps that are under way, what builds went through before.

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mica_oci::{BuildId, CacheKey};
use mica_task::{Cancel, Cancelled};

use crate::failed::{FailedStep, FailedSteps};
use crate::seen::Seen;

/// How often a waiting thread looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(50);

/// The fewest steps that are done at the same time: many wait for a network or a lock rather than for a processor.
const FEWEST_PLACES: usize = 4;

/// What all builds of one process share.
#[derive(Debug)]
pub struct Workshop {
    /// What builds went through before.
    pub(crate) seen: Seen,
    /// Steps that failed.
    pub(crate) failed: FailedSteps,
    busy: Mutex<Busy>,
    freed: Condvar,
    places: usize,
}

#[derive(Debug, Default)]
struct Busy {
    places: usize,
    steps: HashSet<CacheKey>,
}

impl Default for Workshop {
    /// Two places for every processor.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with_places(FEWEST_PLACES.max(2 * processors))
    }
}

/// A place to work at, free again when this is dropped.
pub(crate) struct Place<'a>(&'a Workshop);

/// A step nobody else does while this lives.
pub(crate) struct Claim<'a> {
    workshop: &'a Workshop,
    step: CacheKey,
    /// Whether somebody else was doing it before.
    pub waited: bool,
}

impl Workshop {
    fn with_places(places: usize) -> Self {
        Self {
            seen: Seen::default(),
            failed: FailedSteps::default(),
            busy: Mutex::default(),
            freed: Condvar::new(),
            places,
        }
    }

    /// The RUN that failed in this build, if it is still kept.
    pub fn failed_step(&self, build: &BuildId) -> Option<Arc<FailedStep>> {
        self.failed.find(build)
    }

    /// Forgets all steps that failed; gives how many bytes of the disk that frees, soon.
    pub fn forget_failed_steps(&self) -> u64 {
        self.failed.clear()
    }

    /// Forgets the steps that failed long ago.
    pub fn forget_old_failed_steps(&self) {
        self.failed.clear_old();
    }

    /// Waits for a place to work at.
    pub(crate) fn place(&self, cancel: &Cancel) -> Result<Place<'_>, Cancelled> {
        let mut busy = self.wait(cancel, |busy| busy.places < self.places)?.0;
        busy.places += 1;
        Ok(Place(self))
    }

    /// Waits until nobody does this step, and does not let others do it.
    pub(crate) fn claim(&self, step: &CacheKey, cancel: &Cancel) -> Result<Claim<'_>, Cancelled> {
        let (mut busy, waited) = self.wait(cancel, |busy| !busy.steps.contains(step))?;
        busy.steps.insert(*step);
        Ok(Claim {
            workshop: self,
            step: *step,
            waited,
        })
    }

    fn wait(
        &self,
        cancel: &Cancel,
        free: impl Fn(&Busy) -> bool,
    ) -> Result<(MutexGuard<'_, Busy>, bool), Cancelled> {
        let mut busy = self.lock();
        let mut waited = false;
        while !free(&busy) {
            cancel.check()?;
            waited = true;
            let freed = self.freed.wait_timeout(busy, LOOK);
            busy = freed.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok((busy, waited))
    }

    fn lock(&self) -> MutexGuard<'_, Busy> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.lock().places -= 1;
        self.0.freed.notify_all();
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.workshop.lock().steps.remove(&self.step);
        self.workshop.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mica_oci::Digest;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn no_more_work_than_there_are_places() {
        let workshop = Workshop::with_places(2);
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    let _place = workshop.place(&Cancel::new()).unwrap();
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(10));
                    now.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        assert!(most.into_inner() <= 2);
        // and no less
        let _both = [(); 2].map(|()| workshop.place(&Cancel::new()).unwrap());
    }

    #[test]
    fn a_step_is_done_by_one_at_a_time() {
        let workshop = Workshop::default();
        let [a, b] = [b"a", b"b"].map(|bytes| CacheKey(Digest::of(bytes)));
        let cancel = Cancel::new();
        let has_waited = || {
            let first = workshop.claim(&a, &cancel).unwrap();
            assert!(!first.waited && !workshop.claim(&b, &cancel).unwrap().waited);
            std::thread::scope(|scope| {
                let second = scope.spawn(|| workshop.claim(&a, &cancel).map(|claim| claim.waited));
                std::thread::sleep(Duration::from_millis(100));
                assert!(!second.is_finished());
                drop(first);
                second.join().unwrap().unwrap()
            })
        };
        // one that comes late need not wait
        assert!((0..20).any(|_| has_waited()));
        let _again = workshop.claim(&a, &cancel).unwrap();
        cancel.cancel();
        assert!(workshop.claim(&a, &cancel).is_err());
    }
}
