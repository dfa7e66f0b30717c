//! Where blobs are known to be: repositories of registries that they were fetched from or sent to, and by whom.

use mica_oci::{Digest, Repository};
use rusqlite::Connection;

use crate::database::Durability;
use crate::error::Error;
use crate::lease::Pins;
use crate::rows;
use crate::store::Store;

/// The most repositories that are remembered for a blob and a registry.
const KEPT: i64 = 16;

impl Store {
    /// Remembers that a repository has these blobs, and whose eyes saw them there. May be lost in a power cut.
    pub fn add_sources(
        &self,
        digests: &[Digest],
        repository: &Repository,
        account: &Digest,
    ) -> Result<(), Error> {
        self.inner.database.write(Durability::Normal, |db| {
            let mut insert = db.prepare_cached(
                "INSERT OR REPLACE INTO sources (digest, registry, path, account, seen)
                 VALUES (?1, ?2, ?3, ?4, (SELECT coalesce(max(seen), 0) + 1 FROM sources))",
            )?;
            let mut trim = db.prepare_cached(
                "DELETE FROM sources WHERE digest = ?1 AND registry = ?2 AND seen NOT IN (
                     SELECT seen FROM sources WHERE digest = ?1 AND registry = ?2 ORDER BY seen DESC LIMIT ?3)",
            )?;
            for digest in digests {
                insert.execute((digest.as_raw(), repository.registry(), repository.path(), account.as_raw()))?;
                trim.execute((digest.as_raw(), repository.registry(), KEPT))?;
            }
            Ok(())
        })
    }

    /// The repositories of a registry that had the blob, each with the account that saw it there, the latest first.
    pub fn sources(&self, digest: &Digest, registry: &str) -> Result<Vec<(Repository, Digest)>, Error> {
        self.inner.database.read(|db| {
            let mut query = db.prepare_cached(
                "SELECT registry || '/' || path, account FROM sources WHERE digest = ?1 AND registry = ?2 ORDER BY seen DESC",
            )?;
            let found = query.query_map((digest.as_raw(), registry), |row| {
                Ok((rows::parsed(row, 0)?, rows::digest(row, 1)?))
            })?;
            Ok(found.collect::<Result<_, _>>()?)
        })
    }

    /// Forgets that a repository has a blob.
    pub fn forget_source(&self, digest: &Digest, repository: &Repository) -> Result<(), Error> {
        self.inner.database.write(Durability::Normal, |db| {
            db.prepare_cached("DELETE FROM sources WHERE digest = ?1 AND registry = ?2 AND path = ?3")?
                .execute((digest.as_raw(), repository.registry(), repository.path()))?;
            Ok(())
        })
    }
}

/// Drops what is known of blobs that no row names any more and no lease keeps.
pub(crate) fn drop_strays(db: &Connection, pins: &Pins) -> Result<(), Error> {
    let mut query = db.prepare_cached(
        "SELECT DISTINCT digest FROM sources WHERE digest NOT IN (SELECT digest FROM layer_blobs)
         AND digest NOT IN (SELECT digest FROM layer_claims) AND digest NOT IN (SELECT id FROM images)
         AND digest NOT IN (SELECT digest FROM documents) AND digest NOT IN (SELECT manifest FROM images)
         AND digest NOT IN (SELECT diff_id FROM layers WHERE tar > 0)
         AND digest NOT IN (SELECT blob FROM image_layers)",
    )?;
    let strays = query.query_map([], |row| rows::digest(row, 0))?;
    let mut delete = db.prepare_cached("DELETE FROM sources WHERE digest = ?1")?;
    for stray in strays.collect::<Result<Vec<_>, _>>()? {
        if !pins.holds(&stray) {
            delete.execute([stray.as_raw()])?;
        }
    }
    Ok(())
}
