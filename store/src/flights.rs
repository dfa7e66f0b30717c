//! Making the same thing only once when several threads want it at the same moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use mica_oci::DiffId;

use crate::locks::lock;

/// One lock for each layer that is being worked on.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<HashMap<DiffId, Arc<Mutex<()>>>>);

impl Flights {
    /// Runs `work` while no other thread works on the same layer.
    pub(crate) fn alone<T>(&self, diff_id: &DiffId, work: impl FnOnce() -> T) -> T {
        let own = lock(&self.0).entry(*diff_id).or_default().clone();
        let result = {
            let _alone = lock(&own);
            work()
        };
        let mut all = lock(&self.0);
        // the map's and ours: nobody waits
        if Arc::strong_count(&own) == 2 {
            all.remove(diff_id);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mica_oci::Digest;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn only_one_works_on_a_layer_at_a_time() {
        let flights = Flights::default();
        let busy = AtomicUsize::new(0);
        let diff_id = DiffId(Digest::of(b"x"));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        flights.alone(&diff_id, || {
                            assert_eq!(busy.fetch_add(1, Ordering::SeqCst), 0);
                            busy.fetch_sub(1, Ordering::SeqCst);
                        });
                    }
                });
            }
        });
        assert!(lock(&flights.0).is_empty());
    }
}
