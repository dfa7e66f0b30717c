//! Compressed blobs of layers: checked ones, and those that images claim to hold a layer.

use mica_oci::{DiffId, Digest};
use rusqlite::Connection;

use super::layers::others;
use super::{Check, PAGE};
use crate::blobs::Blob;
use crate::check::finding::{Fault, Level, Thing};
use crate::error::Error;
use crate::locks::share;
use crate::rows;

/// What the database says of one blob.
struct Row {
    digest: Digest,
    diff_id: DiffId,
    size: u64,
    /// Whether it is known not to hold the layer.
    is_lie: bool,
}

impl Check<'_, '_> {
    /// Every compressed blob.
    pub(super) fn compressed(&mut self) -> Result<(), Error> {
        let store = self.store.clone();
        let mut last = ([0; 32].to_vec(), Vec::new());
        loop {
            self.go_on()?;
            let lease = store.lease();
            let page = {
                let _gate = share(&store.inner.gate);
                let page = store.inner.database.read(|db| page(db, &last))?;
                let mut whole = Vec::new();
                for row in page {
                    last = (
                        row.digest.as_raw().to_vec(),
                        row.diff_id.digest().as_raw().to_vec(),
                    );
                    lease.pin_blob(&row.digest);
                    lease.pin_layer(&row.diff_id);
                    match self.look(&store.inner.paths.blob(&row.digest), Some(row.size))? {
                        Some(fault) => self.bad_blob(&row, fault)?,
                        None if row.is_lie => self.lie(row, &mut whole)?,
                        None => whole.push(row),
                    }
                }
                whole
            };
            if page.is_empty() && store.inner.database.read(|db| page_is_last(db, &last))? {
                return Ok(());
            }
            if self.level >= Level::Full {
                for row in &page {
                    self.look_into_blob(row)?;
                }
            }
        }
    }

    /// Reads a blob and what it holds, outside the gate; a lease keeps both.
    fn look_into_blob(&mut self, row: &Row) -> Result<(), Error> {
        let path = self.store.inner.paths.blob(&row.digest);
        let mut fault = self.hash(&path, &row.digest)?;
        if fault.is_none() && !row.is_lie {
            let blob = Blob::at(row.digest, row.size, path, &self.store.inner.damaged);
            fault = self.inflate(&blob, &row.diff_id)?;
        }
        match fault {
            Some(fault) if self.is_still_named(row)? => self.bad_blob(row, fault),
            _ => Ok(()),
        }
    }

    /// A blob that does not hold the layer matters only where nothing else does.
    fn lie(&mut self, row: Row, whole: &mut Vec<Row>) -> Result<(), Error> {
        let thing = Thing::Compressed(row.diff_id, row.digest);
        let database = &self.store.inner.database;
        if database.read(|db| others(db, &thing, &row.diff_id))? {
            whole.push(row);
            return Ok(());
        }
        let reason = "does not hold the layer that its image says it holds".to_owned();
        self.bad_blob(&row, Fault::Contradiction { reason })
    }

    fn bad_blob(&mut self, row: &Row, fault: Fault) -> Result<(), Error> {
        self.bad_form(Thing::Compressed(row.diff_id, row.digest), fault, &row.diff_id)
    }

    fn is_still_named(&self, row: &Row) -> Result<bool, Error> {
        self.store.inner.database.read(|db| {
            let named: Option<i64> = rows::first(
                db,
                "SELECT 1 FROM layer_blobs WHERE digest = ?1 AND diff_id = ?2
                 UNION SELECT 1 FROM layer_claims WHERE digest = ?1 AND diff_id = ?2",
                (row.digest.as_raw(), row.diff_id.digest().as_raw()),
            )?;
            Ok(named.is_some())
        })
    }
}

const BLOBS: &str = "SELECT digest, diff_id, size, 0 FROM layer_blobs WHERE (digest, diff_id) > (?1, ?2)
    UNION ALL SELECT digest, diff_id, size, EXISTS (
        SELECT 1 FROM false_claims f WHERE f.diff_id = c.diff_id AND f.digest = c.digest)
    FROM layer_claims c WHERE (digest, diff_id) > (?1, ?2)
    ORDER BY 1, 2 LIMIT ?3";

type Place = (Vec<u8>, Vec<u8>);

fn page(db: &Connection, last: &Place) -> Result<Vec<Row>, Error> {
    let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
    let mut query = db.prepare_cached(BLOBS)?;
    let found = query.query_map((&last.0, &last.1, limit), |row| {
        Ok(Row {
            digest: rows::digest(row, 0)?,
            diff_id: DiffId(rows::digest(row, 1)?),
            size: rows::bytes(row, 2)?,
            is_lie: row.get(3)?,
        })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Whether nothing comes after `last`: a page of nothing but missing blobs is not the end.
fn page_is_last(db: &Connection, last: &Place) -> Result<bool, Error> {
    Ok(page(db, last)?.is_empty())
}
