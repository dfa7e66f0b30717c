//! Looking at single files and trees.

use std::io::{self, Read};
use std::path::Path;

use fs_err as fs;
use mica_layer::{
    Allowance, Error as LayerError, Policy, Root, TimePolicy, TreeWriter, XattrPolicy, apply,
    changes_of_tree, decompress, pack,
};
use mica_oci::{DiffId, Digest, Hasher, Hashing};

use super::Check;
use crate::blobs::Blob;
use crate::check::finding::Fault;
use crate::disk;
use crate::error::Error;
use crate::layers::forms::PACKINGS;

/// Fails when the check is not wanted any more.
type GoOn<'a> = &'a (dyn Fn() -> io::Result<()> + Sync);

/// How much is read at once, in bytes.
const BUFFER: usize = 256 << 10;

/// How trees are compared: all that can be told of files.
const EXACT: Policy = Policy {
    xattrs: XattrPolicy::All,
    times: TimePolicy::Nanoseconds,
    clamp: None,
};

impl Check<'_, '_> {
    /// What is wrong with a file, as far as that shows without reading it.
    pub(super) fn look(&mut self, path: &Path, expected: Option<u64>) -> Result<Option<Fault>, Error> {
        self.checked.files += 1;
        let meta = match fs::symlink_metadata(path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(Fault::Missing)),
            Err(error) => return Ok(Some(unreadable(&error))),
        };
        if !meta.is_file() {
            return Ok(Some(Fault::NotAFile));
        }
        Ok(match expected {
            Some(expected) if expected != meta.len() => Some(Fault::Size {
                expected,
                actual: meta.len(),
            }),
            _ => None,
        })
    }

    /// What is wrong with the bytes of a blob.
    pub(super) fn hash(&mut self, path: &Path, digest: &Digest) -> Result<Option<Fault>, Error> {
        let mut file = match fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(Fault::Missing)),
            Err(error) => return Ok(Some(unreadable(&error))),
        };
        let mut hasher = Hasher::new();
        let read = self.read(&mut file, &mut |bytes| {
            hasher.update(bytes);
            bytes.len() as u64
        })?;
        Ok(match (read, hasher.finish()) {
            (Err(error), _) => Some(unreadable(&error)),
            (Ok(()), actual) if actual != *digest => Some(Fault::Content { actual }),
            (Ok(()), _) => None,
        })
    }

    /// What is wrong with what a compressed blob holds; its own bytes are right.
    pub(super) fn inflate(&mut self, blob: &Blob, diff_id: &DiffId) -> Result<Option<Fault>, Error> {
        let plain = match decompress(blob.open()?) {
            Ok((plain, _)) => plain,
            Err(error) => return Ok(Some(unreadable(&error))),
        };
        let mut plain = Hashing::new(plain);
        // what is inflated does not lie on the disk
        let read = self.read(&mut plain, &mut |_| 0)?;
        let (_, actual, _) = plain.finish();
        Ok(match read {
            Err(error) => Some(unreadable(&error)),
            Ok(()) if actual != *diff_id.digest() => Some(Fault::Contradiction {
                reason: format!("holds {actual} and not the layer it is said to hold"),
            }),
            Ok(()) => None,
        })
    }

    /// Reads to the end; `each` says how many bytes count. The outer error is that nobody wants it any more.
    fn read(
        &mut self,
        from: &mut dyn Read,
        each: &mut dyn FnMut(&[u8]) -> u64,
    ) -> Result<io::Result<()>, Error> {
        let mut buffer = vec![0; BUFFER];
        loop {
            self.go_on()?;
            match from.read(&mut buffer) {
                Ok(0) => return Ok(Ok(())),
                Ok(count) => self.checked.bytes += each(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    /// What is wrong with a tree. One that was packed here packs to its diff id again; of others, which came from tars that
    /// other programs wrote, a second one is made of `other` and compared.
    pub(super) fn compare_tree(
        &mut self,
        diff_id: &DiffId,
        tree: &Path,
        other: Option<Blob>,
    ) -> Result<Option<Fault>, Error> {
        if let Some(blob) = other {
            // a blob that is damaged is a finding of its own, and says nothing of the tree
            let Some(expected) = self.unpacked_digest(diff_id, &blob)? else {
                return Ok(None);
            };
            match packed(tree, &EXACT, self.watch.go_on) {
                Ok(actual) if actual == expected => return Ok(None),
                Ok(_) => {}
                // of one that is too large to be packed nothing can be told
                Err(LayerError::Changes { .. }) => return Ok(None),
                Err(error) => return self.unless_cancelled(&error),
            }
        }
        for (xattrs, times) in PACKINGS {
            let policy = Policy {
                xattrs,
                times,
                clamp: None,
            };
            match packed(tree, &policy, self.watch.go_on) {
                Ok(actual) if actual == *diff_id.digest() => return Ok(None),
                Ok(_) => {}
                // of one that is too large to be packed nothing can be told
                Err(LayerError::Changes { .. }) => return Ok(None),
                Err(error) => return self.unless_cancelled(&error),
            }
        }
        Ok(Some(Fault::Contradiction {
            reason: "holds other files than its layer".to_owned(),
        }))
    }

    fn unless_cancelled(&mut self, error: &dyn std::fmt::Display) -> Result<Option<Fault>, Error> {
        self.go_on()?;
        Ok(Some(unreadable(error)))
    }

    /// The digest of a tree that is unpacked anew from a blob; nothing if the blob is damaged, or the tree too large to be packed.
    fn unpacked_digest(&mut self, diff_id: &DiffId, blob: &Blob) -> Result<Option<Digest>, Error> {
        let lease = self.store.lease();
        let work = self.store.work(&lease)?;
        let dir = work.path().join("fs");
        disk::make_folder(&dir, 0o755).map_err(Error::io("make a tree"))?;
        let made = (|| {
            let root = Root::open(&dir)?;
            let (plain, _) = decompress(GoingOn(blob.open().ok(), self.watch.go_on))?;
            let applied = apply(plain, TreeWriter::new(root))?;
            let same = applied.diff_id == *diff_id;
            Ok::<_, mica_layer::Error>(same.then_some(()))
        })();
        self.go_on()?;
        match made {
            Ok(Some(())) => match packed(&dir, &EXACT, self.watch.go_on) {
                Err(LayerError::Changes { .. }) => Ok(None),
                digest => digest.map(Some).map_err(Error::layer("pack", *diff_id)),
            },
            Ok(None) | Err(_) => Ok(None),
        }
    }
}

/// A file that is read until it is not wanted any more; nothing if there is none.
struct GoingOn<'a, R>(Option<R>, GoOn<'a>);

impl<R: Read> Read for GoingOn<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (self.1)()?;
        match &mut self.0 {
            Some(inner) => inner.read(buf),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// Takes bytes and forgets them, until it is not wanted any more.
struct Sink<'a>(GoOn<'a>);

impl io::Write for Sink<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (self.0)()?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn packed(tree: &Path, policy: &Policy, go_on: GoOn<'_>) -> Result<Digest, mica_layer::Error> {
    let changes = changes_of_tree(tree, policy.xattrs, Allowance::default(), go_on)?;
    let packed = pack(&changes, policy, &mut Sink(go_on), None)?;
    Ok(*packed.diff_id.digest())
}

/// What cannot be read, and all causes of it.
pub(super) fn unreadable(error: &dyn std::fmt::Display) -> Fault {
    Fault::Unreadable {
        reason: error.to_string(),
    }
}
