//! The build cache: which layer the inputs of a step gave.

use std::collections::HashMap;
use std::ops::ControlFlow;

use jiff::Timestamp;
use mica_oci::{CacheKey, ChainId, ContentDigest, DiffId};
use rusqlite::{Connection, OptionalExtension, Row};

use crate::database::{Database, Durability};
use crate::error::Error;
use crate::lease::Lease;
use crate::locks::{exclude, lock, share};
use crate::rows;
use crate::space::OF_LAYER;
use crate::store::Store;

/// What a step gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheRecord {
    /// The layer it made.
    pub layer: DiffId,
    /// The layers below.
    pub parent: ChainId,
    /// What the layer holds.
    pub content: ContentDigest,
    /// When it was made.
    pub created: Timestamp,
    /// The instruction, for people.
    pub description: String,
}

/// A cache record with what is known of its use.
#[derive(Debug, Clone)]
pub struct CacheEntry {
    /// The inputs.
    pub key: CacheKey,
    /// The result.
    pub record: CacheRecord,
    /// Bytes on disk of the layer, in all its forms, as `du` counts them.
    pub size: u64,
    /// When it was last found or made.
    pub last_used: Timestamp,
    /// How often it was found.
    pub use_count: u64,
    /// Whether an image or a lease keeps the layer.
    pub in_use: bool,
    /// Whether an image has the layer.
    pub in_image: bool,
}

/// What was pruned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The records that are gone.
    pub keys: Vec<CacheKey>,
    /// Bytes that were freed.
    pub bytes: u64,
}

impl Pruned {
    /// What was pruned besides.
    pub fn add(&mut self, more: Self) {
        self.keys.extend(more.keys);
        self.bytes += more.bytes;
    }
}

/// Uses that are not written yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Uses {
    last: Timestamp,
    count: u64,
}

/// How many records are forgotten at once.
pub(crate) const BATCH: usize = 128;

/// Uses are written when this many records have some.
const USES: usize = 256;

const RECORD: &str =
    "SELECT layer, parent, content, created, description, key, last_used, use_count FROM cache";

fn record(row: &Row<'_>) -> rusqlite::Result<CacheRecord> {
    Ok(CacheRecord {
        layer: DiffId(rows::digest(row, 0)?),
        parent: ChainId(rows::digest(row, 1)?),
        content: ContentDigest(rows::digest(row, 2)?),
        created: rows::parsed(row, 3)?,
        description: row.get(4)?,
    })
}

fn find(db: &Connection, key: &CacheKey) -> Result<Option<CacheRecord>, Error> {
    Ok(db
        .prepare_cached(&format!("{RECORD} WHERE key = ?1"))?
        .query_row([key.digest().as_raw()], record)
        .optional()?)
}

/// Writes uses that were only counted in memory.
pub(crate) fn write_uses(database: &Database, uses: &HashMap<CacheKey, Uses>) -> Result<(), Error> {
    if uses.is_empty() {
        return Ok(());
    }
    database.write(Durability::Normal, |db| {
        let mut update =
            db.prepare_cached("UPDATE cache SET last_used = ?2, use_count = use_count + ?3 WHERE key = ?1")?;
        for (key, uses) in uses {
            update.execute((
                key.digest().as_raw(),
                uses.last.to_string(),
                rows::length(uses.count),
            ))?;
        }
        Ok(())
    })
}

/// What is there of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// All of it.
    Whole,
    /// What an image says it is.
    Claimed,
    /// Nothing.
    Gone,
}

impl Store {
    /// What the step with these inputs gave, if it is known and its layer is there; the layer is kept by the lease. A layer
    /// that was pulled and that nobody looked into is looked into now: one that is not what its image says is as good as
    /// not there.
    pub fn cached(&self, lease: &Lease, key: &CacheKey) -> Result<Option<CacheRecord>, Error> {
        let found = {
            let _gate = share(&self.inner.gate);
            let found = self.inner.database.read(|db| match find(db, key)? {
                Some(record) => Ok(Some((self.standing(db, &record.layer)?, record))),
                None => Ok(None),
            })?;
            let found = found.filter(|(standing, _)| *standing != Standing::Gone);
            if let Some((_, record)) = &found {
                lease.pin_layer(&record.layer);
            }
            found
        };
        let found = found.filter(|(standing, record)| {
            *standing == Standing::Whole || self.settle(lease, &record.layer).is_ok()
        });
        if found.is_some() {
            self.count_use(key)?;
        }
        Ok(found.map(|(_, record)| record))
    }

