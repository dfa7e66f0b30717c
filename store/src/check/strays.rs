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
use crate::store::Store;

impl Check<'_, '_> {
    /// Strays among blobs and trees, and what is no work of this process among what is on its way.
    pub(super) fn strays(&mut self) -> Result<(), Error> {
        let paths = self.store.inner.paths.clone();
        for folder in [
            paths.blobs(),
            paths.trees(),
            paths.ingest(),
            paths.work(),
            paths.partials(),
        ] {
            self.among(&folder)?;
        }
        Ok(())
    }

    fn among(&mut self, folder: &Path) -> Result<(), Error> {
        let store = self.store.clone();
        let all: Vec<OsString> = names(folder)?;
        for page in all.chunks(PAGE) {
            self.go_on()?;
            let _gate = share(&store.inner.gate);
            for name in page {
                let place: PathBuf = folder.join(name);
                // it may have gone since it was listed
                if store.is_stray(&place)? && fs::symlink_metadata(&place).is_ok() {
                    self.found(dropped(Thing::Stray, Fault::Unnamed, place));
                }
            }
        }
        Ok(())
    }
}

impl Store {
    /// Whether nothing names what lies in one of the folders that are looked through, and nobody is working on it. The caller
    /// holds the gate.
    pub(crate) fn is_stray(&self, place: &Path) -> Result<bool, Error> {
        let paths = &self.inner.paths;
        let (Some(folder), Some(name)) = (place.parent(), place.file_name()) else {
            return Ok(false);
        };
        if folder == paths.blobs() {
            return self.is_stray_blob(name);
        }
        if folder == paths.trees() {
            return self.is_stray_tree(name);
        }
        // what this process has on its way there has a number; that of others was swept when the store was opened
        if folder == paths.ingest() || folder == paths.work() {
            return Ok(!paths.is_given_out(name));
        }
        Ok(folder == paths.partials() && digest_of(name).is_none())
    }

    /// Pins first: who puts something in has it pinned until the row is written.
    fn is_stray_blob(&self, name: &OsStr) -> Result<bool, Error> {
        let Some(digest) = digest_of(name) else {
            return Ok(true);
        };
        if self.inner.pins.holds(&digest) {
            return Ok(false);
        }
        Ok(!self.inner.database.read(|db| is_named(db, &digest))?)
    }

    fn is_stray_tree(&self, name: &OsStr) -> Result<bool, Error> {
        let Some(digest) = digest_of(name) else {
            return Ok(true);
        };
        if self.inner.pins.holds_layer(&DiffId(digest)) {
            return Ok(false);
        }
        let named = "SELECT 1 FROM layers WHERE diff_id = ?1 AND tree > 0";
        Ok(!self.inner.database.read(|db| rows::any(db, named, &digest))?)
    }
}

fn digest_of(name: &OsStr) -> Option<Digest> {
    Digest::from_hex(name.to_str()?).ok()
}
