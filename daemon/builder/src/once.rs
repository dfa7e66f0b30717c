//! A value that one of several threads works out while the others wait for it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mica_task::{Cancel, Cancelled};

/// How often a waiting thread looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(50);

/// A value that is worked out once.
#[derive(Debug)]
pub(crate) struct Once<T> {
    progress: Mutex<Progress<T>>,
    changed: Condvar,
}

#[derive(Debug)]
enum Progress<T> {
    Open,
    Busy,
    Done(Arc<T>),
    Failed,
}

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self {
            progress: Mutex::new(Progress::Open),
            changed: Condvar::new(),
        }
    }
}

impl<T> Once<T> {
    /// The value, worked out with `make` by the first thread that asks. The others wait; they fail as cancelled if the first
    /// one failed, whose error is for it to tell.
    pub(crate) fn get<E: From<Cancelled>>(
        &self,
        cancel: &Cancel,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let mut progress = self.lock();
        loop {
            match &*progress {
                Progress::Done(value) => return Ok(value.clone()),
                Progress::Failed => return Err(Cancelled.into()),
                Progress::Open => break,
                Progress::Busy => {
                    cancel.check()?;
                    let waited = self.changed.wait_timeout(progress, LOOK);
                    progress = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
        *progress = Progress::Busy;
        drop(progress);
        // whatever happens to the maker, the others are not left waiting
        let mut end = End {
            of: self,
            progress: Progress::Failed,
        };
        let value = Arc::new(make()?);
        end.progress = Progress::Done(value.clone());
        Ok(value)
    }

    fn lock(&self) -> MutexGuard<'_, Progress<T>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells those who wait how it ended.
struct End<'a, T> {
    of: &'a Once<T>,
    progress: Progress<T>,
}

impl<T> Drop for End<'_, T> {
    fn drop(&mut self) {
        *self.of.lock() = std::mem::replace(&mut self.progress, Progress::Failed);
        self.of.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn one_makes_it_for_all() {
        let once = Once::<usize>::default();
        let made = AtomicUsize::new(0);
        let make = || {
            std::thread::sleep(Duration::from_millis(20));
            Ok::<_, Cancelled>(made.fetch_add(1, Ordering::SeqCst))
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| once.get(&Cancel::new(), make)))
                .collect();
            for thread in threads {
                assert_eq!(*thread.join().unwrap().unwrap(), 0);
            }
        });
    }

    #[test]
    fn nobody_waits_for_what_failed_or_is_not_wanted() {
        let once = Once::<()>::default();
        let cancel = Cancel::new();
        let (begin, begun) = std::sync::mpsc::channel();
        let (go, gone) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let maker = scope.spawn(|| {
                let make = move || {
                    begin.send(()).unwrap();
                    gone.recv().unwrap();
                    Err::<(), _>(Cancelled)
                };
                once.get(&Cancel::new(), make)
            });
            begun.recv().unwrap();
            let waiter = scope.spawn(|| once.get(&cancel, || Ok::<_, Cancelled>(())));
            cancel.cancel();
            assert!(waiter.join().unwrap().is_err() && !maker.is_finished());
            go.send(()).unwrap();
            assert!(maker.join().unwrap().is_err());
        });
        assert!(once.get(&Cancel::new(), || Ok::<_, Cancelled>(())).is_err());
    }
}
