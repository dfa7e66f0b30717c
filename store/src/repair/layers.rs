//! Mending the forms of layers, and giving them up.

use mica_oci::{Compression, DiffId, Digest, MediaType};
use rusqlite::Connection;

use crate::check::finding::Fault;
use crate::check::harm;
use crate::database::Durability;
use crate::disk;
use crate::error::Error;
use crate::locks::exclude;
use crate::repair::forms::{Form, Mender, forms_of};
use crate::repair::{Cure, GivenUp, Mending};
use crate::rows;
use crate::store::Store;

impl Mender<'_> {
    /// A layer of which no row is here can only be fetched, unless just the row is lost.
    pub(super) fn mend_layer(&self, diff_id: &DiffId) -> Result<Mending, Error> {
        let (store, inner) = (self.store, &self.store.inner);
        if !inner.database.read(|db| forms_of(db, diff_id))?.is_empty() {
            return Ok(Mending::Done(Cure::ByItself));
        }
        let mut blobs = inner.database.read(|db| harm::blobs_of(db, diff_id))?;
        blobs.insert(0, *diff_id.digest());
        for digest in blobs {
            let path = inner.paths.blob(&digest);
            let is_file = fs_err::symlink_metadata(path).is_ok_and(|meta| meta.is_file());
            if is_file
                && let Some(blob) = store.blob(self.lease, &digest)?
                && store.is_sound_blob(&digest, self.go_on)?
            {
                inner.sync_blob(blob.path()).map_err(Error::io("sync a blob"))?;
                inner.sync_blobs()?;
                // how it is compressed is seen from the blob itself
                store.add_layer_blob_unchecked(self.lease, &blob, Compression::Gzip, diff_id)?;
                return Ok(Mending::Done(Cure::MadeAgain));
            }
        }
        Ok(Mending::Fetch(store.errands_for_layer(diff_id, None)?))
    }

    pub(super) fn mend_tar(&self, diff_id: &DiffId) -> Result<Mending, Error> {
        self.store.inner.flights.alone(diff_id, || {
            let digest = diff_id.digest();
            if !self.store.has(diff_id, &Form::Tar)? || self.store.is_sound_blob(digest, self.go_on)? {
                return Ok(Mending::Done(Cure::ByItself));
            }
            self.store.inner.damaged.note(digest);
            let Some(staged) = self.tar_again(diff_id)? else {
                return Ok(Mending::Fetch(self.store.errands_for_layer(diff_id, None)?));
            };
            self.replace(staged)?;
            self.store.inner.indexes.forget(diff_id);
            self.store.inner.database.write(Durability::Full, |db| {
                db.prepare_cached("UPDATE layers SET tar = 2 WHERE diff_id = ?1 AND tar = 1")?
                    .execute([digest.as_raw()])?;
                Ok(())
            })?;
            Ok(Mending::Done(Cure::MadeAgain))
        })
    }

    pub(super) fn mend_tree(&self, diff_id: &DiffId) -> Result<Mending, Error> {
        self.store.inner.flights.alone(diff_id, || {
            if !self.store.has(diff_id, &Form::Tree)? {
                return Ok(Mending::Done(Cure::ByItself));
            }
            let work = self.store.work(self.lease)?;
            let dir = work.path().join("fs");
            disk::make_folder(&dir, 0o755).map_err(Error::io("make a tree"))?;
            let Some(form) = self.unpack_again(diff_id, &dir)? else {
                return Ok(match self.store.is_in_use(diff_id) {
                    true => in_use(),
                    false => Mending::Fetch(self.store.errands_for_layer(diff_id, None)?),
                });
            };
            self.store.secure(diff_id, &form)?;
            self.store.replace_tree(diff_id, &dir)
        })
    }

    pub(super) fn mend_compressed(
        &self,
        diff_id: &DiffId,
        blob: &Digest,
        fault: &Fault,
    ) -> Result<Mending, Error> {
        let database = &self.store.inner.database;
        let Some(compression) = database.read(|db| compression(db, diff_id, blob))? else {
            return Ok(Mending::Done(Cure::ByItself));
        };
        if let Fault::Contradiction { .. } = fault {
            return self.mend_lie(diff_id, blob);
        }
        if self.store.is_sound_blob(blob, self.go_on)? {
            return Ok(Mending::Done(Cure::ByItself));
        }
        self.store.inner.damaged.note(blob);
        let made = match compression {
            Some(compression) => self.blob_again(diff_id, blob, compression)?,
            None => None,
        };
        match made {
            Some(staged) => {
                self.replace(staged)?;
                Ok(Mending::Done(Cure::MadeAgain))
            }
            None => Ok(Mending::Fetch(self.store.errands_for_layer(diff_id, Some(blob))?)),
        }
    }

    /// A blob that is sound and does not hold the layer: what matters is whether something else does.
    fn mend_lie(&self, diff_id: &DiffId, blob: &Digest) -> Result<Mending, Error> {
        let form = Form::Blob(*blob);
        if self.store.has(diff_id, &form)? && self.is_sound(diff_id, &form)? {
            return Ok(Mending::Done(Cure::ByItself));
        }
        let Some(sound) = self.sound_but(diff_id, &form)? else {
            return Ok(Mending::Left(
                "whoever has the blob has it so: the image says what is not true".to_owned(),
            ));
        };
        self.store.secure(diff_id, &sound)?;
        self.store.inner.database.write(Durability::Full, |db| {
            let own = (diff_id.digest().as_raw(), blob.as_raw());
            db.prepare_cached(
                "INSERT OR IGNORE INTO false_claims SELECT diff_id, digest FROM layer_claims WHERE diff_id = ?1 AND digest = ?2",
            )?
            .execute(own)?;
            db.prepare_cached("DELETE FROM layer_blobs WHERE diff_id = ?1 AND digest = ?2")?
                .execute(own)?;
            Ok(())
        })?;
        self.store.inner.catalogue.changed();
        Ok(Mending::Done(Cure::Dropped))
    }

    /// A form that holds the layer, other than this one.
    fn sound_but(&self, diff_id: &DiffId, but: &Form) -> Result<Option<Form>, Error> {
        for form in self.store.forms_but(diff_id, but)? {
            if self.is_sound(diff_id, &form)? {
                return Ok(Some(form));
            }
        }
        Ok(None)
    }

    /// Gives up a compressed blob that nobody has; where another form holds the layer, it is done without.
    pub(super) fn give_up_compressed(&self, diff_id: &DiffId, blob: &Digest) -> Result<GivenUp, Error> {
        let form = Form::Blob(*blob);
        let sound = self.sound_but(diff_id, &form)?;
        if let Some(sound) = &sound {
            self.store.secure(diff_id, sound)?;
        }
        let given_up = self.store.give_up_form(diff_id, &form)?;
        Ok(match (given_up, sound) {
            (GivenUp::Lost { .. }, Some(_)) => GivenUp::Done(Cure::Dropped),
            (given_up, _) => given_up,
        })
    }
}

