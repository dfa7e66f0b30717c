//! Deleting in the background: what is in the trash is unlinked by a thread of its own.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use fs_err as fs;

use crate::disk;
use crate::error::{Error, is_full_disk};
use crate::locks::lock;
use crate::paths::Paths;
use crate::room::Ballast;

/// Takes files and directories out of sight at once and unlinks them later.
pub(crate) struct Trash {
    paths: Paths,
    queue: Option<Sender<PathBuf>>,
    worker: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    emptied: Condvar,
}

#[derive(Default)]
struct State {
    /// How much is still to be unlinked.
    waiting: usize,
    trouble: Option<String>,
}

impl Trash {
    /// Starts the thread. When all is unlinked it makes the ballast again.
    pub(crate) fn open(paths: &Paths, ballast: Arc<Ballast>) -> Result<Self, Error> {
        let (queue, work) = channel::<PathBuf>();
        let shared = Arc::<Shared>::default();
        let ours = shared.clone();
        let worker = std::thread::Builder::new()
            .name("store-trash".into())
            .spawn(move || {
                for path in work {
                    let removed = disk::remove(&path);
                    let mut state = lock(&ours.state);
                    // it stays in the trash, which is emptied at every open
                    if let Err(error) = removed {
                        state.trouble = Some(format!("cannot empty the trash: {error}"));
                    }
                    state.waiting -= 1;
                    if state.waiting == 0 {
                        ours.emptied.notify_all();
                        drop(state);
                        ballast.make();
                    }
                }
            })
            .map_err(Error::io("start a thread"))?;
        Ok(Self {
            paths: paths.clone(),
            queue: Some(queue),
            worker: Some(worker),
            shared,
        })
    }

    /// Moves `path` into the trash; gone from its place when this returns, unlinked later. Absent is fine.
    pub(crate) fn take(&self, path: &Path) -> Result<(), Error> {
        let mut to = self.paths.fresh(self.paths.trash());
        // what an earlier process left there may not be removed yet, and may never be
        while fs::symlink_metadata(&to).is_ok() {
            to = self.paths.fresh(self.paths.trash());
        }
        match disk::discard(path, &to) {
            Ok(()) => self.empty(to),
            // no room for one more name in the trash: what has no row any more is swept at the next open if this breaks off
            Err(error) if is_full_disk(&error) => {
                disk::remove(path).map_err(Error::io("remove what is unused"))?
            }
            result => disk::absent_is_fine(result).map_err(Error::io("move to the trash"))?,
        }
        Ok(())
    }

    /// Waits until all of it is unlinked, but no longer than `patience`. Says whether it is.
    pub(crate) fn wait(&self, patience: Duration) -> bool {
        let state = lock(&self.shared.state);
        let waited = self
            .shared
            .emptied
            .wait_timeout_while(state, patience, |state| state.waiting > 0);
        waited.unwrap_or_else(PoisonError::into_inner).0.waiting == 0
    }

    /// Has what lies in the trash unlinked.
    pub(crate) fn empty(&self, path: PathBuf) {
        if let Some(queue) = &self.queue {
            lock(&self.shared.state).waiting += 1;
            // fails only if the thread is gone; the next open empties the trash then
            let _ = queue.send(path);
        }
    }

    /// The last failure to unlink something.
    pub(crate) fn trouble(&self) -> Option<String> {
        lock(&self.shared.state).trouble.clone()
    }
}

impl Drop for Trash {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(worker) = self.worker.take() {
            // a panic there was reported by the thread itself
            let _ = worker.join();
        }
    }
}
