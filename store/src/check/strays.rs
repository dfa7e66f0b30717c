//! Files that nothing names and nobody is working on.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use fs_err as fs;
use mica_oci::{DiffId, Digest};

use super::layers::dropped;
use super::{Check, PAGE};
use crate::check::finding::{Fault, Thing};
use crate::error::Error;
use crate::gc::{is_named, names};
use crate::locks::share;
use crate::rows;

impl Check<'_, '_> {
    /// Strays among blobs and trees, and what is no work of this process among what is on its way.
    pub(super) fn strays(&mut self) -> Result<(), Error> {
        let paths = self.store.inner.paths.clone();
        self.among(&paths.blobs(), &|check, name| check.is_stray_blob(name))?;
        self.among(&paths.trees(), &|check, name| check.is_stray_tree(name))?;
        // what this process has on its way there has a number; that of others was swept when the store was opened
        for folder in [paths.ingest(), paths.work()] {
            self.among(&folder, &|check, name| {
                Ok(!check.store.inner.paths.is_given_out(name))
            })?;
        }
        self.among(&paths.partials(), &|_, name| Ok(digest_of(name).is_none()))
    }

    fn among(
        &mut self,
        folder: &Path,
        is_stray: &dyn Fn(&Self, &OsStr) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let store = self.store.clone();
        let all: Vec<OsString> = names(folder)?;
        for page in all.chunks(PAGE) {
            self.go_on()?;
            let _gate = share(&store.inner.gate);
            for name in page {
                let place: PathBuf = folder.join(name);
                // it may have gone since it was listed
                if is_stray(self, name)? && fs::symlink_metadata(&place).is_ok() {
                    self.found(dropped(Thing::Stray, Fault::Unnamed, place));
                }
            }
        }
        Ok(())
    }

    /// Pins first: who puts something in has it pinned until the row is written.
    fn is_stray_blob(&self, name: &OsStr) -> Result<bool, Error> {
        let Some(digest) = digest_of(name) else {
            return Ok(true);
        };
        if self.store.inner.pins.holds(&digest) {
            return Ok(false);
        }
        let database = &self.store.inner.database;
        Ok(!database.read(|db| is_named(db, &digest))?)
    }

    fn is_stray_tree(&self, name: &OsStr) -> Result<bool, Error> {
        let Some(digest) = digest_of(name) else {
            return Ok(true);
        };
        if self.store.inner.pins.holds_layer(&DiffId(digest)) {
            return Ok(false);
        }
        let named = "SELECT 1 FROM layers WHERE diff_id = ?1 AND tree > 0";
        Ok(!self
            .store
            .inner
            .database
            .read(|db| rows::any(db, named, &digest))?)
    }
}

fn digest_of(name: &OsStr) -> Option<Digest> {
    Digest::from_hex(name.to_str()?).ok()
}
