//! The rows of cache mounts: what there is, how large it is, when it was used, and what may go.

use std::ops::ControlFlow;

use jiff::Timestamp;
use mica_oci::CacheKey;
use rusqlite::{Connection, Row};

use crate::cache::{BATCH, Pruned};
use crate::error::Error;
use crate::locks::lock;
use crate::mounts::{CacheMount, throw_away};
use crate::rows;
use crate::store::Store;

/// A cache mount with what is known of its use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    /// Names the directory.
    pub id: CacheKey,
    /// All that tells caches apart; several directories may have the same.
    pub key: CacheKey,
    /// What people call it.
    pub name: String,
    /// Bytes on disk when it was last given back.
    pub size: u64,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last taken or given back.
    pub last_used: Timestamp,
    /// How often it was given back.
    pub use_count: u64,
    /// Whether a step is using it.
    pub in_use: bool,
}

pub(super) fn insert(db: &Connection, id: &CacheKey, mount: &CacheMount) -> Result<(), Error> {
    let now = Timestamp::now().to_string();
    db.prepare_cached(
        "INSERT INTO mounts (id, key, name, size, created, last_used, use_count) VALUES (?1, ?2, ?3, 0, ?4, ?4, 0)",
    )?
    .execute((
        id.digest().as_raw(),
        mount.key.digest().as_raw(),
        &mount.name,
        &now,
    ))?;
    Ok(())
}

/// The directories of a key, the last used first.
pub(super) fn ids(db: &Connection, key: &CacheKey) -> Result<Vec<CacheKey>, Error> {
    let mut query = db.prepare_cached("SELECT id FROM mounts WHERE key = ?1 ORDER BY last_used DESC, id")?;
    let ids = query.query_map([key.digest().as_raw()], |row| rows::digest(row, 0).map(CacheKey))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

pub(super) fn all_ids(db: &Connection) -> Result<Vec<CacheKey>, Error> {
    let mut query = db.prepare_cached("SELECT id FROM mounts")?;
    let ids = query.query_map([], |row| rows::digest(row, 0).map(CacheKey))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// Notes that a directory was given back.
pub(super) fn used(db: &Connection, id: &CacheKey, size: u64) -> Result<(), Error> {
    db.prepare_cached(
        "UPDATE mounts SET size = ?2, last_used = ?3, use_count = use_count + 1 WHERE id = ?1",
    )?
    .execute((
        id.digest().as_raw(),
        rows::length(size),
        Timestamp::now().to_string(),
    ))?;
    Ok(())
}

fn entry(row: &Row<'_>) -> rusqlite::Result<MountEntry> {
    Ok(MountEntry {
        id: CacheKey(rows::digest(row, 0)?),
        key: CacheKey(rows::digest(row, 1)?),
        name: row.get(2)?,
        size: rows::bytes(row, 3)?,
        created: rows::parsed(row, 4)?,
        last_used: rows::parsed(row, 5)?,
        use_count: rows::bytes(row, 6)?,
        in_use: false,
    })
}

impl Store {
    /// All cache mounts, the longest unused first.
    pub fn mount_entries(&self) -> Result<Vec<MountEntry>, Error> {
        let mut entries = self.inner.database.read(|db| {
            let mut query = db.prepare_cached(
                "SELECT id, key, name, size, created, last_used, use_count FROM mounts ORDER BY last_used, id",
            )?;
            let entries = query.query_map([], entry)?;
            Ok(entries.collect::<Result<Vec<_>, _>>()?)
        })?;
        for entry in &mut entries {
            entry.in_use = self.inner.mounts.holds(&entry.id);
        }
        Ok(entries)
    }

    /// Removes the cache mounts `chosen` says yes to, but none that is in use. It is asked for the longest unused first.
    pub fn prune_mounts(&self, chosen: &mut dyn FnMut(&MountEntry) -> bool) -> Result<Pruned, Error> {
        let mut pruned = Pruned::default();
        let _whole = self.prune_mounts_telling(chosen, &mut |some| {
            pruned.add(some);
            ControlFlow::Continue(())
        })?;
        Ok(pruned)
    }

    /// As [`prune_mounts`](Self::prune_mounts); `tell` hears of those that went at once, and no more go if it breaks off. Gives
    /// what it said last.
    pub fn prune_mounts_telling(
        &self,
        chosen: &mut dyn FnMut(&MountEntry) -> bool,
        tell: &mut dyn FnMut(Pruned) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Error> {
        let entries = self.mount_entries()?;
        let entries: Vec<MountEntry> = entries.into_iter().filter(|entry| chosen(entry)).collect();
        for some in entries.chunks(BATCH) {
            if tell(self.forget_mounts(some)?).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn forget_mounts(&self, entries: &[MountEntry]) -> Result<Pruned, Error> {
        // nobody takes one until its row is gone
        let state = lock(&self.inner.mounts.state);
        let pruned = self.inner.database.write_to_free(|db| {
            let mut pruned = Pruned::default();
            let mut delete = db.prepare_cached("DELETE FROM mounts WHERE id = ?1")?;
            for entry in entries
                .iter()
                .filter(|entry| !state.users.contains_key(&entry.id))
            {
                if delete.execute([entry.id.digest().as_raw()])? > 0 {
                    pruned.keys.push(entry.id);
                    pruned.bytes += entry.size;
                }
            }
            Ok(pruned)
        })?;
        drop(state);
        throw_away(&self.inner, &pruned.keys)?;
        Ok(pruned)
    }
}
