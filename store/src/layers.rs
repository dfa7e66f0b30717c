//! Layers: one identity, the diff id, in several forms.

pub(crate) mod claims;
mod compression;
pub(crate) mod forms;
mod guess;
pub(crate) mod sound;
pub(crate) mod views;

use std::path::Path;

use mica_layer::{GoOn, Packed};
use mica_oci::{Compression, ContentDigest, DiffId, Digest};
use rusqlite::{Connection, OptionalExtension};

use crate::blobs::Blob;
use crate::database::Durability;
use crate::disk;
use crate::error::Error;
use crate::ingest::{Ingest, Staged};
use crate::lease::Lease;
use crate::locks::share;
use crate::rows;
use crate::space;
use crate::store::Store;

/// A layer that is in the store in at least one form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// Its identity: the digest of its uncompressed tar.
    pub diff_id: DiffId,
    /// Length of the uncompressed tar in bytes; see `exact`.
    pub size: u64,
    /// Whether the size is known. Of a layer that was pulled and not looked into, it is what its blob seems to hold.
    pub exact: bool,
    /// What it holds, times aside; known for layers that were made here.
    pub content: Option<ContentDigest>,
}

/// A layer's row: in which forms it lies.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) layer: Layer,
    /// Whether its tar is there.
    pub(crate) tar: bool,
    /// Whether its tree is there.
    pub(crate) tree: bool,
    /// A compressed blob of it.
    pub(crate) blob: Option<Digest>,
    /// Blobs that images claim to hold it and into which nobody looked; filled in only if nothing else was checked.
    pub(crate) claims: Vec<Digest>,
}

impl Record {
    /// Whether nothing was checked and there is not just one blob that can be meant.
    pub(crate) fn is_disputed(&self) -> bool {
        !self.layer.exact && self.claims.len() != 1
    }
}

/// A layer's row.
pub(crate) fn record(db: &Connection, diff_id: &DiffId) -> Result<Option<Record>, Error> {
    let mut query = db.prepare_cached(
        "SELECT size, content, tar > 0, tree > 0, (SELECT digest FROM layer_blobs b WHERE b.diff_id = l.diff_id LIMIT 1)
         FROM layers l WHERE diff_id = ?1",
    )?;
    let found = query.query_row([diff_id.digest().as_raw()], |row| {
        let (tar, tree, blob) = (row.get(2)?, row.get(3)?, rows::maybe_digest(row, 4)?);
        Ok(Record {
            layer: Layer {
                diff_id: *diff_id,
                size: rows::bytes(row, 0)?,
                exact: tar || tree || blob.is_some(),
                content: rows::maybe_digest(row, 1)?.map(ContentDigest),
            },
            tar,
            tree,
            blob,
            claims: Vec::new(),
        })
    });
    let Some(mut record) = found.optional()? else {
        return Ok(None);
    };
    if !record.layer.exact {
        record.claims = claims::of(db, diff_id)?;
    }
    Ok(Some(record))
}

/// Makes a layer's row, or fills in what it lacks.
pub(crate) fn insert(db: &Connection, layer: &Layer) -> Result<(), Error> {
    db.prepare_cached(
        "INSERT INTO layers (diff_id, size, content) VALUES (?1, ?2, ?3)
         ON CONFLICT (diff_id) DO UPDATE SET size = ?2, content = coalesce(content, ?3)",
    )?
    .execute((
        layer.diff_id.digest().as_raw(),
        rows::length(layer.size),
        layer.content.map(|content| *content.digest().as_raw()),
    ))?;
    claims::resize_images(db, &layer.diff_id)
}

/// Says that a blob holds the layer, which was seen.
pub(crate) fn insert_blob(
    db: &Connection,
    blob: &Blob,
    compression: Compression,
    diff_id: &DiffId,
) -> Result<(), Error> {
    db.prepare_cached(
        "INSERT OR IGNORE INTO layer_blobs (digest, diff_id, size, compression) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute((
        blob.digest.as_raw(),
        diff_id.digest().as_raw(),
        rows::length(blob.size),
        compression.layer_media_type().as_str(),
    ))?;
    claims::proved(db, diff_id, &blob.digest)
}

fn of(packed: &Packed) -> Layer {
    Layer {
        diff_id: packed.diff_id,
        size: packed.size,
        exact: true,
        content: Some(packed.content),
    }
}

impl Store {
    /// The layer, if it is in the store; kept by the lease.
    pub fn layer(&self, lease: &Lease, diff_id: &DiffId) -> Result<Option<Layer>, Error> {
        Ok(self.layer_record(lease, diff_id)?.map(|record| record.layer))
    }

    pub(crate) fn layer_record(&self, lease: &Lease, diff_id: &DiffId) -> Result<Option<Record>, Error> {
        let _gate = share(&self.inner.gate);
        let record = self.inner.database.read(|db| record(db, diff_id))?;
        if record.is_some() {
            lease.pin_layer(diff_id);
        }
        Ok(record)
    }

    /// Takes in a layer as the uncompressed tar that was just packed. Durable once an image that has it is committed.
    pub fn add_layer_tar(&self, lease: &Lease, ingest: Ingest, packed: &Packed) -> Result<Layer, Error> {
        self.add_staged_tar(lease, ingest.stage_as(*packed.diff_id.digest())?, &of(packed))
    }

