//! What may be deleted: whatever no image, no cache record and no lease keeps.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use mica_oci::{ChainId, DiffId, Digest, ImageId};
use rusqlite::{Connection, OptionalExtension};

use crate::database::Durability;
use crate::disk;
use crate::error::Error;
use crate::layers::claims;
use crate::locks::exclude;
use crate::store::Store;
use crate::{overview, partial, rows, space};

/// What removing an image freed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// The chains whose topmost layer is gone, topmost first.
    pub chains: Vec<ChainId>,
    /// Bytes that were freed.
    pub bytes: u64,
}

/// What the store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many images.
    pub images: u64,
    /// How many layers.
    pub layers: u64,
    /// The sum of the layers' uncompressed tars, in bytes.
    pub layer_bytes: u64,
    /// How many cache records.
    pub cache_records: u64,
}

/// What is to go to the trash, its row being gone.
#[derive(Debug, Default)]
pub(crate) struct Freed {
    pub(crate) layers: Vec<DiffId>,
    files: Vec<PathBuf>,
    /// Those of the files that are blobs.
    blobs: HashSet<Digest>,
    bytes: u64,
}

impl Freed {
    /// Those chains of an image's layers whose topmost layer is gone, topmost first.
    fn chains(&self, layers: &[DiffId]) -> Vec<ChainId> {
        let mut below = ChainId::empty();
        let mut chains = Vec::new();
        for diff_id in layers {
            below = below.push(diff_id);
            if self.layers.contains(diff_id) {
                chains.push(below);
            }
        }
        chains.reverse();
        chains
    }

    /// Adds what an image with these layers freed, and says what that is.
    pub(crate) fn add(&mut self, other: Self, layers: &[DiffId]) -> Removed {
        let removed = Removed {
            chains: other.chains(layers),
            bytes: other.bytes,
        };
        self.layers.extend(other.layers);
        self.files.extend(other.files);
        self.blobs.extend(other.blobs);
        self.bytes += other.bytes;
        removed
    }
}

impl Store {
    /// Removes an image that has no references left, and frees what nothing else keeps. The row is gone, durably, when this
    /// returns.
    pub fn remove_image(&self, id: &ImageId) -> Result<Removed, Error> {
        let _gate = exclude(&self.inner.gate);
        let (diff_ids, freed) = self
            .inner
            .database
            .write(Durability::Full, |db| self.forget_image(db, id))?;
        self.inner.configs.forget(id);
        let chains = freed.chains(&diff_ids);
        let thrown = self.throw_away(freed);
        drop(_gate);
        // the image is gone, also where its files could not be moved
        self.inner.catalogue.changed();
        Ok(Removed {
            chains,
            bytes: thrown?,
        })
    }

    pub(crate) fn forget_image(&self, db: &Connection, id: &ImageId) -> Result<(Vec<DiffId>, Freed), Error> {
        let own = [id.digest().as_raw()];
        let manifest = db
            .prepare_cached("SELECT manifest FROM images WHERE id = ?1")?
            .query_row(own, |row| rows::digest(row, 0))
            .optional()?
            .ok_or(Error::MissingImage { image: *id })?;
        let references: i64 = db
            .prepare_cached("SELECT count(*) FROM refs WHERE image = ?1")?
            .query_row(own, |row| row.get(0))?;
        if references > 0 {
            return Err(Error::InUse {
                image: *id,
                references: usize::try_from(references).unwrap_or(usize::MAX),
            });
        }
        let mut query =
            db.prepare_cached("SELECT diff_id FROM image_layers WHERE image = ?1 ORDER BY position")?;
        let diff_ids = query
            .query_map(own, |row| rows::digest(row, 0).map(DiffId))?
            .collect::<Result<Vec<_>, _>>()?;
        let claims = claims::only_of(db, id)?;
        db.prepare_cached("DELETE FROM image_layers WHERE image = ?1")?
            .execute(own)?;
        let documents = crate::documents::of(db, id)?;
        db.prepare_cached("DELETE FROM documents WHERE image = ?1")?
            .execute(own)?;
        db.prepare_cached("DELETE FROM images WHERE id = ?1")?
            .execute(own)?;
        overview::forget(db, id)?;
        let mut freed = self.free_layers(db, diff_ids.iter().copied())?;
        for (diff_id, blob) in claims {
            if !self.inner.pins.holds(&blob) && claims::forget(db, &diff_id, &blob)? {
                self.free_blob(db, &blob, &mut freed)?;
            }
        }
        for document in documents.into_iter().chain([*id.digest(), manifest]) {
            self.free_blob(db, &document, &mut freed)?;
        }
        Ok((diff_ids, freed))
    }

