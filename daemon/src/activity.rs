//! Whether anything goes on: connections and work, counted.

use std::time::Duration;

use tokio::sync::watch;

use crate::crowd::{Place, Work};

/// Counts what goes on.
#[derive(Debug, Clone)]
pub(crate) struct Activity(watch::Sender<Count>);

/// Something goes on while this lives.
#[derive(Debug)]
pub(crate) struct Busy {
    activity: watch::Sender<Count>,
    /// On which connection, if on one.
    work: Option<Work>,
}

/// While this lives, somebody who is counted as busy only listens.
#[derive(Debug)]
pub(crate) struct Listening(watch::Sender<Count>);

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    busy: usize,
    listening: usize,
}

impl Count {
    fn is_quiet(self) -> bool {
        self.busy <= self.listening
    }
}

impl Activity {
    /// Nothing goes on.
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Count::default()))
    }

    /// Something begins.
    pub(crate) fn begin(&self) -> Busy {
        self.begin_on(None)
    }

    /// Something begins on a connection.
    pub(crate) fn begin_on(&self, work: Option<Work>) -> Busy {
        self.0.send_modify(|count| count.busy += 1);
        Busy {
            activity: self.0.clone(),
            work,
        }
    }

    /// Somebody who is busy, as all connections are, from now on waits for what others do. That is nothing that goes on: a
    /// listener somebody forgot must not keep a daemon that was started for a moment's work running for ever.
    pub(crate) fn listen(&self) -> Listening {
        self.0.send_modify(|count| count.listening += 1);
        Listening(self.0.clone())
    }

    /// How much goes on.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.0.borrow().busy
    }

    /// Waits until nothing goes on.
    pub(crate) async fn quiet(&self) {
        // the sender lives in `self`, so the wait cannot fail
        let _ = self.0.subscribe().wait_for(|count| count.is_quiet()).await;
    }

    /// Waits until nobody is there, listeners neither.
    pub(crate) async fn deserted(&self) {
        // as above
        let _ = self.0.subscribe().wait_for(|count| count.busy == 0).await;
    }

    /// Waits until nothing went on for this long.
    pub(crate) async fn quiet_for(&self, time: Duration) {
        let mut count = self.0.subscribe();
        loop {
            self.quiet().await;
            tokio::select! {
                () = tokio::time::sleep(time) => return,
                _ = count.wait_for(|count| !count.is_quiet()) => {}
            }
        }
    }
}

impl Busy {
    /// From now on who does something on this connection says so by itself; its place, if there is a connection.
    pub(crate) fn leave_connection(&mut self) -> Option<Place> {
        Some(self.work.take()?.place().clone())
    }
}

impl Clone for Busy {
    fn clone(&self) -> Self {
        Activity(self.activity.clone()).begin_on(self.work.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.activity.send_modify(|count| count.busy -= 1);
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.send_modify(|count| count.listening -= 1);
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
        tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap();
    }

    #[tokio::test]
    async fn listeners_do_not_put_the_end_off() {
        let activity = Activity::new();
        let connection = activity.begin();
        let listening = activity.listen();
        let soon = Duration::from_millis(10);
        let wait = |activity: Activity| async move {
            tokio::time::timeout(Duration::from_millis(200), activity.quiet_for(soon))
                .await
                .is_ok()
        };
        assert!(wait(activity.clone()).await);
        let work = activity.begin();
        assert!(!wait(activity.clone()).await);
        drop(work);
        assert!(wait(activity.clone()).await);
        let deserted = activity.deserted();
        tokio::pin!(deserted);
        assert!(tokio::time::timeout(soon, &mut deserted).await.is_err());
        drop(listening);
        assert!(!wait(activity.clone()).await, "it does something else now");
        drop(connection);
        tokio::time::timeout(Duration::from_secs(60), deserted)
            .await
            .unwrap();
    }
}
