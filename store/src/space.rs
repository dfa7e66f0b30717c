//! How much of the disk everything takes, to the block. Each file and tree is looked at once and its size kept in a row, so that
//! nobody has to walk the disk to know.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use mica_oci::{DiffId, Digest};
use rusqlite::Connection;

use crate::database::Durability;
use crate::error::Error;
use crate::gc::{self, NAMED_BLOBS};
use crate::locks::{lock, share};
use crate::rows;
use crate::store::Store;

mod tree;

pub(crate) use tree::of_tree;

/// Bytes of one block as `stat(2)` counts them.
const BLOCK: u64 = 512;

/// How many sizes are written at once.
const BATCH: usize = 256;

/// What takes how much of the disk: bytes as `du` counts them. What a running job writes is in none of these before it is done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// Layers of images in all their forms, and the images' configs, manifests and indexes.
    pub images: u64,
    /// Layers that only the build cache has.
    pub cache: u64,
    /// Cache mounts as they were last given back.
    pub mounts: u64,
    /// What neither an image nor the cache has: of pulls and builds that go on or ended early, and what RUNs left that failed.
    pub unfinished: u64,
    /// Logs of builds, and fingerprints of folders that were built from.
    pub notes: u64,
    /// The database, lists, and the folders that all this lies in.
    pub own: u64,
}

impl DiskUsage {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.images + self.cache + self.mounts + self.unfinished + self.notes + self.own
    }
}

/// Bytes that a file or directory takes without what is in it.
pub(crate) fn of(meta: &Metadata) -> u64 {
    meta.blocks() * BLOCK
}

/// Bytes that what is at `path` takes without what is in it; what is not there takes none.
pub(crate) fn at(path: &Path) -> u64 {
    fs::symlink_metadata(path).map_or(0, |meta| of(&meta))
}

/// Bytes that a directory takes with the files in it, which has no directories.
fn of_files(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    at(folder)
        + files
            .filter_map(|file| Some(of(&file.metadata().ok()?)))
            .sum::<u64>()
}

/// Keeps how much a layer's tree takes.
pub(crate) fn note_tree(db: &Connection, diff_id: &DiffId, bytes: u64) -> Result<(), Error> {
    db.prepare_cached("INSERT OR REPLACE INTO tree_sizes (diff_id, bytes) VALUES (?1, ?2)")?
        .execute((diff_id.digest().as_raw(), rows::length(bytes)))?;
    Ok(())
}

/// How much a layer's tree takes, which is to go.
pub(crate) fn forget_tree(db: &Connection, diff_id: &DiffId) -> Result<Option<u64>, Error> {
    let own = [diff_id.digest().as_raw()];
    let bytes: Option<i64> = rows::first(db, "SELECT bytes FROM tree_sizes WHERE diff_id = ?1", own)?;
    db.prepare_cached("DELETE FROM tree_sizes WHERE diff_id = ?1")?
        .execute(own)?;
    Ok(bytes.and_then(|bytes| u64::try_from(bytes).ok()))
}

/// Forgets how much a blob takes, which is to go.
pub(crate) fn forget_blob(db: &Connection, digest: &Digest) -> Result<(), Error> {
    db.prepare_cached("DELETE FROM blob_sizes WHERE digest = ?1")?
        .execute([digest.as_raw()])?;
    Ok(())
}

/// Drops the sizes of what no row names.
pub(crate) fn drop_strays(db: &Connection) -> Result<(), Error> {
    db.execute_batch(&format!(
        "DELETE FROM blob_sizes WHERE digest NOT IN ({NAMED_BLOBS});
         DELETE FROM tree_sizes WHERE diff_id NOT IN (SELECT diff_id FROM layers WHERE tree > 0);"
    ))?;
    Ok(())
}

/// The bytes on disk of the layer of the row `l`, in all forms. What could not be measured counts with its length.
pub(crate) const OF_LAYER: &str =
    "CASE WHEN l.tar > 0 THEN coalesce((SELECT bytes FROM blob_sizes WHERE digest = l.diff_id), l.size) ELSE 0 END
    + CASE WHEN l.tree > 0 THEN coalesce((SELECT bytes FROM tree_sizes WHERE diff_id = l.diff_id), l.size) ELSE 0 END
    + coalesce((SELECT sum(coalesce(s.bytes, b.size)) FROM layer_blobs b LEFT JOIN blob_sizes s ON s.digest = b.digest
        WHERE b.diff_id = l.diff_id), 0)
    + coalesce((SELECT sum(coalesce(s.bytes, b.size)) FROM layer_claims b LEFT JOIN blob_sizes s ON s.digest = b.digest
        WHERE b.diff_id = l.diff_id), 0)";

/// The bytes on disk of the layers that `which` selects, in all forms. Two layers may be claimed of one blob, which is there once.
pub(crate) fn of_layers(db: &Connection, which: &str) -> Result<u64, Error> {
    sum(
        db,
        &format!(
            "WITH wanted AS MATERIALIZED (SELECT DISTINCT * FROM ({which})), blobs AS (
                 SELECT diff_id AS digest, size FROM layers WHERE tar > 0 AND diff_id IN wanted
                 UNION SELECT digest, size FROM layer_blobs WHERE diff_id IN wanted
                 UNION SELECT digest, size FROM layer_claims WHERE diff_id IN wanted)
             SELECT coalesce((SELECT sum(coalesce(s.bytes, b.size)) FROM blobs b LEFT JOIN blob_sizes s ON s.digest = b.digest), 0)
                 + coalesce((SELECT sum(coalesce(s.bytes, l.size)) FROM layers l LEFT JOIN tree_sizes s ON s.diff_id = l.diff_id
                     WHERE l.tree > 0 AND l.diff_id IN wanted), 0)"
        ),
    )
}

