//! Whether anything goes on: connections and work, counted.

use std::time::Duration;

use tokio::sync::watch;

/// Counts what goes on.
#[derive(Debug, Clone)]
pub(crate) struct Activity(watch::Sender<usize>);

/// Something goes on while this lives.
#[derive(Debug)]
pub(crate) struct Busy(watch::Sender<usize>);

impl Activity {
    /// Nothing goes on.
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    /// Something begins.
    pub(crate) fn begin(&self) -> Busy {
        self.0.send_modify(|count| *count += 1);
        Busy(self.0.clone())
    }

    /// How much goes on.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        *self.0.borrow()
    }

    /// Waits until nothing goes on.
    pub(crate) async fn quiet(&self) {
        // the sender lives in `self`, so the wait cannot fail
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Waits until nothing went on for this long.
    pub(crate) async fn quiet_for(&self, time: Duration) {
        let mut count = self.0.subscribe();
        loop {
            self.quiet().await;
            tokio::select! {
                () = tokio::time::sleep(time) => return,
                _ = count.wait_for(|count| *count > 0) => {}
            }
        }
    }
}

impl Clone for Busy {
    fn clone(&self) -> Self {
        Activity(self.0.clone()).begin()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_puts_the_end_off() {
        let activity = Activity::new();
        let busy = activity.begin();
        let other = busy.clone();
        assert_eq!(activity.count(), 2);
        drop(busy);
        let wait = activity.quiet_for(Duration::from_millis(50));
        tokio::pin!(wait);
        assert!(
            tokio::time::timeout(Duration::from_millis(150), &mut wait)
                .await
                .is_err()
        );
        drop(other);
        tokio::time::timeout(Duration::from_secs(5), wait).await.unwrap();
    }
}
