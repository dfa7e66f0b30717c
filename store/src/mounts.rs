//! Cache mounts: directories that RUN steps write to and that outlive them. Nothing of them is in a layer or a key.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use mica_oci::{CacheKey, Digest};
use rusqlite::Connection;

use crate::database::Durability;
use crate::disk;
use crate::error::Error;
use crate::locks::lock;
use crate::space;
use crate::store::{Inner, Store};

mod folder;
mod listing;

pub use listing::MountEntry;

/// How often someone who waits is asked whether to go on.
const PATIENCE: Duration = Duration::from_millis(50);

/// How steps that run at the same time share a cache mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sharing {
    /// All that say so see the same directory.
    Shared,
    /// Who finds it busy gets one of its own, which is there for others afterwards.
    Private,
    /// Who finds it busy waits.
    Locked,
}

/// Which directory is wanted, and what it is like if it has to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheMount {
    /// All that tells caches apart. Directories of one key can stand in for each other.
    pub key: CacheKey,
    /// What people call it.
    pub name: String,
    /// Permission bits of a new directory; those of the seed if `None`, else 0755.
    pub mode: Option<u32>,
    /// Its owner and group; the seed's if `None`, else 0.
    pub owner: Option<(u32, u32)>,
}

/// Fills a new directory, which is empty but for what a failed attempt of its own left.
pub type Seed<'a, E> = dyn FnMut(&Path) -> Result<(), E> + 'a;

/// What all users of cache mounts share.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Who is in which directory.
    users: HashMap<CacheKey, Users>,
    /// The keys for which a directory is being made.
    making: HashSet<CacheKey>,
}

/// Who is in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Users {
    /// Some who share it.
    Sharing(usize),
    /// One who does not.
    One,
}

/// What to do about a request.
enum Turn {
    Take(CacheKey),
    Make,
    Wait,
}

/// A cache mount in use. Dropping it gives it back and notes how large it has become.
pub struct HeldMount {
    store: Arc<Inner>,
    id: CacheKey,
}

impl HeldMount {
    /// The directory.
    pub fn path(&self) -> PathBuf {
        self.store.paths.mount(&self.id)
    }

    /// Names the directory among all of the store.
    pub fn id(&self) -> &CacheKey {
        &self.id
    }
}

impl fmt::Debug for HeldMount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HeldMount").field(&self.id).finish()
    }
}

impl Drop for HeldMount {
    fn drop(&mut self) {
        let last = match lock(&self.store.mounts.state).users.get_mut(&self.id) {
            Some(Users::Sharing(count)) if *count > 1 => {
                *count -= 1;
                false
            }
            _ => true,
        };
        if !last {
            return;
        }
        // counted while it is still held, so that no process changes it meanwhile
        let size = space::of_tree(&self.store.paths.mount_folder(&self.id));
        // how large it is and when it was used may be lost
        let _ = self
            .store
            .database
            .write(Durability::Normal, |db| listing::used(db, &self.id, size));
        let mut state = lock(&self.store.mounts.state);
        match state.users.get_mut(&self.id) {
            // somebody joined
            Some(Users::Sharing(count)) if *count > 1 => *count -= 1,
            _ => drop(state.users.remove(&self.id)),
        }
        drop(state);
        self.store.mounts.freed.notify_all();
    }
}

/// While it lives, nobody else makes a directory for the key.
struct Making<'a> {
    mounts: &'a Mounts,
    key: CacheKey,
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        lock(&self.mounts.state).making.remove(&self.key);
        self.mounts.freed.notify_all();
    }
}