    /// Deletes the rows of those of `layers` that nothing keeps. The caller holds the gate's exclusive side.
    pub(crate) fn free_layers(
        &self,
        db: &Connection,
        layers: impl IntoIterator<Item = DiffId>,
    ) -> Result<Freed, Error> {
        let mut freed = Freed::default();
        for diff_id in layers {
            let digest = diff_id.digest();
            let kept = self.inner.pins.holds_layer(&diff_id)
                || rows::any(db, "SELECT 1 FROM image_layers WHERE diff_id = ?1", digest)?
                || rows::any(db, "SELECT 1 FROM cache WHERE layer = ?1", digest)?;
            if !kept && let Some(record) = crate::layers::record(db, &diff_id)? {
                self.free_layer(db, &record, &mut freed)?;
            }
        }
        Ok(freed)
    }

    fn free_layer(
        &self,
        db: &Connection,
        record: &crate::layers::Record,
        freed: &mut Freed,
    ) -> Result<(), Error> {
        let diff_id = record.layer.diff_id;
        let own = [diff_id.digest().as_raw()];
        let mut query = db.prepare_cached(
            "SELECT digest FROM layer_blobs WHERE diff_id = ?1 UNION SELECT digest FROM layer_claims WHERE diff_id = ?1",
        )?;
        let mut blobs = query
            .query_map(own, |row| rows::digest(row, 0))?
            .collect::<Result<Vec<_>, _>>()?;
        db.prepare_cached("DELETE FROM layer_blobs WHERE diff_id = ?1")?
            .execute(own)?;
        for table in ["layer_claims", "false_claims"] {
            db.prepare_cached(&format!("DELETE FROM {table} WHERE diff_id = ?1"))?
                .execute(own)?;
        }
        db.prepare_cached("DELETE FROM layers WHERE diff_id = ?1")?
            .execute(own)?;
        if record.tar {
            blobs.push(*diff_id.digest());
        }
        let tree_bytes = space::forget_tree(db, &diff_id)?;
        if record.tree {
            freed.files.push(self.inner.paths.tree_folder(&diff_id));
            // one that nobody measured yet goes by its tar: walking it would take longer than it is worth
            freed.bytes += tree_bytes.unwrap_or(record.layer.size);
        }
        for blob in blobs {
            self.free_blob(db, &blob, freed)?;
        }
        freed.layers.push(diff_id);
        Ok(())
    }

    fn free_blob(&self, db: &Connection, digest: &Digest, freed: &mut Freed) -> Result<(), Error> {
        if is_named(db, digest)? {
            return Ok(());
        }
        space::forget_blob(db, digest)?;
        let path = self.inner.paths.blob(digest);
        let Ok(meta) = fs::symlink_metadata(&path) else {
            return Ok(());
        };
        if self.inner.pins.holds(digest) {
            // to be looked at again
            self.inner.unnamed.add(digest, space::of(&meta));
        } else if freed.blobs.insert(*digest) {
            freed.bytes += space::of(&meta);
            freed.files.push(path);
        }
        Ok(())
    }

    /// Moves to the trash what has no row any more. The caller still holds the gate.
    pub(crate) fn throw_away(&self, freed: Freed) -> Result<u64, Error> {
        for layer in &freed.layers {
            self.inner.indexes.forget(layer);
        }
        for path in &freed.files {
            if let Err(error) = self.inner.trash.take(path) {
                // no row tells of those that are left
                self.inner.unnamed.lose_count();
                return Err(error);
            }
        }
        Ok(freed.bytes)
    }