fn sum(db: &Connection, query: &str) -> Result<u64, Error> {
    Ok(db
        .prepare_cached(query)?
        .query_row([], |row| rows::bytes(row, 0))?)
}

impl Store {
    /// What takes how much of the disk. Looks only at what came since it was last asked.
    pub fn disk_usage(&self) -> Result<DiskUsage, Error> {
        self.measure()?;
        let paths = &self.inner.paths;
        let mut usage = self.inner.database.read(|db| {
            let documents = sum(
                db,
                "SELECT coalesce(sum(bytes), 0) FROM blob_sizes WHERE digest IN (
                     SELECT id FROM images UNION SELECT manifest FROM images UNION SELECT digest FROM documents)",
            )?;
            Ok(DiskUsage {
                images: documents + of_layers(db, "SELECT diff_id FROM image_layers")?,
                cache: of_layers(
                    db,
                    "SELECT layer FROM cache EXCEPT SELECT diff_id FROM image_layers",
                )?,
                mounts: sum(db, "SELECT coalesce(sum(size), 0) FROM mounts")?,
                unfinished: of_layers(
                    db,
                    "SELECT diff_id FROM layers EXCEPT SELECT diff_id FROM image_layers EXCEPT SELECT layer FROM cache",
                )?,
                ..DiskUsage::default()
            })
        })?;
        usage.unfinished += self.inner.unnamed.bytes() + of_files(&paths.partials());
        usage.unfinished += lock(&self.inner.kept_work).values().sum::<u64>();
        usage.notes = of_files(&paths.logs()) + of_files(&paths.contexts());
        let own: u64 = paths.overhead().iter().map(|path| at(path)).sum();
        usage.own = own + of_tree(&paths.bad());
        Ok(usage)
    }

    /// Looks at the files and trees that were not looked at yet. Those that are gone meanwhile leave a row that counts nowhere. On
    /// a full disk what is not known by then counts as nothing: it is asked for to make room, too.
    pub(crate) fn measure(&self) -> Result<(), Error> {
        self.forget_named()?;
        match self.measure_new() {
            Err(error) if error.is_full_disk() => Ok(()),
            measured => measured,
        }
    }

    fn measure_new(&self) -> Result<(), Error> {
        let (blobs, trees) = self.inner.database.read(|db| {
            let blobs = gc::digests(
                db,
                &format!(
                    "WITH named (digest) AS ({NAMED_BLOBS})
                     SELECT digest FROM named WHERE digest NOT IN (SELECT digest FROM blob_sizes)"
                ),
            )?;
            let trees = gc::digests(
                db,
                "SELECT diff_id FROM layers WHERE tree > 0 AND diff_id NOT IN (SELECT diff_id FROM tree_sizes)",
            )?;
            Ok((Vec::from_iter(blobs), trees))
        })?;
        for some in blobs.chunks(BATCH) {
            let sizes: Vec<(&Digest, u64)> = some
                .iter()
                .filter_map(|digest| {
                    let meta = fs::symlink_metadata(self.inner.paths.blob(digest)).ok()?;
                    Some((digest, of(&meta)))
                })
                .collect();
            self.inner.database.write(Durability::Normal, |db| {
                let mut insert =
                    db.prepare_cached("INSERT OR REPLACE INTO blob_sizes (digest, bytes) VALUES (?1, ?2)")?;
                for (digest, bytes) in sizes {
                    insert.execute((digest.as_raw(), rows::length(bytes)))?;
                }
                Ok(())
            })?;
        }
        for diff_id in trees.into_iter().map(DiffId) {
            let bytes = of_tree(&self.inner.paths.tree_folder(&diff_id));
            self.inner
                .database
                .write(Durability::Normal, |db| note_tree(db, &diff_id, bytes))?;
        }
        Ok(())
    }

    /// Forgets of blobs that a row has come to name that none did.
    fn forget_named(&self) -> Result<(), Error> {
        // the row of none of them goes meanwhile
        let _gate = share(&self.inner.gate);
        let blobs = self.inner.unnamed.all();
        if blobs.is_empty() {
            return Ok(());
        }
        let named = self.inner.database.read(|db| {
            let mut named = Vec::new();
            for blob in blobs {
                if gc::is_named(db, &blob)? {
                    named.push(blob);
                }
            }
            Ok(named)
        })?;
        self.inner.unnamed.forget(&named);
        Ok(())
    }
}

impl crate::paths::Paths {
    /// Whatever is there in every store or grows with none of its things.
    fn overhead(&self) -> Vec<PathBuf> {
        let database = self.database();
        let beside = |ending: &str| {
            let mut name = database.clone().into_os_string();
            name.push(ending);
            PathBuf::from(name)
        };
        let blobs = self.blobs();
        let above = blobs.parent().map(Path::to_owned);
        vec![
            self.root().to_owned(),
            self.oci_layout(),
            self.index(),
            self.own(),
            self.format(),
            self.lock(),
            self.ballast(),
            self.refs(),
            self.ingest(),
            self.trees(),
            self.mounts(),
            self.work(),
            self.trash(),
            beside("-wal"),
            beside("-shm"),
            database.clone(),
            blobs,
        ]
        .into_iter()
        .chain(above)
        .collect()
    }
}