impl Store {
    /// The directory of a cache mount, made and filled by `seed` if there is none that `sharing` allows. Where it has to
    /// wait, `wait` is asked many times a second whether to go on; its error is the result.
    ///
    /// Who takes several takes them in the order of their keys, or two such may wait for each other for ever.
    pub fn cache_mount<E: From<Error>>(
        &self,
        wanted: &CacheMount,
        sharing: Sharing,
        seed: Option<&mut Seed<'_, E>>,
        wait: &mut dyn FnMut() -> Result<(), E>,
    ) -> Result<HeldMount, E> {
        let mounts = &self.inner.mounts;
        let mut state = lock(&mounts.state);
        loop {
            match self.turn(&state, &wanted.key, sharing)? {
                Turn::Take(id) => {
                    state.enter(id, sharing);
                    return Ok(self.hold(id));
                }
                Turn::Make => break,
                Turn::Wait => {
                    drop(state);
                    wait()?;
                    state = mounts.patiently(lock(&mounts.state));
                }
            }
        }
        state.making.insert(wanted.key);
        drop(state);
        let _making = Making {
            mounts,
            key: wanted.key,
        };
        let id = self.fresh_id(&wanted.key);
        folder::make(&self.inner, &id, wanted, seed)?;
        // before the row: a directory with a row and without a user may be pruned
        lock(&mounts.state).enter(id, sharing);
        let held = self.hold(id);
        self.inner
            .database
            .write(Durability::Full, |db| listing::insert(db, &id, wanted))?;
        Ok(held)
    }

    fn turn(&self, state: &State, key: &CacheKey, sharing: Sharing) -> Result<Turn, Error> {
        if state.making.contains(key) {
            return Ok(Turn::Wait);
        }
        let ids = self.inner.database.read(|db| listing::ids(db, key))?;
        let there = |id: &&CacheKey| self.inner.paths.mount(id).is_dir();
        let ids: Vec<CacheKey> = ids.iter().filter(there).copied().collect();
        let fits = |id: &&CacheKey| match state.users.get(id) {
            None => true,
            Some(users) => sharing == Sharing::Shared && matches!(users, Users::Sharing(_)),
        };
        // those who share meet where others are already
        let busy_first = ids.iter().filter(|id| state.users.contains_key(id)).find(fits);
        Ok(match busy_first.or_else(|| ids.iter().find(fits)) {
            Some(id) => Turn::Take(*id),
            None if sharing == Sharing::Locked && !ids.is_empty() => Turn::Wait,
            None => Turn::Make,
        })
    }

    fn hold(&self, id: CacheKey) -> HeldMount {
        HeldMount {
            store: self.inner.clone(),
            id,
        }
    }

    /// A name that no directory has or had.
    fn fresh_id(&self, key: &CacheKey) -> CacheKey {
        let serial = self.inner.paths.fresh(self.inner.paths.mounts());
        let text = format!(
            "{} {} {}",
            key.digest().hex(),
            Timestamp::now().as_nanosecond(),
            serial.display()
        );
        CacheKey(Digest::of(text.as_bytes()))
    }

    /// Removes what no row names: directories that were being made when the process died.
    pub(crate) fn sweep_mounts(&self, db: &Connection) -> Result<Vec<PathBuf>, Error> {
        let known: HashSet<String> = listing::all_ids(db)?.iter().map(|id| id.digest().hex()).collect();
        let entries = match fs_err::read_dir(self.inner.paths.mounts()) {
            Ok(entries) => entries,
            // made when the first one is
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("look into the store")(error)),
        };
        let mut strays = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::io("look into the store"))?;
            if !entry
                .file_name()
                .to_str()
                .is_some_and(|name| known.contains(name))
            {
                strays.push(entry.path());
            }
        }
        Ok(strays)
    }
}

impl State {
    fn enter(&mut self, id: CacheKey, sharing: Sharing) {
        let users = match (sharing, self.users.get(&id)) {
            (Sharing::Shared, Some(Users::Sharing(count))) => Users::Sharing(count + 1),
            (Sharing::Shared, _) => Users::Sharing(1),
            (Sharing::Private | Sharing::Locked, _) => Users::One,
        };
        self.users.insert(id, users);
    }
}

impl Mounts {
    /// Whether anyone uses the directory.
    fn holds(&self, id: &CacheKey) -> bool {
        lock(&self.state).users.contains_key(id)
    }

    fn patiently<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let waited = self.freed.wait_timeout(state, PATIENCE);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Moves directories to the trash whose rows are gone.
fn throw_away(store: &Inner, ids: &[CacheKey]) -> Result<(), Error> {
    for id in ids {
        store.trash.take(&store.paths.mount_folder(id))?;
    }
    disk::failpoint("mount.removed");
    Ok(())
}
