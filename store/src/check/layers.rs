//! Layers: the forms T and D that their rows say they have.

use mica_oci::DiffId;
use rusqlite::Connection;

use super::documents::digests;
use super::{Check, PAGE, harm};
use crate::blobs::Blob;
use crate::check::finding::{Fault, Finding, Level, Remedy, Thing};
use crate::error::Error;
use crate::layers::record;
use crate::lease::Lease;
use crate::locks::share;
use crate::rows;

/// What the database says of one layer.
struct Row {
    diff_id: DiffId,
    size: u64,
    tar: bool,
    tree: bool,
}

impl Check<'_, '_> {
    /// How much is to be read at this level.
    pub(super) fn bytes_to_read(&mut self) -> Result<u64, Error> {
        self.store.inner.database.read(|db| {
            Ok(db.query_row(
                "SELECT coalesce((SELECT sum(size) FROM layers WHERE tar > 0), 0)
                     + coalesce((SELECT sum(size) FROM layer_blobs), 0)
                     + coalesce((SELECT sum(size) FROM layer_claims), 0)",
                [],
                |row| rows::bytes(row, 0),
            )?)
        })
    }

    /// Every layer.
    pub(super) fn layers(&mut self) -> Result<(), Error> {
        let store = self.store.clone();
        let mut last = Vec::new();
        loop {
            self.go_on()?;
            let lease = store.lease();
            let page = {
                let _gate = share(&store.inner.gate);
                let page = store.inner.database.read(|db| page(db, &last))?;
                let mut whole = Vec::new();
                for row in page {
                    last = row.diff_id.digest().as_raw().to_vec();
                    self.checked.layers += 1;
                    lease.pin_layer(&row.diff_id);
                    whole.push(self.forms(row)?);
                }
                whole
            };
            if page.is_empty() {
                return self.missing_layers();
            }
            for row in &page {
                self.look_into(row, &lease)?;
            }
        }
    }

    /// Looks where the forms should be, and gives the row with those that are there.
    fn forms(&mut self, row: Row) -> Result<Row, Error> {
        let paths = self.store.inner.paths.clone();
        let mut there = Row { ..row };
        if row.tar
            && let Some(fault) = self.look(&paths.blob(row.diff_id.digest()), Some(row.size))?
        {
            there.tar = false;
            self.bad_form(Thing::Tar(row.diff_id), fault, &row.diff_id)?;
        }
        if row.tree {
            self.checked.files += 1;
            let tree = paths.tree(&row.diff_id);
            let fault = match fs_err::symlink_metadata(&tree) {
                Ok(meta) if meta.is_dir() => None,
                Ok(_) => Some(Fault::NotAFile),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(Fault::Missing),
                Err(error) => Some(super::files::unreadable(&error)),
            };
            if let Some(fault) = fault {
                there.tree = false;
                self.bad_form(Thing::Tree(row.diff_id), fault, &row.diff_id)?;
            }
        }
        Ok(there)
    }

    /// What takes long, outside the gate; the lease keeps the layer.
    fn look_into(&mut self, row: &Row, lease: &Lease) -> Result<(), Error> {
        let paths = self.store.inner.paths.clone();
        let mut tar_is_good = row.tar;
        if row.tar && self.level >= Level::Full {
            let fault = self.hash(&paths.blob(row.diff_id.digest()), row.diff_id.digest())?;
            if let Some(fault) = fault
                && self.still(&row.diff_id)?.is_some_and(|now| now.tar)
            {
                tar_is_good = false;
                self.bad_form(Thing::Tar(row.diff_id), fault, &row.diff_id)?;
            }
        }
        if row.tree && self.level >= Level::Trees {
            let other = self.other_form(row, lease, tar_is_good)?;
            let fault = self.compare_tree(&row.diff_id, &paths.tree(&row.diff_id), other)?;
            if let Some(fault) = fault
                && self.still(&row.diff_id)?.is_some_and(|now| now.tree)
            {
                self.bad_form(Thing::Tree(row.diff_id), fault, &row.diff_id)?;
            }
        }
        Ok(())
    }

    /// A blob of which a tree can be made, where the layer was not made here.
    fn other_form(&self, row: &Row, lease: &Lease, tar_is_good: bool) -> Result<Option<Blob>, Error> {
        let Some(record) = self.still(&row.diff_id)? else {
            return Ok(None);
        };
        // what was made here was packed here, and packs to its diff id again
        match (record.layer.content, record.blob) {
            (Some(_), _) => Ok(None),
            (None, _) if tar_is_good => self.store.blob(lease, row.diff_id.digest()),
            (None, Some(blob)) => self.store.blob(lease, &blob),
            (None, None) => Ok(None),
        }
    }