    /// Takes in a layer as the staged bytes of its uncompressed tar.
    pub(crate) fn add_staged_tar(
        &self,
        lease: &Lease,
        staged: Staged,
        layer: &Layer,
    ) -> Result<Layer, Error> {
        if staged.digest != *layer.diff_id.digest() {
            return Err(Error::Digest {
                expected: *layer.diff_id.digest(),
                actual: staged.digest,
            });
        }
        let layer = Layer {
            size: staged.size,
            exact: true,
            ..*layer
        };
        lease.pin_layer(&layer.diff_id);
        let (blob, was_there) = match self.lacks_durable_tar(&staged, &layer.diff_id)? {
            true => (staged.commit(lease)?, false),
            false => staged.publish(lease)?,
        };
        if !was_there {
            self.inner.sound.was_written(&blob);
        }
        self.inner.database.write(Durability::Normal, |db| {
            insert(db, &layer)?;
            db.prepare_cached("UPDATE layers SET tar = 1 WHERE diff_id = ?1 AND tar = 0")?
                .execute([layer.diff_id.digest().as_raw()])?;
            Ok(())
        })?;
        self.list_again(&layer.diff_id)?;
        Ok(layer)
    }

    /// Whether the layer's row says that its tar is durable, and the tar is damaged or gone: nobody syncs what takes its place later.
    fn lacks_durable_tar(&self, staged: &Staged, diff_id: &DiffId) -> Result<bool, Error> {
        if staged.is_there() {
            return Ok(false);
        }
        self.inner.database.read(|db| {
            let durable = "SELECT 1 FROM layers WHERE diff_id = ?1 AND tar = 2";
            rows::any(db, durable, diff_id.digest())
        })
    }

    /// Takes in a layer as the tree that unpacking it gives. `dir` lies in a [`WorkDir`] and is moved from there. Not synced here:
    /// durable once an image that has the layer is committed.
    ///
    /// [`WorkDir`]: crate::WorkDir
    pub fn add_layer_tree(&self, lease: &Lease, dir: &Path, packed: &Packed) -> Result<Layer, Error> {
        let layer = of(packed);
        self.inner
            .flights
            .alone(&layer.diff_id, || self.move_tree(lease, dir, &layer))?;
        Ok(layer)
    }

    /// Moves a tree to its place; the caller is alone with the layer. One that is there already stays.
    pub(crate) fn move_tree(&self, lease: &Lease, dir: &Path, layer: &Layer) -> Result<(), Error> {
        let paths = &self.inner.paths;
        if !dir.starts_with(paths.work()) {
            return Err(Error::Foreign { path: dir.to_owned() });
        }
        let bytes = space::of_tree(dir);
        // to the end: whoever deletes a tree of this name does so before or after
        let _gate = share(&self.inner.gate);
        lease.pin_layer(&layer.diff_id);
        let there = self.inner.database.read(|db| record(db, &layer.diff_id))?;
        if there.is_some_and(|record| record.tree) {
            return Ok(());
        }
        // left over if an earlier attempt failed between the move and the row
        self.inner.trash.take(&paths.tree_folder(&layer.diff_id))?;
        disk::make_folder(&paths.tree_folder(&layer.diff_id), 0o700).map_err(Error::io("make a tree"))?;
        disk::failpoint("tree.folder");
        let bytes = bytes + space::at(&paths.tree_folder(&layer.diff_id));
        let moved = disk::rename(dir, &paths.tree(&layer.diff_id)).map_err(Error::io("move a tree"));
        let written = moved.and_then(|()| {
            self.inner.database.write(Durability::Normal, |db| {
                insert(db, layer)?;
                db.prepare_cached("UPDATE layers SET tree = 1 WHERE diff_id = ?1 AND tree = 0")?
                    .execute([layer.diff_id.digest().as_raw()])?;
                space::note_tree(db, &layer.diff_id, bytes)
            })
        });
        if written.is_err() {
            self.inner.unnamed.lose_count();
        }
        written
    }

    /// Takes in a layer as a blob just as it was received. Its content is inflated and must hash to `claimed`, else
    /// [`Error::Digest`].
    pub fn add_layer_blob(
        &self,
        lease: &Lease,
        blob: &Blob,
        compression: Compression,
        claimed: &DiffId,
    ) -> Result<Layer, Error> {
        self.add_layer_blob_while(lease, blob, compression, claimed, &|| Ok(()))
    }

    /// As [`add_layer_blob`](Self::add_layer_blob), but ends as soon as `go_on` fails.
    pub(crate) fn add_layer_blob_while(
        &self,
        lease: &Lease,
        blob: &Blob,
        compression: Compression,
        claimed: &DiffId,
        go_on: GoOn<'_>,
    ) -> Result<Layer, Error> {
        lease.pin_layer(claimed);
        let plain = blob.digest == *claimed.digest();
        let size = match plain {
            true => blob.size,
            false => forms::inflated_size(blob, claimed, go_on)?,
        };
        let layer = Layer {
            diff_id: *claimed,
            size,
            exact: true,
            content: None,
        };
        self.inner.database.write(Durability::Normal, |db| {
            insert(db, &layer)?;
            if plain {
                // the blob was synced when it was committed
                db.prepare_cached("UPDATE layers SET tar = 2 WHERE diff_id = ?1")?
                    .execute([claimed.digest().as_raw()])?;
                return Ok(());
            }
            insert_blob(db, blob, compression, claimed)
        })?;
        self.list_again(claimed)?;
        Ok(layer)
    }
}
