//! Making one form of a layer of another for a repair, and telling whether one is sound.

use std::io::{self, Read, Write};
use std::path::Path;

use mica_layer::{
    Allowance, Changes, Error as LayerError, Policy, Root, TreeWriter, apply, changes_of_tree, decompress,
    pack,
};
use mica_oci::{Compression, DiffId, Digest, Hashing};
use rusqlite::Connection;

use crate::blobs::Blob;
use crate::database::Durability;
use crate::disk;
use crate::error::Error;
use crate::ingest::Staged;
use crate::layers::forms::PACKINGS;
use crate::lease::Lease;
use crate::repair::GoOn;
use crate::rows;
use crate::store::Store;

/// How much is copied at once, in bytes.
const BUFFER: usize = 256 << 10;

/// A form in which a layer lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// T: its uncompressed tar.
    Tar,
    /// C: a compressed blob, checked or claimed and not known to be something else.
    Blob(Digest),
    /// D: unpacked.
    Tree,
}

/// The forms that rows say a layer has, those first that others are made of at the least cost.
pub(super) fn forms_of(db: &Connection, diff_id: &DiffId) -> Result<Vec<Form>, Error> {
    let Some(record) = crate::layers::record(db, diff_id)? else {
        return Ok(Vec::new());
    };
    let mut forms = Vec::new();
    if record.tar {
        forms.push(Form::Tar);
    }
    let mut query = db.prepare_cached(
        "SELECT digest FROM layer_blobs WHERE diff_id = ?1
         UNION SELECT digest FROM layer_claims c WHERE diff_id = ?1 AND NOT EXISTS (
             SELECT 1 FROM false_claims f WHERE f.diff_id = c.diff_id AND f.digest = c.digest)",
    )?;
    let blobs = query.query_map([diff_id.digest().as_raw()], |row| rows::digest(row, 0))?;
    for blob in blobs {
        forms.push(Form::Blob(blob?));
    }
    if record.tree {
        forms.push(Form::Tree);
    }
    Ok(forms)
}

/// A reader or writer that fails once the repair is not wanted any more.
struct While<'a, R>(R, GoOn<'a>);

impl<R: Read> Read for While<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (self.1)()?;
        self.0.read(buf)
    }
}

impl<W: Write> Write for While<'_, W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (self.1)()?;
        self.0.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Copies all of `from`; says whether all of it could be read. A failure to write is an error: it says nothing of `from`.
fn pour(from: &mut dyn Read, to: &mut dyn Write, go_on: GoOn<'_>) -> Result<bool, Error> {
    let mut buffer = vec![0; BUFFER];
    loop {
        go_on().map_err(Error::io("mend the store"))?;
        match from.read(&mut buffer) {
            Ok(0) => return Ok(true),
            Ok(count) => to
                .write_all(&buffer[..count])
                .map_err(Error::io("write what is made again"))?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Ok(false),
        }
    }
}

fn policy((xattrs, times): (mica_layer::XattrPolicy, mica_layer::TimePolicy)) -> Policy {
    Policy {
        xattrs,
        times,
        clamp: None,
    }
}

impl Store {
    /// The other forms of a layer, by its rows.
    pub(super) fn forms_but(&self, diff_id: &DiffId, but: &Form) -> Result<Vec<Form>, Error> {
        let mut forms = self.inner.database.read(|db| forms_of(db, diff_id))?;
        forms.retain(|form| form != but);
        Ok(forms)
    }

    /// Whether the file under a digest holds what it should.
    pub(crate) fn is_sound_blob(&self, digest: &Digest, go_on: GoOn<'_>) -> Result<bool, Error> {
        let Ok(file) = fs_err::File::open(self.inner.paths.blob(digest)) else {
            return Ok(false);
        };
        let mut bytes = Hashing::new(file);
        Ok(pour(&mut bytes, &mut io::sink(), go_on)? && bytes.finish().1 == *digest)
    }

