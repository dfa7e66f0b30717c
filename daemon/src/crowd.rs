//! Who is connected, and who has to leave when there is no room for more: those on whose connection nothing is being done.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Resource, getrlimit};
use tokio::sync::watch;

/// The most connections at one time.
const LIMIT: usize = 1024;

/// All who are connected; clones are the same crowd.
#[derive(Debug, Clone)]
pub(crate) struct Crowd {
    places: Arc<Mutex<Places>>,
    limit: usize,
}

#[derive(Debug, Default)]
struct Places {
    /// Connections that are open, or whose work outlives them.
    taken: usize,
    /// Counts what happens, to tell what was before what.
    now: u64,
    /// Connections on which nothing is done, by when that began.
    idle: BTreeMap<u64, Arc<watch::Sender<bool>>>,
}

/// A connection's place, given up when the last of it is gone. Clones are the same place.
#[derive(Debug, Clone)]
pub(crate) struct Place(Arc<Taken>);

#[derive(Debug)]
struct Taken {
    places: Arc<Mutex<Places>>,
    state: Mutex<State>,
    leave: Arc<watch::Sender<bool>>,
}

#[derive(Debug)]
struct State {
    works: usize,
    /// When it became idle, if it is.
    since: Option<u64>,
}

/// While this lives something is being done on a connection. It keeps its place too.
#[derive(Debug)]
pub(crate) struct Work(Place);

impl Crowd {
    /// Nobody is there. There is room for 1024, or for half as many as this process may have open files.
    pub(crate) fn new() -> Self {
        let files = getrlimit(Resource::Nofile).current;
        let files = files.and_then(|files| usize::try_from(files).ok());
        Self::of(files.map_or(LIMIT, |files| LIMIT.min(files / 2)))
    }

    fn of(limit: usize) -> Self {
        Self {
            places: Arc::default(),
            limit,
        }
    }

    /// How many there is room for.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Somebody comes. If there is no room, whoever has been idle for the longest time is told to leave; `None` if everybody is busy.
    pub(crate) fn enter(&self) -> Option<Place> {
        let mut places = lock(&self.places);
        if places.taken >= self.limit {
            let (_, leave) = places.idle.pop_first()?;
            leave.send_replace(true);
        }
        places.taken += 1;
        let leave = Arc::new(watch::Sender::new(false));
        let since = places.rest(&leave);
        Some(Place(Arc::new(Taken {
            places: self.places.clone(),
            state: Mutex::new(State {
                works: 0,
                since: Some(since),
            }),
            leave,
        })))
    }
}

impl Places {
    fn rest(&mut self, leave: &Arc<watch::Sender<bool>>) -> u64 {
        self.now += 1;
        self.idle.insert(self.now, leave.clone());
        self.now
    }
}

impl Place {
    /// Something is done on the connection from now on.
    pub(crate) fn work(&self) -> Work {
        let mut state = lock(&self.0.state);
        state.works += 1;
        if let Some(since) = state.since.take() {
            lock(&self.0.places).idle.remove(&since);
        }
        Work(self.clone())
    }

    /// Waits until the connection has to make room.
    pub(crate) async fn told_to_leave(&self) {
        // the sender lives in `self`, so the wait cannot fail
        let _ = self.0.leave.subscribe().wait_for(|told| *told).await;
    }

    /// Whether nothing is done on the connection.
    pub(crate) fn is_idle(&self) -> bool {
        lock(&self.0.state).works == 0
    }
}

impl Work {
    /// The connection's place.
    pub(crate) fn place(&self) -> &Place {
        &self.0
    }
}

impl Clone for Work {
    fn clone(&self) -> Self {
        self.0.work()
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let taken = &self.0.0;
        let mut state = lock(&taken.state);
        state.works -= 1;
        if state.works == 0 {
            state.since = Some(lock(&taken.places).rest(&taken.leave));
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut places = lock(&self.places);
        places.taken -= 1;
        if let Some(since) = state.since {
            places.idle.remove(&since);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn leaves(place: &Place) -> bool {
        let soon = Duration::from_millis(20);
        tokio::time::timeout(soon, place.told_to_leave()).await.is_ok()
    }

    #[tokio::test]
    async fn who_has_been_idle_for_longest_makes_room() {
        let crowd = Crowd::of(3);
        let [first, second, third] = std::array::from_fn(|_| crowd.enter().unwrap());
        // the first is idle again, since just now
        drop(first.work());
        let fourth = crowd.enter().unwrap();
        assert!(leaves(&second).await && !leaves(&first).await && !leaves(&third).await);
        assert!(
            second.is_idle() && leaves(&second).await,
            "it is told so for good"
        );
        drop(second);
        let works = (first.work(), third.work(), fourth.work());
        assert!(crowd.enter().is_none(), "all are busy");
        drop(works);
        assert!(crowd.enter().is_some());
        assert!(leaves(&first).await || leaves(&third).await || leaves(&fourth).await);
    }

    #[tokio::test]
    async fn work_keeps_the_place_of_a_connection_that_is_gone() {
        let crowd = Crowd::of(1);
        let place = crowd.enter().unwrap();
        let work = place.work();
        let more = work.clone();
        drop((place, work));
        assert!(crowd.enter().is_none());
        drop(more);
        let place = crowd.enter().unwrap();
        drop(place);
        assert!(crowd.enter().is_some(), "nothing is left of those who went");
    }
}