    /// Frees everything that no image, cache record or lease keeps, and what is left of downloads that nobody is at; gives the
    /// number of bytes.
    pub fn collect(&self) -> Result<u64, Error> {
        self.collect_older(Duration::ZERO)
    }

    /// As [`collect`](Self::collect), but what is left of a download stays if it was written to within `age`.
    pub fn collect_older(&self, age: Duration) -> Result<u64, Error> {
        Ok(self.drop_partials(age)? + self.collect_unnamed()?)
    }

    /// Waits until all that is in the trash at this moment is unlinked, or cannot be.
    pub fn wait_for_trash(&self) {
        self.inner.trash.wait();
    }

    /// Goes by the rows, and by what this process knows to be left behind; only if that may be more than it knows, the disk is
    /// searched.
    fn collect_unnamed(&self) -> Result<u64, Error> {
        let _gate = exclude(&self.inner.gate);
        let (unnamed, more) = self.inner.unnamed.take();
        let collected = self.free_unnamed(unnamed.keys(), more);
        if collected.is_err() {
            self.inner.unnamed.put_back((unnamed, more));
        }
        self.throw_away(collected?)
    }

    fn free_unnamed<'a>(
        &self,
        unnamed: impl Iterator<Item = &'a Digest>,
        more: bool,
    ) -> Result<Freed, Error> {
        let mut freed = self.inner.database.write(Durability::Full, |db| {
            let mut query = db.prepare_cached(
                "SELECT diff_id FROM layers
                 WHERE diff_id NOT IN (SELECT diff_id FROM image_layers) AND diff_id NOT IN (SELECT layer FROM cache)",
            )?;
            let unused = query
                .query_map([], |row| rows::digest(row, 0).map(DiffId))?
                .collect::<Result<Vec<_>, _>>()?;
            let mut freed = self.free_layers(db, unused)?;
            for blob in unnamed {
                self.free_blob(db, blob, &mut freed)?;
            }
            crate::sources::drop_strays(db, &self.inner.pins)?;
            Ok(freed)
        })?;
        if more {
            self.inner.database.read(|db| self.find_strays(db, &mut freed))?;
        }
        Ok(freed)
    }

    /// Adds the files that no row names.
    fn find_strays(&self, db: &Connection, freed: &mut Freed) -> Result<(), Error> {
        let (paths, pins) = (&self.inner.paths, &self.inner.pins);
        let blobs = digests(db, NAMED_BLOBS)?;
        for name in names(&paths.blobs())? {
            let (path, digest) = (paths.blobs().join(&name), digest_of(&name));
            if digest.is_some_and(|digest| blobs.contains(&digest) || freed.blobs.contains(&digest)) {
                continue;
            }
            let meta = fs::symlink_metadata(&path).map_err(Error::io("look into the store"))?;
            match digest.filter(|digest| pins.holds(digest)) {
                Some(digest) => self.inner.unnamed.add(&digest, space::of(&meta)),
                None => {
                    freed.bytes += space::of(&meta);
                    freed.files.push(path);
                }
            }
        }
        let trees = digests(db, "SELECT diff_id FROM layers WHERE tree > 0")?;
        for name in names(&paths.trees())? {
            let digest = digest_of(&name);
            if digest.is_some_and(|digest| trees.contains(&digest) || freed.layers.contains(&digest.into())) {
                continue;
            }
            match digest.is_some_and(|digest| pins.holds_layer(&digest.into())) {
                // it may become a layer's tree in this moment, or be left behind
                true => self.inner.unnamed.lose_count(),
                false => freed.files.push(paths.trees().join(&name)),
            }
        }
        Ok(())
    }

    /// Puts the store in order after another process: see README, "What a crash can and cannot do".
    pub(crate) fn sweep(&self) -> Result<(), Error> {
        let paths = &self.inner.paths;
        for name in names(&paths.trash())? {
            self.inner.trash.empty(paths.trash().join(name));
        }
        for folder in [paths.ingest(), paths.work()] {
            for name in names(&folder)? {
                self.inner.trash.take(&folder.join(name))?;
            }
        }
        for path in self.inner.database.read(|db| self.sweep_mounts(db))? {
            self.inner.trash.take(&path)?;
        }
        self.drop_partials(partial::KEPT)?;
        self.drop_what_was_not_synced()?;
        self.inner.unnamed.lose_count();
        self.collect_unnamed()?;
        // they count nowhere
        let _ = self
            .inner
            .database
            .write(Durability::Normal, |db| space::drop_strays(db));
        Ok(())
    }

    /// If the machine was restarted since the last process, forms that were not synced may be anything.
    fn drop_what_was_not_synced(&self) -> Result<(), Error> {
        // where the kernel does not tell, every open counts as a restart
        let boot = disk::boot();
        self.inner.database.write(Durability::Full, |db| {
            let last: Option<String> = rows::first(db, "SELECT value FROM meta WHERE key = 'boot'", [])?;
            if last.as_deref() == Some(&boot) && !boot.is_empty() {
                return Ok(());
            }
            forget_loose(db)?;
            db.execute(
                "INSERT OR REPLACE INTO meta (key, value) VALUES ('boot', ?1)",
                [&boot],
            )?;
            Ok(())
        })
    }

    /// How much the store holds.
    pub fn usage(&self) -> Result<Usage, Error> {
        self.inner.database.read(|db| {
            Ok(db.query_row(
                "SELECT (SELECT count(*) FROM images), (SELECT count(*) FROM layers),
                     (SELECT coalesce(sum(size), 0) FROM layers), (SELECT count(*) FROM cache)",
                [],
                |row| {
                    Ok(Usage {
                        images: rows::bytes(row, 0)?,
                        layers: rows::bytes(row, 1)?,
                        layer_bytes: rows::bytes(row, 2)?,
                        cache_records: rows::bytes(row, 3)?,
                    })
                },
            )?)
        })
    }
}