    /// Makes a form durable that others are given up for.
    pub(super) fn secure(&self, diff_id: &DiffId, form: &Form) -> Result<(), Error> {
        let inner = &self.inner;
        let column = match form {
            // compressed blobs always are
            Form::Blob(_) => return Ok(()),
            Form::Tar => "tar",
            Form::Tree => "tree",
        };
        let loose = format!("SELECT 1 FROM layers WHERE diff_id = ?1 AND {column} = 1");
        if !inner
            .database
            .read(|db| rows::any(db, &loose, diff_id.digest()))?
        {
            return Ok(());
        }
        match form {
            Form::Tar => {
                let tar = inner.paths.blob(diff_id.digest());
                inner.sync_blob(&tar).map_err(Error::io("sync a layer"))?;
                inner.sync_blobs()?;
            }
            _ => inner
                .synced(disk::sync_all(inner.paths.root()))
                .map_err(Error::io("sync the store"))?,
        }
        inner.database.write(Durability::Full, |db| {
            db.prepare_cached(&format!(
                "UPDATE layers SET {column} = 2 WHERE diff_id = ?1 AND {column} = 1"
            ))?
            .execute([diff_id.digest().as_raw()])?;
            Ok(())
        })
    }
}

/// What a repair works on layers with.
pub(super) struct Mender<'a> {
    pub(super) store: &'a Store,
    /// Holds what is read and made.
    pub(super) lease: &'a Lease,
    /// Whether it is still wanted.
    pub(super) go_on: GoOn<'a>,
}

