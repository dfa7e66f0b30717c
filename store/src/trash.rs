//! Deleting in the background: what is in the trash is unlinked by a thread of its own. What is left when the store closes is
//! unlinked once it is opened again.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// Whether the store closes: nothing more is unlinked, or who stops micad would wait for a million files.
    closing: AtomicBool,
}

impl Shared {
    fn is_open(&self) -> bool {
        !self.closing.load(Ordering::Relaxed)
    }
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
                    // what is not gone stays in the trash, which is emptied at every open
                    if !ours.is_open() {
                        return;
                    }
                    let removed = disk::remove_while(&path, &|| ours.is_open());
                    let mut state = lock(&ours.state);
                    match removed {
                        Ok(true) => {}
                        Ok(false) => return,
                        Err(error) => state.trouble = Some(format!("cannot empty the trash: {error}")),
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
        self.shared.closing.store(true, Ordering::Relaxed);
        self.queue = None;
        if let Some(worker) = self.worker.take() {
            // a panic there was reported by the thread itself
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use mica_layer::disk::recorded::{self, Act, Recorder};
    use rustix::io::Errno;

    use super::*;
    use crate::store::Store;

    /// Holds up the first unlinking below a folder until it is told to go on.
    struct HoldsUp {
        folder: PathBuf,
        begun: SyncSender<()>,
        go_on: Mutex<Option<Receiver<()>>>,
    }

    impl Recorder for HoldsUp {
        fn change(
            &self,
            path: &Path,
            act: &Act<'_>,
            make: &mut dyn FnMut(usize) -> Option<usize>,
        ) -> Result<(), Errno> {
            if matches!(act, Act::Unlink)
                && path.starts_with(&self.folder)
                && let Some(go_on) = lock(&self.go_on).take()
            {
                self.begun.send(()).unwrap();
                go_on.recv().unwrap();
            }
            make(usize::MAX);
            Ok(())
        }
    }

    fn files_in(folder: &Path) -> usize {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries
            .map(|path| if path.is_dir() { files_in(&path) } else { 1 })
            .sum()
    }

    #[test]
    fn who_closes_waits_for_one_file_and_the_next_open_takes_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let trash = store.inner.paths.trash();
        let (begun, has_begun) = sync_channel(1);
        let (goes_on, go_on) = sync_channel(1);
        recorded::tell(Some(Arc::new(HoldsUp {
            folder: trash.clone(),
            begun,
            go_on: Mutex::new(Some(go_on)),
        })));
        for _ in 0..20 {
            let work = store.work(&store.lease()).unwrap();
            for number in 0..30 {
                fs::write(work.path().join(number.to_string()), "x").unwrap();
            }
        }
        has_begun.recv().unwrap();
        assert_eq!(files_in(&trash), 20 * 30);
        let shared = store.inner.trash.shared.clone();
        let closes = std::thread::spawn(move || drop(store));
        while shared.is_open() {
            std::thread::yield_now();
        }
        goes_on.send(()).unwrap();
        closes.join().unwrap();
        recorded::tell(None);
        assert_eq!(files_in(&trash), 20 * 30 - 1);
        assert_eq!(lock(&shared.state).trouble, None);

        let store = Store::open(folder.path()).unwrap();
        assert!(store.wait_for_room(Duration::from_secs(600)));
        assert_eq!(fs::read_dir(&trash).unwrap().count(), 0);
        // nothing that lay there counts as if it still did
        let usage = store.disk_usage().unwrap();
        assert_eq!(
            (usage.unfinished, usage.images),
            (crate::space::at(&store.inner.paths.partials()), 0)
        );
    }
}
