//! The files of an archive on disk, so that its entries may come in any order.

use std::collections::HashMap;
use std::io::Read;

use mica_layer::{ImagePath, Kind, TarEntry, TarReader, decompress};
use mica_oci::Digest;

use super::load::refuse;
use crate::error::Error;
use crate::ingest::Staged;
use crate::layers::forms::copy;
use crate::lease::Lease;
use crate::store::Store;

/// The most entries an archive may have.
const ENTRIES: usize = 100_000;
/// The most bytes the names and link targets of an archive may have together.
const NAMES: usize = 16 << 20;
/// The most links that are followed to find one file.
const LINKS: usize = 16;

/// All files of an archive, by path.
pub(super) struct Spool {
    files: HashMap<ImagePath, File>,
}

enum File {
    /// Bytes.
    Bytes(Spooled),
    /// Another path, for symbolic and hard links.
    Link(ImagePath),
}

/// One file's bytes.
pub(super) struct Spooled {
    pub(super) digest: Digest,
    /// In bytes.
    pub(super) size: u64,
    /// Until it is taken.
    staged: Option<Staged>,
}

impl Spooled {
    /// Opens the bytes, which may be in use elsewhere by now.
    pub(super) fn open(&self) -> Result<fs_err::File, Error> {
        match &self.staged {
            Some(staged) => staged.open(),
            None => Err(refuse(format!(
                "it uses {} for two different things",
                self.digest
            ))),
        }
    }
}

impl Spool {
    /// Writes all of an archive, compressed in any way, into the store's ingest folder.
    pub(super) fn read<'a>(store: &Store, lease: &Lease, input: Box<dyn Read + 'a>) -> Result<Self, Error> {
        let (plain, _) = decompress(input).map_err(damaged)?;
        let mut tar = TarReader::new(plain);
        let mut spool = Self {
            files: HashMap::new(),
        };
        let mut names = 0;
        let mut entries = 0;
        loop {
            let entry = match tar.next_entry() {
                // nothing in it looks like an archive at all; docker says the same of an empty one
                Err(_) if entries == 0 => return Err(refuse("does not contain a manifest.json")),
                entry => entry.map_err(damaged)?,
            };
            let Some(entry) = entry else { break };
            entries += 1;
            names += entry.path.len() + entry.hardlink.as_ref().map_or(0, Vec::len);
            if entries > ENTRIES || names > NAMES {
                return Err(refuse("it has too many entries"));
            }
            spool.add(store, lease, &entry, &mut tar)?;
        }
        tar.drain().map_err(damaged)?;
        Ok(spool)
    }

    fn add(
        &mut self,
        store: &Store,
        lease: &Lease,
        entry: &TarEntry,
        tar: &mut impl Read,
    ) -> Result<(), Error> {
        let path = inside(&entry.path)?;
        let file = match (&entry.hardlink, &entry.meta.kind) {
            (Some(target), _) => File::Link(inside(target)?),
            (None, Kind::Symlink { target }) => {
                let folder = path.parent().unwrap_or_default();
                File::Link(inside(&join(&folder, target)?)?)
            }
            (None, Kind::File { .. }) if entry.sparse.is_some() => {
                return Err(refuse(format!("{path} is a sparse file")));
            }
            (None, Kind::File { .. }) => {
                let mut ingest = store.ingest(lease)?;
                copy(tar, &mut ingest).map_err(Error::io("read the archive"))?;
                let staged = ingest.stage()?;
                File::Bytes(Spooled {
                    digest: staged.digest,
                    size: staged.size,
                    staged: Some(staged),
                })
            }
            // nothing an image is made of
            (None, _) => return Ok(()),
        };
        self.files.insert(path, file);
        Ok(())
    }

    /// Where a path leads to, links followed.
    fn follow(&self, path: &str) -> Result<Option<ImagePath>, Error> {
        let mut path = inside(path.as_bytes())?;
        for _ in 0..LINKS {
            match self.files.get(&path) {
                Some(File::Link(target)) => path = target.clone(),
                Some(File::Bytes(_)) => return Ok(Some(path)),
                None => return Ok(None),
            }
        }
        Err(refuse(format!("{path} has too many links")))
    }

    /// The file at `path`, links followed.
    pub(super) fn get(&self, path: &str) -> Result<Option<&Spooled>, Error> {
        Ok(match self.follow(path)?.and_then(|path| self.files.get(&path)) {
            Some(File::Bytes(spooled)) => Some(spooled),
            _ => None,
        })
    }

    /// Takes the bytes of the file at `path`; its digest and size stay known.
    pub(super) fn take(&mut self, path: &str) -> Result<Staged, Error> {
        let bytes = match self.follow(path)?.and_then(|path| self.files.get_mut(&path)) {
            Some(File::Bytes(spooled)) => spooled.staged.take(),
            _ => None,
        };
        bytes.ok_or_else(|| refuse(format!("{path} is not in it")))
    }

    /// The bytes of a file of at most `limit` bytes, if it is there.
    pub(super) fn document(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, Error> {
        let Some(spooled) = self.get(path)? else {
            return Ok(None);
        };
        if spooled.size > limit as u64 {
            return Err(refuse(format!("{path} is larger than {limit} bytes")));
        }
        let mut bytes = Vec::new();
        spooled
            .open()?
            .read_to_end(&mut bytes)
            .map_err(Error::io("read what was staged"))?;
        Ok(Some(bytes))
    }
}

/// A path in the archive, which may not lead out of it.
fn inside(path: &[u8]) -> Result<ImagePath, Error> {
    let outside = || refuse(format!("{:?} leads out of it", String::from_utf8_lossy(path)));
    match path.first() {
        Some(b'/') => Err(outside()),
        _ => ImagePath::strict(path).ok_or_else(outside),
    }
}

/// The target of a symbolic link in `folder`, which may go up as far as the archive's own root.
fn join(folder: &ImagePath, target: &[u8]) -> Result<Vec<u8>, Error> {
    let outside = || {
        refuse(format!(
            "the link {:?} leads out of it",
            String::from_utf8_lossy(target)
        ))
    };
    if target.first() == Some(&b'/') {
        return Err(outside());
    }
    let mut names: Vec<&[u8]> = folder.components().collect();
    for name in target.split(|b| *b == b'/') {
        match name {
            b"" | b"." => {}
            b".." => {
                names.pop().ok_or_else(outside)?;
            }
            name => names.push(name),
        }
    }
    Ok(names.join(&b'/'))
}

fn damaged(source: mica_layer::Error) -> Error {
    Error::ArchiveData {
        reason: "it is damaged".into(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        for bad in ["/etc/passwd", "../x", "a/../../x", "a/../x"] {
            assert!(inside(bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(inside(b"./a//b").unwrap(), ImagePath::clamped(b"a/b"));
        let folder = ImagePath::clamped(b"a/b");
        assert_eq!(join(&folder, b"../c/layer.tar").unwrap(), b"a/c/layer.tar");
        assert!(join(&folder, b"../../../c").is_err());
        assert!(join(&folder, b"/c").is_err());
    }
}