impl Mender<'_> {
    /// The bytes of a blob inflated; nothing if it is not there or not compressed as it should be.
    fn inflated(&self, digest: &Digest) -> Result<Option<Box<dyn Read>>, Error> {
        let path = self.store.inner.paths.blob(digest);
        // something else in its place is no blob
        if !fs_err::symlink_metadata(path).is_ok_and(|meta| meta.is_file()) {
            return Ok(None);
        }
        let Some(blob) = self.store.blob(self.lease, digest)? else {
            return Ok(None);
        };
        Ok(decompress(blob.open()?).ok().map(|(plain, _)| plain))
    }

    /// Whether a form holds the layer.
    pub(super) fn is_sound(&self, diff_id: &DiffId, form: &Form) -> Result<bool, Error> {
        match form {
            Form::Tar => self.store.is_sound_blob(diff_id.digest(), self.go_on),
            Form::Blob(blob) => {
                let Some(plain) = self.inflated(blob)? else {
                    return Ok(false);
                };
                let mut plain = Hashing::new(plain);
                Ok(pour(&mut plain, &mut io::sink(), self.go_on)? && plain.finish().1 == *diff_id.digest())
            }
            Form::Tree => Ok(self.packing(diff_id)?.is_some()),
        }
    }

    /// How a layer's tree is packed to give its tar; nothing if it does not. One that is too large to be packed may well be sound,
    /// which is an error.
    fn packing(&self, diff_id: &DiffId) -> Result<Option<(Changes, Policy)>, Error> {
        let tree = self.store.inner.paths.tree(diff_id);
        for policy in PACKINGS.map(policy) {
            let changes = changes_of_tree(&tree, policy.xattrs, Allowance::default(), self.go_on);
            (self.go_on)().map_err(Error::io("mend the store"))?;
            let changes = match changes {
                Ok(changes) => changes,
                Err(error @ LayerError::Changes { .. }) => return Err(Error::layer("pack", *diff_id)(error)),
                Err(_) => return Ok(None),
            };
            let packed = pack(&changes, &policy, &mut While(io::sink(), self.go_on), None);
            (self.go_on)().map_err(Error::io("mend the store"))?;
            if packed.is_ok_and(|packed| packed.diff_id == *diff_id) {
                return Ok(Some((changes, policy)));
            }
        }
        Ok(None)
    }

    /// The layer's tar made again of another form; nothing if that does not give it.
    fn tar_of(&self, diff_id: &DiffId, form: &Form) -> Result<Option<Staged>, Error> {
        let staged = match form {
            Form::Tar => return Ok(None),
            Form::Blob(blob) => {
                let Some(mut plain) = self.inflated(blob)? else {
                    return Ok(None);
                };
                let mut ingest = self.store.ingest(self.lease)?;
                if !pour(&mut plain, &mut ingest, self.go_on)? {
                    return Ok(None);
                }
                ingest.stage()?
            }
            Form::Tree => {
                let Some((changes, policy)) = self.packing(diff_id)? else {
                    return Ok(None);
                };
                let mut ingest = self.store.ingest(self.lease)?;
                pack(&changes, &policy, &mut While(&mut ingest, self.go_on), None)
                    .map_err(Error::layer("pack", *diff_id))?;
                ingest.stage()?
            }
        };
        Ok((staged.digest == *diff_id.digest()).then_some(staged))
    }

    /// The layer's tar made again of any of its other forms.
    pub(super) fn tar_again(&self, diff_id: &DiffId) -> Result<Option<Staged>, Error> {
        for form in self.store.forms_but(diff_id, &Form::Tar)? {
            if let Some(staged) = self.tar_of(diff_id, &form)? {
                return Ok(Some(staged));
            }
        }
        Ok(None)
    }

    /// A compressed blob made again of another form, if compressing it here gives the same bytes.
    pub(super) fn blob_again(
        &self,
        diff_id: &DiffId,
        blob: &Digest,
        compression: Compression,
    ) -> Result<Option<Staged>, Error> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        for form in self.store.forms_but(diff_id, &Form::Blob(*blob))? {
            let made = self.tar_of(diff_id, &form)?;
            let tar = match (&made, form) {
                (Some(staged), _) => staged.open()?,
                (None, Form::Tar) => match self.store.is_sound_blob(diff_id.digest(), self.go_on)? {
                    true => fs_err::File::open(self.store.inner.paths.blob(diff_id.digest()))
                        .map_err(Error::io("read a layer"))?,
                    false => continue,
                },
                (None, _) => continue,
            };
            let mut ingest = self.store.ingest(self.lease)?;
            mica_layer::compress(&mut While(tar, self.go_on), &mut ingest, compression, threads)
                .map_err(Error::layer("compress", *diff_id))?;
            let staged = ingest.stage()?;
            // another form holds the same bytes: compressing those gives the same again
            return Ok((staged.digest == *blob).then_some(staged));
        }
        Ok(None)
    }

    /// Unpacks the layer into an empty folder, of any form but its tree; gives that form.
    pub(super) fn unpack_again(&self, diff_id: &DiffId, dir: &Path) -> Result<Option<Form>, Error> {
        for form in self.store.forms_but(diff_id, &Form::Tree)? {
            // read before it is unpacked, so that a failure to write is not taken for one of the form
            if !self.is_sound(diff_id, &form)? {
                continue;
            }
            let plain: Box<dyn Read> = match &form {
                Form::Blob(blob) => match self.inflated(blob)? {
                    Some(plain) => plain,
                    None => continue,
                },
                _ => Box::new(
                    fs_err::File::open(self.store.inner.paths.blob(diff_id.digest()))
                        .map_err(Error::io("read a layer"))?,
                ),
            };
            let fail = || Error::layer("unpack", *diff_id);
            let root = Root::open(dir).map_err(fail())?;
            let applied = apply(While(plain, self.go_on), TreeWriter::new(root)).map_err(fail())?;
            return match applied.diff_id == *diff_id {
                true => Ok(Some(form)),
                false => Err(Error::corrupt(diff_id, "it changed while it was unpacked")),
            };
        }
        Ok(None)
    }

    /// Puts sound bytes in place of a damaged blob, durably.
    pub(super) fn replace(&self, staged: Staged) -> Result<Blob, Error> {
        self.store.inner.damaged.note(&staged.digest);
        staged.commit(self.lease)
    }
}