    /// A step with the same layers below that made a layer with the same content; its layer is kept by the lease.
    pub fn same_content(
        &self,
        lease: &Lease,
        parent: &ChainId,
        content: &ContentDigest,
    ) -> Result<Option<CacheRecord>, Error> {
        let _gate = share(&self.inner.gate);
        let found = self.inner.database.read(|db| {
            let mut query = db.prepare_cached(&format!(
                "{RECORD} WHERE parent = ?1 AND content = ?2 ORDER BY created, key"
            ))?;
            let records = query.query_map((parent.digest().as_raw(), content.digest().as_raw()), record)?;
            for record in records {
                let record = record?;
                if self.is_whole(db, &record.layer)? {
                    return Ok(Some(record));
                }
            }
            Ok(None)
        })?;
        if let Some(record) = &found {
            lease.pin_layer(&record.layer);
        }
        Ok(found)
    }

    /// All inputs that are known to have led to this very layer on this very parent.
    pub fn keys_alike(&self, record: &CacheRecord) -> Result<Vec<CacheKey>, Error> {
        self.inner.database.read(|db| {
            let mut query = db.prepare_cached(
                "SELECT key FROM cache WHERE parent = ?1 AND content = ?2 AND layer = ?3 ORDER BY key LIMIT 64",
            )?;
            let raw = |digest: &mica_oci::Digest| *digest.as_raw();
            let found = query.query_map(
                (
                    raw(record.parent.digest()),
                    raw(record.content.digest()),
                    raw(record.layer.digest()),
                ),
                |row| Ok(CacheKey(rows::digest(row, 0)?)),
            )?;
            Ok(found.collect::<Result<_, _>>()?)
        })
    }

    /// Whether a layer's row is there and the disk agrees with it.
    fn is_whole(&self, db: &Connection, diff_id: &DiffId) -> Result<bool, Error> {
        Ok(self.standing(db, diff_id)? == Standing::Whole)
    }

    fn standing(&self, db: &Connection, diff_id: &DiffId) -> Result<Standing, Error> {
        let paths = &self.inner.paths;
        let Some(layer) = crate::layers::record(db, diff_id)? else {
            return Ok(Standing::Gone);
        };
        let at = |yes: bool, path: std::path::PathBuf| yes && path.exists();
        let is_whole = at(layer.tree, paths.tree(diff_id))
            || at(layer.tar, paths.blob(diff_id.digest()))
            || layer.blob.is_some_and(|blob| paths.blob(&blob).exists());
        Ok(match layer.claims.is_empty() {
            _ if is_whole => Standing::Whole,
            false => Standing::Claimed,
            true => Standing::Gone,
        })
    }

    fn count_use(&self, key: &CacheKey) -> Result<(), Error> {
        let now = Timestamp::now();
        let mut uses = lock(&self.inner.uses);
        let own = uses.entry(*key).or_insert(Uses { last: now, count: 0 });
        own.last = now;
        own.count += 1;
        if uses.len() < USES {
            return Ok(());
        }
        let full = std::mem::take(&mut *uses);
        drop(uses);
        write_uses(&self.inner.database, &full)
    }

    /// Writes uses down. Where that cannot be done, as on a full disk, they are not in what is read next.
    fn flush_uses(&self) {
        let uses = std::mem::take(&mut *lock(&self.inner.uses));
        if write_uses(&self.inner.database, &uses).is_err() {
            let mut later = lock(&self.inner.uses);
            for (key, uses) in uses {
                later.entry(key).or_insert(uses);
            }
        }
    }