    /// The layer's row as it is now.
    fn still(&self, diff_id: &DiffId) -> Result<Option<crate::layers::Record>, Error> {
        self.store.inner.database.read(|db| record(db, diff_id))
    }

    /// Tells of a form of a layer that is not as it should be.
    pub(super) fn bad_form(&mut self, thing: Thing, fault: Fault, diff_id: &DiffId) -> Result<(), Error> {
        let paths = &self.store.inner.paths;
        let place = match &thing {
            Thing::Tree(_) => paths.tree(diff_id),
            Thing::Compressed(_, blob) => paths.blob(blob),
            _ => paths.blob(diff_id.digest()),
        };
        let (harms, remedy) = self.store.inner.database.read(|db| {
            let others = others(db, &thing, diff_id)?;
            let harms = harm::of_layer(db, diff_id)?;
            let remedy = match (&thing, &fault) {
                // whoever has the blob has it so
                (Thing::Compressed(..), Fault::Contradiction { .. }) if !others => Remedy::Renew,
                _ => harm::layer_remedy(db, diff_id, &harms, others)?,
            };
            Ok((harms, remedy))
        })?;
        self.found(Finding {
            thing,
            fault,
            place,
            harms,
            remedy,
        });
        Ok(())
    }

    /// Layers that images have, and of which nothing is there.
    fn missing_layers(&mut self) -> Result<(), Error> {
        let store = self.store.clone();
        let mut last = Vec::new();
        loop {
            self.go_on()?;
            let _gate = share(&store.inner.gate);
            let page = store.inner.database.read(|db| {
                digests(
                    db,
                    "SELECT DISTINCT diff_id FROM image_layers WHERE diff_id > ?1 AND NOT EXISTS (
                         SELECT 1 FROM layers l WHERE l.diff_id = image_layers.diff_id AND (tar > 0 OR tree > 0
                             OR EXISTS (SELECT 1 FROM layer_blobs b WHERE b.diff_id = l.diff_id)
                             OR EXISTS (SELECT 1 FROM layer_claims c WHERE c.diff_id = l.diff_id)))
                     ORDER BY diff_id LIMIT ?2",
                    &last,
                )
            })?;
            let Some(end) = page.last() else { return Ok(()) };
            last = end.as_raw().to_vec();
            for digest in page {
                let diff_id = DiffId(digest);
                self.bad_form(Thing::Layer(diff_id), Fault::Missing, &diff_id)?;
            }
        }
    }
}

/// Whether the layer has another form than this one, by its rows.
pub(crate) fn others(db: &Connection, thing: &Thing, diff_id: &DiffId) -> Result<bool, Error> {
    let Some(record) = record(db, diff_id)? else {
        return Ok(false);
    };
    let is_tar = matches!(thing, Thing::Tar(_));
    let is_tree = matches!(thing, Thing::Tree(_));
    let blob = match thing {
        Thing::Compressed(_, blob) => *blob.as_raw(),
        _ => [0; 32],
    };
    let other_blob: Option<i64> = rows::first(
        db,
        "SELECT 1 FROM layer_blobs WHERE diff_id = ?1 AND digest <> ?2
         UNION SELECT 1 FROM layer_claims c WHERE diff_id = ?1 AND digest <> ?2 AND NOT EXISTS (
             SELECT 1 FROM false_claims f WHERE f.diff_id = c.diff_id AND f.digest = c.digest)",
        (diff_id.digest().as_raw(), blob),
    )?;
    Ok((record.tar && !is_tar) || (record.tree && !is_tree) || other_blob.is_some())
}

fn page(db: &Connection, last: &[u8]) -> Result<Vec<Row>, Error> {
    let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
    let mut query = db.prepare_cached(
        "SELECT diff_id, size, tar > 0, tree > 0 FROM layers WHERE diff_id > ?1 ORDER BY diff_id LIMIT ?2",
    )?;
    let found = query.query_map((last, limit), |row| {
        Ok(Row {
            diff_id: DiffId(rows::digest(row, 0)?),
            size: rows::bytes(row, 1)?,
            tar: row.get(2)?,
            tree: row.get(3)?,
        })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Kept here so that it is told in one place what a record without a layer means.
pub(super) fn dropped(thing: Thing, fault: Fault, place: std::path::PathBuf) -> Finding {
    Finding {
        thing,
        fault,
        place,
        harms: Vec::new(),
        remedy: Remedy::Drop,
    }
}
