//! The database itself, names, and records of the build cache.

use mica_oci::{CacheKey, DiffId, Reference};

use super::layers::dropped;
use super::{Check, PAGE};
use crate::check::finding::{Fault, Finding, Level, Remedy, Thing};
use crate::error::Error;
use crate::locks::share;
use crate::rows;

impl Check<'_, '_> {
    /// SQLite's own check of its file.
    pub(super) fn database(&mut self) -> Result<(), Error> {
        let query = match self.level {
            Level::Quick => "PRAGMA quick_check(1)",
            Level::Full | Level::Trees => "PRAGMA integrity_check(1)",
        };
        let said: String = self
            .store
            .inner
            .database
            .read(|db| Ok(db.query_row(query, [], |row| row.get(0))?))?;
        if said != "ok" {
            self.found(Finding {
                thing: Thing::Database,
                fault: Fault::Unreadable { reason: said },
                place: self.store.inner.paths.database(),
                harms: Vec::new(),
                remedy: Remedy::Rebuild,
            });
        }
        Ok(())
    }

    /// Names that lead to no image.
    pub(super) fn names(&mut self) -> Result<(), Error> {
        let store = self.store.clone();
        let mut last = String::new();
        loop {
            self.go_on()?;
            let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
            let page = store.inner.database.read(|db| {
                let mut query = db.prepare_cached(
                    "SELECT name FROM refs WHERE name > ?1 AND image NOT IN (SELECT id FROM images) ORDER BY name LIMIT ?2",
                )?;
                let found = query.query_map((&last, limit), |row| rows::parsed::<Reference>(row, 0))?;
                Ok(found.collect::<Result<Vec<_>, _>>()?)
            })?;
            let Some(end) = page.last() else { return Ok(()) };
            last = end.to_string();
            for name in page {
                self.found(dropped(
                    Thing::Name(name),
                    Fault::Contradiction {
                        reason: "leads to an image that is not there".to_owned(),
                    },
                    store.inner.paths.database(),
                ));
            }
        }
    }

    /// Records of the build cache whose layer is not there.
    pub(super) fn cache_records(&mut self) -> Result<(), Error> {
        let store = self.store.clone();
        let mut last = Vec::new();
        loop {
            self.go_on()?;
            let _gate = share(&store.inner.gate);
            let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
            let page = store.inner.database.read(|db| {
                let mut query = db.prepare_cached(
                    "SELECT key, layer FROM cache WHERE key > ?1 AND NOT EXISTS (
                         SELECT 1 FROM layers l WHERE l.diff_id = layer AND (tar > 0 OR tree > 0
                             OR EXISTS (SELECT 1 FROM layer_blobs b WHERE b.diff_id = l.diff_id)
                             OR EXISTS (SELECT 1 FROM layer_claims c WHERE c.diff_id = l.diff_id)))
                     ORDER BY key LIMIT ?2",
                )?;
                let found = query.query_map((&last, limit), |row| {
                    Ok((CacheKey(rows::digest(row, 0)?), DiffId(rows::digest(row, 1)?)))
                })?;
                Ok(found.collect::<Result<Vec<_>, _>>()?)
            })?;
            let Some((end, _)) = page.last() else {
                return Ok(());
            };
            last = end.digest().as_raw().to_vec();
            for (key, layer) in page {
                self.found(dropped(
                    Thing::CacheRecord(key, layer),
                    Fault::Contradiction {
                        reason: "leads to a layer that is not there".to_owned(),
                    },
                    store.inner.paths.database(),
                ));
            }
        }
    }
}
