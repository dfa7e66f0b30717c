//! Mending names, cache records, derived files, and putting away what nothing names.

use std::path::Path;

use fs_err as fs;
use mica_oci::{CacheKey, Reference};

use crate::database::Durability;
use crate::error::Error;
use crate::locks::exclude;
use crate::repair::{Cure, GoOn, Mending};
use crate::store::Store;

impl Store {
    /// Takes away a name that leads nowhere.
    pub(super) fn mend_name(&self, name: &Reference) -> Result<Mending, Error> {
        let gone = self.inner.database.write(Durability::Full, |db| {
            Ok(db
                .prepare_cached("DELETE FROM refs WHERE name = ?1 AND image NOT IN (SELECT id FROM images)")?
                .execute([name.to_string()])?)
        })?;
        self.inner.catalogue.changed();
        Ok(Mending::Done(match gone {
            0 => Cure::ByItself,
            _ => Cure::Dropped,
        }))
    }

    /// Drops a record of the build cache whose layer is not there.
    pub(super) fn mend_cache_record(&self, key: &CacheKey) -> Result<Mending, Error> {
        let gone = self.inner.database.write(Durability::Full, |db| {
            Ok(db
                .prepare_cached(
                    "DELETE FROM cache WHERE key = ?1 AND NOT EXISTS (
                         SELECT 1 FROM layers l WHERE l.diff_id = layer AND (tar > 0 OR tree > 0
                             OR EXISTS (SELECT 1 FROM layer_blobs b WHERE b.diff_id = l.diff_id)
                             OR EXISTS (SELECT 1 FROM layer_claims c WHERE c.diff_id = l.diff_id)))",
                )?
                .execute([key.digest().as_raw()])?)
        })?;
        Ok(Mending::Done(match gone {
            0 => Cure::ByItself,
            _ => Cure::Dropped,
        }))
    }

    /// Writes the derived files again.
    pub(super) fn mend_derived(&self, place: &Path, go_on: GoOn<'_>) -> Result<Mending, Error> {
        let is_stale = || Ok::<_, Error>(self.stale_files(go_on)?.iter().any(|stale| stale == place));
        if !is_stale()? {
            return Ok(Mending::Done(Cure::ByItself));
        }
        // something else in its place cannot be replaced by a file
        if fs::symlink_metadata(place).is_ok_and(|meta| meta.is_dir()) {
            self.inner.trash.take(place)?;
        }
        self.inner.catalogue.changed();
        Ok(match (is_stale()?, self.inner.catalogue.trouble()) {
            (false, _) => Mending::Done(Cure::MadeAgain),
            (true, Some(trouble)) => Mending::Left(trouble),
            (true, None) => Mending::Left("it was written and still says something else".to_owned()),
        })
    }

    /// Throws away a file or folder that nothing names.
    pub(super) fn mend_stray(&self, place: &Path) -> Result<Mending, Error> {
        let _gate = exclude(&self.inner.gate);
        if fs::symlink_metadata(place).is_err() || !self.is_stray(place)? {
            return Ok(Mending::Done(Cure::ByItself));
        }
        self.inner.trash.take(place)?;
        Ok(Mending::Done(Cure::Dropped))
    }
}