/// Drops all forms of layers that are not durable, with what is nothing without them.
pub(crate) fn forget_loose(db: &Connection) -> Result<(), Error> {
    db.execute_batch(
        "UPDATE layers SET tar = 0 WHERE tar = 1;
         UPDATE layers SET tree = 0 WHERE tree = 1;
         DELETE FROM layers WHERE tar = 0 AND tree = 0 AND diff_id NOT IN (SELECT diff_id FROM layer_blobs)
             AND diff_id NOT IN (SELECT diff_id FROM layer_claims);
         DELETE FROM cache WHERE layer NOT IN (SELECT diff_id FROM layers WHERE tar > 0 OR tree > 0)
             AND layer NOT IN (SELECT diff_id FROM layer_blobs);",
    )?;
    Ok(())
}

/// Whether any row names the blob.
pub(crate) fn is_named(db: &Connection, digest: &Digest) -> Result<bool, Error> {
    for query in [
        "SELECT 1 FROM layers WHERE diff_id = ?1 AND tar > 0",
        "SELECT 1 FROM layer_blobs WHERE digest = ?1",
        "SELECT 1 FROM layer_claims WHERE digest = ?1",
        "SELECT 1 FROM documents WHERE digest = ?1",
        "SELECT 1 FROM images WHERE id = ?1",
        "SELECT 1 FROM images WHERE manifest = ?1",
    ] {
        if rows::any(db, query, digest)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What any row names as a blob.
pub(crate) const NAMED_BLOBS: &str =
    "SELECT diff_id FROM layers WHERE tar > 0 UNION ALL SELECT digest FROM layer_blobs
    UNION ALL SELECT digest FROM layer_claims UNION ALL SELECT digest FROM documents
    UNION ALL SELECT id FROM images UNION ALL SELECT manifest FROM images";

pub(crate) fn digests(db: &Connection, query: &str) -> Result<HashSet<Digest>, Error> {
    let mut query = db.prepare_cached(query)?;
    let found = query.query_map([], |row| rows::digest(row, 0))?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn digest_of(name: &OsStr) -> Option<Digest> {
    Digest::from_hex(name.to_str()?).ok()
}

pub(crate) fn names(folder: &Path) -> Result<Vec<OsString>, Error> {
    fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect())
        .map_err(Error::io("look into the store"))
}