impl Store {
    /// Puts a tree in place of another, for which there is a durable form of the layer. The caller is alone with the layer.
    fn replace_tree(&self, diff_id: &DiffId, dir: &std::path::Path) -> Result<Mending, Error> {
        let (inner, paths) = (&self.inner, &self.inner.paths);
        let _gate = exclude(&inner.gate);
        if self.is_in_use(diff_id) {
            return Ok(in_use());
        }
        let set = |to: u8, durability| {
            inner.database.write(durability, |db| {
                db.prepare_cached("UPDATE layers SET tree = ?2 WHERE diff_id = ?1")?
                    .execute((diff_id.digest().as_raw(), to))?;
                Ok(())
            })
        };
        let place = paths.tree_folder(diff_id);
        set(0, Durability::Full)?;
        let replaced = inner.trash.take(&place).and_then(|()| {
            disk::make_folder(&place, 0o700).map_err(Error::io("make a tree"))?;
            disk::rename(dir, &paths.tree(diff_id)).map_err(Error::io("move a tree"))?;
            set(1, Durability::Normal)
        });
        if replaced.is_err() {
            // no row tells of what lies there
            inner.unnamed.lose_count();
        }
        replaced.map(|()| Mending::Done(Cure::MadeAgain))
    }

    /// Whether some work has the layer: its tree may be a step's file system at this moment.
    fn is_in_use(&self, diff_id: &DiffId) -> bool {
        self.inner.pins.holds_layer(diff_id)
    }