    /// Remembers what a step gave. The layer must be in the store. May be forgotten in a crash.
    pub fn remember(&self, lease: &Lease, key: &CacheKey, record: &CacheRecord) -> Result<(), Error> {
        let _gate = share(&self.inner.gate);
        lease.pin_layer(&record.layer);
        self.inner.database.write(Durability::Normal, |db| {
            if !rows::any(db, "SELECT 1 FROM layers WHERE diff_id = ?1", record.layer.digest())? {
                return Err(Error::MissingLayer { diff_id: record.layer });
            }
            db.prepare_cached(
                "INSERT OR REPLACE INTO cache (key, layer, parent, content, created, description, last_used, use_count)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0)",
            )?
            .execute((
                key.digest().as_raw(),
                record.layer.digest().as_raw(),
                record.parent.digest().as_raw(),
                record.content.digest().as_raw(),
                record.created.to_string(),
                &record.description,
                Timestamp::now().to_string(),
            ))?;
            Ok(())
        })
    }

    /// All cache records, the longest unused first.
    pub fn cache_entries(&self) -> Result<Vec<CacheEntry>, Error> {
        self.flush_uses();
        self.measure()?;
        let pins = &self.inner.pins;
        let mut entries = self.inner.database.read(|db| {
            let mut query = db.prepare_cached(&format!(
                "SELECT c.*, coalesce((SELECT {OF_LAYER} FROM layers l WHERE l.diff_id = layer), 0),
                     EXISTS (SELECT 1 FROM image_layers WHERE diff_id = layer)
                 FROM ({RECORD}) c"
            ))?;
            let entries = query.query_map([], |row| {
                let record = record(row)?;
                let in_image = row.get(9)?;
                Ok(CacheEntry {
                    key: CacheKey(rows::digest(row, 5)?),
                    last_used: rows::parsed(row, 6)?,
                    use_count: rows::bytes(row, 7)?,
                    size: rows::bytes(row, 8)?,
                    in_use: in_image || pins.holds_layer(&record.layer),
                    in_image,
                    record,
                })
            })?;
            Ok(entries.collect::<Result<Vec<_>, _>>()?)
        })?;
        entries.sort_by_key(|entry| (entry.last_used, entry.key));
        Ok(entries)
    }

    /// Forgets the records `chosen` says yes to, and frees the layers that nothing else keeps. It is asked for the longest
    /// unused record first. Some go at once, and others come to their turn between: given up in the middle, those that are
    /// gone are gone.
    pub fn prune_cache(&self, chosen: &mut dyn FnMut(&CacheEntry) -> bool) -> Result<Pruned, Error> {
        let mut pruned = Pruned::default();
        let _whole = self.prune_cache_telling(chosen, &mut |some| {
            pruned.add(some);
            ControlFlow::Continue(())
        })?;
        Ok(pruned)
    }

    /// As [`prune_cache`](Self::prune_cache); `tell` hears of those that went at once, and no more go if it breaks off. Gives
    /// what it said last.
    pub fn prune_cache_telling(
        &self,
        chosen: &mut dyn FnMut(&CacheEntry) -> bool,
        tell: &mut dyn FnMut(Pruned) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Error> {
        let entries = self.cache_entries()?;
        let entries: Vec<CacheEntry> = entries.into_iter().filter(|entry| chosen(entry)).collect();
        for some in entries.chunks(BATCH) {
            let (keys, bytes) = self.forget_records(some)?;
            if tell(Pruned { keys, bytes }).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn forget_records(&self, entries: &[CacheEntry]) -> Result<(Vec<CacheKey>, u64), Error> {
        let _gate = exclude(&self.inner.gate);
        let (keys, freed) = self.inner.database.write_to_free(|db| {
            let mut delete = db.prepare_cached("DELETE FROM cache WHERE key = ?1")?;
            let mut keys = Vec::new();
            for entry in entries {
                if delete.execute([entry.key.digest().as_raw()])? > 0 {
                    keys.push(entry.key);
                }
            }
            let layers = entries.iter().map(|entry| entry.record.layer);
            Ok((keys, self.free_layers(db, layers)?))
        })?;
        Ok((keys, self.throw_away(freed)?))
    }
}
