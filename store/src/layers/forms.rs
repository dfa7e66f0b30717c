//! Making one form of a layer from another; what is made must hash to the diff id.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use mica_layer::{
    Allowance, GoOn, Policy, Root, TimePolicy, TreeWriter, XattrPolicy, apply, changes_of_tree, decompress,
    pack,
};
use mica_oci::{DiffId, Digest, Hashing};

use super::{Layer, Record};
use crate::blobs::Blob;
use crate::disk;
use crate::error::Error;
use crate::lease::Lease;
use crate::rows;
use crate::store::Store;

/// How much is copied at once, in bytes.
const BUFFER: usize = 256 << 10;

/// The ways a layer may have been packed, the usual one first.
pub(crate) const PACKINGS: [(XattrPolicy, TimePolicy); 4] = [
    (XattrPolicy::CapabilityOnly, TimePolicy::Seconds),
    (XattrPolicy::CapabilityOnly, TimePolicy::Nanoseconds),
    (XattrPolicy::All, TimePolicy::Seconds),
    (XattrPolicy::All, TimePolicy::Nanoseconds),
];

/// Copies all of `from` and gives the number of bytes.
pub(crate) fn copy(from: &mut dyn Read, to: &mut dyn Write) -> io::Result<u64> {
    copy_while(from, to, &|| Ok(()))
}

