//! Room on the disk: what is free, what is given back, and what is kept so that something can be removed when nothing is free.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fs_err::File;

use crate::disk;
use crate::error::{Error, is_full_disk};
use crate::locks::lock;
use crate::paths::Paths;
use crate::store::Store;

/// The longest ballast in bytes: removing writes at most some hundred pages to the database's log at once, and then the lists of
/// images anew.
const MOST: u64 = 4 << 20;

/// That of a small store; longer ones grow by so much.
const STEP: u64 = 256 << 10;

/// What is less is no ballast, in bytes.
const LEAST: u64 = 64 << 10;

/// What is free on the store's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes that anybody can take.
    pub bytes: u64,
    /// How many files and folders can be made; as many as may be where the file system sets no limit.
    pub files: u64,
}

impl Store {
    /// What is free on the disk. What was given back a moment ago may still be on its way.
    pub fn room(&self) -> Result<Room, Error> {
        room(self.root())
    }

    /// Gives back what is of use, but not needed: what is left of downloads that nobody is at. What of it `keep` says yes to stays.
    pub fn give_back(&self, keep: &dyn Fn(&mica_oci::Digest) -> bool) -> Result<(), Error> {
        self.drop_partials(Duration::ZERO, keep).map(drop)
    }

    /// Waits until all that was removed has given its room back, but no longer than `patience`. Says whether it has.
    pub fn wait_for_room(&self, patience: Duration) -> bool {
        self.inner.trash.wait(patience)
    }
}

fn room(root: &Path) -> Result<Room, Error> {
    let look = || Error::io("see how much of the disk is free");
    let folder = File::open(root).map_err(look())?;
    let told = rustix::fs::fstatvfs(&folder).map_err(|errno| look()(errno.into()))?;
    Ok(Room {
        // some file systems tell nothing
        bytes: match told.f_blocks {
            0 => u64::MAX,
            _ => told.f_bavail.saturating_mul(told.f_frsize),
        },
        // btrfs and the like make them as they are needed
        files: match told.f_files {
            0 => u64::MAX,
            _ => told.f_favail,
        },
    })
}

/// A file that takes up room so that it can be given up when the disk is full: without any room not even an image can be removed,
/// as the database writes first what it removes.
#[derive(Debug)]
pub(crate) struct Ballast {
    paths: Paths,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How many need its room at this moment.
    lent: usize,
    /// Whether it was given up by this process, so that what is free is the room it had.
    given_up: bool,
}

/// While it lives, the room of the ballast is not taken again.
pub(crate) struct Lent<'a>(&'a Ballast);

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).lent -= 1;
    }
}

impl Ballast {
    /// The one of a store, whether it is there or not.
    pub(crate) fn of(paths: &Paths) -> Arc<Self> {
        Arc::new(Self {
            paths: paths.clone(),
            state: Mutex::default(),
        })
    }

    /// How long it is to be: one change writes no more than the database and the lists have.
    fn wanted(&self) -> u64 {
        let length = |path: &Path| fs_err::metadata(path).map_or(0, |meta| meta.len());
        let paths = &self.paths;
        let all: u64 = [paths.database(), paths.refs(), paths.index()]
            .iter()
            .map(|path| length(path))
            .sum();
        // in steps, so that it is not made again for every page
        all.next_multiple_of(STEP).clamp(STEP, MOST)
    }

    /// Whether it is given up and what was its room may be in use.
    pub(crate) fn is_given_up(&self) -> bool {
        lock(&self.state).given_up
    }

    /// Gives it up if there is less room than it has, for something that has to be written then.
    pub(crate) fn lend(&self) -> Lent<'_> {
        lock(&self.state).lent += 1;
        // who cannot see how much there is finds out by writing
        if room(self.paths.root()).is_ok_and(|room| room.bytes < self.wanted()) {
            self.give_up();
        }
        Lent(self)
    }

    /// Gives it up. Says whether there was one.
    pub(crate) fn give_up(&self) -> bool {
        let mut state = lock(&self.state);
        let gone = disk::unlink(&self.paths.ballast()).is_ok();
        state.given_up |= gone;
        gone
    }

    /// Makes it again, if nobody needs its room and there is so much that it will not be given up at once; or as much of it as
    /// is left of the room it had.
    pub(crate) fn make(&self) {
        let path = self.paths.ballast();
        let mut state = lock(&self.state);
        let wanted = self.wanted();
        let whole = |meta: std::fs::Metadata| meta.is_file() && meta.len() == wanted;
        if state.lent > 0 || fs_err::symlink_metadata(&path).is_ok_and(whole) {
            return;
        }
        if fs_err::symlink_metadata(&path).is_ok_and(|meta| meta.len() > wanted) {
            // what is reserved is never cut
            let _ = disk::unlink(&path);
        }
        let mut length = match room(self.paths.root()) {
            Ok(room) if room.bytes >= 2 * wanted => wanted,
            Ok(room) if state.given_up => room.bytes.min(wanted),
            _ => return,
        };
        while length >= LEAST {
            match disk::open(&path).and_then(|file| file.reserve(length)) {
                Ok(()) => {
                    state.given_up = length < wanted;
                    return;
                }
                Err(error) => {
                    let _ = disk::unlink(&path);
                    // the disk may be of a kind that keeps nothing free for a file
                    if !is_full_disk(&error) {
                        return;
                    }
                }
            }
            // what tells where its bytes lie takes room, too
            length -= length / 8;
        }
    }
}