    fn has(&self, diff_id: &DiffId, form: &Form) -> Result<bool, Error> {
        let forms = self.inner.database.read(|db| forms_of(db, diff_id))?;
        Ok(forms.contains(form))
    }

    pub(super) fn give_up_tar(&self, diff_id: &DiffId) -> Result<GivenUp, Error> {
        self.give_up_form(diff_id, &Form::Tar)
    }

    pub(super) fn give_up_tree(&self, diff_id: &DiffId) -> Result<GivenUp, Error> {
        self.give_up_form(diff_id, &Form::Tree)
    }

    /// Takes a form's row away, then sets aside what is in its place. A layer without any form goes too, so that nothing is built
    /// on it.
    fn give_up_form(&self, diff_id: &DiffId, form: &Form) -> Result<GivenUp, Error> {
        let (inner, paths) = (&self.inner, &self.inner.paths);
        let gate = exclude(&inner.gate);
        let (place, name) = match form {
            Form::Tar => (paths.blob(diff_id.digest()), diff_id.digest().hex()),
            Form::Blob(blob) => (paths.blob(blob), blob.hex()),
            Form::Tree => (
                paths.tree_folder(diff_id),
                format!("{}-tree", diff_id.digest().hex()),
            ),
        };
        let replacing = match form {
            Form::Tree if self.is_in_use(diff_id) => return Ok(GivenUp::Lost { aside: None }),
            Form::Tree => None,
            Form::Tar => inner.damaged.replacing(diff_id.digest(), || false),
            Form::Blob(blob) => inner.damaged.replacing(blob, || false),
        };
        if replacing.is_none() && *form != Form::Tree {
            return Ok(GivenUp::Done(Cure::ByItself));
        }
        inner
            .database
            .write(Durability::Full, |db| forget_form(db, diff_id, form))?;
        let aside = inner.set_aside(&place, &name)?;
        if let Some(replacing) = replacing {
            replacing.done();
        }
        drop(gate);
        inner.indexes.forget(diff_id);
        inner.catalogue.changed();
        Ok(GivenUp::Lost { aside })
    }
}

fn in_use() -> Mending {
    Mending::Left("it is in use: repair again when the build that has it is over".to_owned())
}

/// How a blob is compressed, by its row; nothing if no row says any more that it holds the layer, and nothing within if the row
/// says nothing that is known.
fn compression(
    db: &Connection,
    diff_id: &DiffId,
    blob: &Digest,
) -> Result<Option<Option<Compression>>, Error> {
    let kind: Option<String> = rows::first(
        db,
        "SELECT compression FROM layer_blobs WHERE diff_id = ?1 AND digest = ?2
         UNION ALL SELECT compression FROM layer_claims WHERE diff_id = ?1 AND digest = ?2 LIMIT 1",
        (diff_id.digest().as_raw(), blob.as_raw()),
    )?;
    Ok(kind.map(|kind| MediaType::new(kind).layer_compression()))
}

/// Takes away what rows say of a form, and the layer if that was the last one.
fn forget_form(db: &Connection, diff_id: &DiffId, form: &Form) -> Result<(), Error> {
    let own = [diff_id.digest().as_raw()];
    match form {
        Form::Tar => {
            db.prepare_cached("UPDATE layers SET tar = 0 WHERE diff_id = ?1")?
                .execute(own)?;
        }
        Form::Tree => {
            db.prepare_cached("UPDATE layers SET tree = 0 WHERE diff_id = ?1")?
                .execute(own)?;
        }
        Form::Blob(blob) => {
            for table in ["layer_blobs", "layer_claims", "false_claims"] {
                db.prepare_cached(&format!("DELETE FROM {table} WHERE diff_id = ?1 AND digest = ?2"))?
                    .execute((own[0], blob.as_raw()))?;
            }
        }
    }
    db.prepare_cached(
        "DELETE FROM layers WHERE diff_id = ?1 AND tar = 0 AND tree = 0
         AND diff_id NOT IN (SELECT diff_id FROM layer_blobs) AND diff_id NOT IN (SELECT diff_id FROM layer_claims)",
    )?
    .execute(own)?;
    Ok(())
}