/// As [`copy`], but ends as soon as `go_on` fails.
pub(crate) fn copy_while(from: &mut dyn Read, to: &mut dyn Write, go_on: GoOn<'_>) -> io::Result<u64> {
    let mut buffer = vec![0; BUFFER];
    let mut total = 0;
    loop {
        go_on()?;
        match from.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(n) => {
                to.write_all(&buffer[..n])?;
                total += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The length of a blob's content once inflated, which must hash to `claimed`.
pub(crate) fn inflated_size(blob: &Blob, claimed: &DiffId, go_on: GoOn<'_>) -> Result<u64, Error> {
    let (plain, _) = decompress(blob.open()?).map_err(Error::layer("inflate", *claimed))?;
    let mut plain = Hashing::new(plain);
    copy_while(&mut plain, &mut io::sink(), go_on).map_err(Error::io("inflate a layer"))?;
    let (_, actual, size) = plain.finish();
    match actual == *claimed.digest() {
        true => Ok(size),
        false => Err(Error::Digest {
            expected: *claimed.digest(),
            actual,
        }),
    }
}

fn mismatch(diff_id: &DiffId, from: &str, actual: &Digest) -> Error {
    Error::corrupt(diff_id, format!("its {from} gives {actual}"))
}

impl Store {
    /// The layer as a directory that overlayfs can stack, made if it is not there yet; kept by the lease. Read only.
    pub fn tree(&self, lease: &Lease, diff_id: &DiffId) -> Result<PathBuf, Error> {
        let place = self.inner.paths.tree(diff_id);
        if self.known(lease, diff_id)?.tree {
            return Ok(place);
        }
        self.inner.flights.alone(diff_id, || {
            let record = self.known(lease, diff_id)?;
            match record.tree {
                true => Ok(()),
                false => self.unpack(lease, record),
            }
        })?;
        Ok(place)
    }

    /// Unpacks the layer. One that nobody looked into is checked on the way, if only one blob is claimed to hold it.
    fn unpack(&self, lease: &Lease, mut record: Record) -> Result<(), Error> {
        if record.is_disputed() {
            record = self.settle_alone(lease, &record)?;
        }
        let work = self.work(lease)?;
        let dir = work.path().join("fs");
        disk::make_folder(&dir, 0o755).map_err(Error::io("make a tree"))?;
        let size = self
            .unpack_into(lease, &record, &dir)
            .map_err(|error| self.blame(lease, &record, error))?;
        self.confirm_claim(lease, &record, size)?;
        let layer = Layer {
            size,
            exact: true,
            ..record.layer
        };
        self.move_tree(lease, &dir, &layer)
    }

    fn unpack_into(&self, lease: &Lease, record: &Record, dir: &Path) -> Result<u64, Error> {
        let diff_id = record.layer.diff_id;
        let fail = || Error::layer("unpack", diff_id);
        let root = Root::open(dir).map_err(fail())?;
        let applied = apply(self.plain(lease, record)?, TreeWriter::new(root)).map_err(fail())?;
        match applied.diff_id == diff_id {
            true => Ok(applied.size),
            false => Err(mismatch(&diff_id, "tar", applied.diff_id.digest())),
        }
    }

    /// The only blob that was claimed to hold a layer does.
    fn confirm_claim(&self, lease: &Lease, record: &Record, size: u64) -> Result<(), Error> {
        let [claim] = record.claims[..] else { return Ok(()) };
        match self.blob(lease, &claim)? {
            Some(blob) => self.confirm(&blob, &record.layer.diff_id, size),
            None => Ok(()),
        }
    }

    /// Has index.json written again if it may list an image now that has this layer.
    pub(super) fn list_again(&self, diff_id: &DiffId) -> Result<(), Error> {
        if !self.inner.catalogue.lacks() {
            return Ok(());
        }
        let shown = self.inner.database.read(|db| {
            rows::any(
                db,
                "SELECT 1 FROM image_layers WHERE diff_id = ?1",
                diff_id.digest(),
            )
        })?;
        if shown {
            self.inner.catalogue.changed();
        }
        Ok(())
    }

    /// The layer as its uncompressed tar, made if it is not there yet; kept by the lease.
    pub fn tar(&self, lease: &Lease, diff_id: &DiffId) -> Result<Blob, Error> {
        if !self.known(lease, diff_id)?.tar {
            self.inner.flights.alone(diff_id, || {
                let record = self.known(lease, diff_id)?;
                match (record.tar, record.blob, record.layer.exact) {
                    (true, ..) => Ok(()),
                    (false, Some(_), _) => self
                        .inflate(lease, &record)
                        .map(drop)
                        .map_err(|error| self.suspect(&record, error)),
                    (false, None, true) => self.pack_tree(lease, &record.layer),
                    (false, None, false) => self.inflate_claim(lease, record),
                }
            })?;
        }
        self.blob(lease, diff_id.digest())?
            .ok_or_else(|| Error::corrupt(diff_id, "its tar is gone"))
    }

    /// Writes the layer's uncompressed tar to `out` without keeping it, unless it must be packed first.
    pub(crate) fn copy_tar(&self, lease: &Lease, diff_id: &DiffId, out: &mut dyn Write) -> Result<(), Error> {
        let mut record = self.settle(lease, diff_id)?;
        if !record.tar && record.blob.is_none() {
            self.tar(lease, diff_id)?;
            record.tar = true;
        }
        let mut plain = Hashing::new(self.plain(lease, &record)?);
        copy(&mut plain, out).map_err(Error::io("copy a layer"))?;
        let (_, actual, _) = plain.finish();
        match actual == *diff_id.digest() {
            true => Ok(()),
            false => Err(self.suspect(&record, mismatch(diff_id, "tar", &actual))),
        }
    }

    pub(crate) fn known(&self, lease: &Lease, diff_id: &DiffId) -> Result<Record, Error> {
        self.layer_record(lease, diff_id)?
            .ok_or(Error::MissingLayer { diff_id: *diff_id })
    }

    /// The bytes of the layer's uncompressed tar, from T or C.
    fn plain(&self, lease: &Lease, record: &Record) -> Result<Box<dyn Read>, Error> {
        let diff_id = &record.layer.diff_id;
        let open = |digest: &Digest| match self.blob(lease, digest)? {
            Some(blob) => blob.open(),
            None => Err(Error::corrupt(diff_id, format!("its blob {digest} is gone"))),
        };
        match (record.tar, record.blob.as_ref().or(record.claims.first())) {
            (true, _) => Ok(Box::new(open(diff_id.digest())?)),
            (false, Some(blob)) => {
                let (plain, _) = decompress(open(blob)?).map_err(Error::layer("inflate", *diff_id))?;
                Ok(plain)
            }
            (false, None) => Err(Error::corrupt(
                diff_id,
                "it has neither a tar nor a compressed blob",
            )),
        }
    }

    fn inflate(&self, lease: &Lease, record: &Record) -> Result<u64, Error> {
        let mut ingest = self.ingest(lease)?;
        copy(&mut self.plain(lease, record)?, &mut ingest).map_err(Error::io("inflate a layer"))?;
        let staged = ingest.stage()?;
        if staged.digest != *record.layer.diff_id.digest() {
            return Err(mismatch(&record.layer.diff_id, "compressed blob", &staged.digest));
        }
        Ok(self.add_staged_tar(lease, staged, &record.layer)?.size)
    }

    /// Inflates a layer that nobody looked into, which checks it.
    fn inflate_claim(&self, lease: &Lease, mut record: Record) -> Result<(), Error> {
        if record.is_disputed() {
            record = self.settle_alone(lease, &record)?;
        }
        let size = self
            .inflate(lease, &record)
            .map_err(|error| self.blame(lease, &record, error))?;
        self.confirm_claim(lease, &record, size)
    }

    /// Packs the layer's tree. How it was packed when it was made was not recorded, so the ways there are get tried, the usual
    /// one first.
    fn pack_tree(&self, lease: &Lease, layer: &Layer) -> Result<(), Error> {
        let diff_id = &layer.diff_id;
        let fail = || Error::layer("pack", *diff_id);
        let tree = self.inner.paths.tree(diff_id);
        for (xattrs, times) in PACKINGS {
            let policy = Policy {
                xattrs,
                times,
                clamp: None,
            };
            let changes = changes_of_tree(&tree, xattrs, Allowance::default(), &|| Ok(())).map_err(fail())?;
            let mut ingest = self.ingest(lease)?;
            let packed = pack(&changes, &policy, &mut ingest, None).map_err(fail())?;
            if packed.diff_id == *diff_id {
                self.add_staged_tar(lease, ingest.stage()?, layer)?;
                return Ok(());
            }
        }
        Err(Error::corrupt(diff_id, "its tree gives another tar"))
    }
}
