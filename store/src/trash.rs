//! Deleting in the background: what is in the trash is unlinked by a thread of its own.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use fs_err as fs;

use crate::disk;
use crate::error::Error;
use crate::locks::lock;
use crate::paths::Paths;

/// Takes files and directories out of sight at once and unlinks them later.
pub(crate) struct Trash {
    paths: Paths,
    queue: Option<Sender<Job>>,
    worker: Option<JoinHandle<()>>,
    trouble: Arc<Mutex<Option<String>>>,
}

/// What the thread does, one after the other.
enum Job {
    /// Unlinks a file or a directory.
    Unlink(PathBuf),
    /// Tells someone that all before it is done.
    Tell(SyncSender<()>),
}

impl Trash {
    /// Starts the thread.
    pub(crate) fn open(paths: &Paths) -> Result<Self, Error> {
        let (queue, work) = channel();
        let trouble = Arc::new(Mutex::new(None));
        let report = trouble.clone();
        let worker = std::thread::Builder::new()
            .name("store-trash".into())
            .spawn(move || {
                for job in work {
                    let path = match job {
                        Job::Unlink(path) => path,
                        Job::Tell(waiting) => {
                            // in vain if nobody waits any more
                            let _ = waiting.send(());
                            continue;
                        }
                    };
                    // it stays in the trash, which is emptied at every open
                    if let Err(error) = disk::remove(&path) {
                        *lock(&report) = Some(format!("cannot empty the trash: {error}"));
                    }
                }
            })
            .map_err(Error::io("start a thread"))?;
        Ok(Self {
            paths: paths.clone(),
            queue: Some(queue),
            worker: Some(worker),
            trouble,
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
            result => disk::absent_is_fine(result).map_err(Error::io("move to the trash"))?,
        }
        Ok(())
    }

    /// Has what lies in the trash unlinked.
    pub(crate) fn empty(&self, path: PathBuf) {
        if let Some(queue) = &self.queue {
            // fails only if the thread is gone; the next open empties the trash then
            let _ = queue.send(Job::Unlink(path));
        }
    }

    /// Waits until what lies in it at this moment is unlinked, as far as it can be.
    pub(crate) fn wait(&self) {
        let (tell, told) = sync_channel(1);
        if let Some(queue) = &self.queue
            && queue.send(Job::Tell(tell)).is_ok()
        {
            // fails only if the thread is gone
            let _ = told.recv();
        }
    }

    /// The last failure to unlink something.
    pub(crate) fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
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
