//! Makes an index in one pass over a tar, copying it to a file on the way if asked to.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, Read, Seek, Write};
use std::ops::Bound;

use mica_oci::{Digest, Hasher};

use super::record::{Record, Shape};
use super::{TarIndex, behind};
use crate::entry::Kind;
use crate::error::Error;
use crate::path::{ImagePath, shown};
use crate::resolve::resolve;
use crate::tar::{OPAQUE_MARKER, TarEntry, TarReader, WHITEOUT_PREFIX, limits};

/// How much of a file is hashed at once, in bytes.
const CHUNK: usize = 256 << 10;

/// How much of a spooled tar is written at once, in bytes.
const SPOOL_CHUNK: usize = 1 << 20;

/// How a tar is to be understood.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IndexOptions {
    /// Take the digest of every regular file's content.
    pub hash_contents: bool,
    /// It is a layer, so that names that begin with `.wh.` speak of the layers below; else they are names.
    pub whiteouts: bool,
}

impl TarIndex {
    /// Reads an uncompressed tar to the end of the stream.
    ///
    /// # Errors
    /// [`Error::Tar`] for a damaged tar, a path with `..` or NUL in it, an entry below what is no directory, a hard link to
    /// nothing that came before or to a directory, a root that is no directory, and a whiteout of no name.
    pub fn scan(reader: impl Read, options: IndexOptions) -> Result<Self, Error> {
        let mut reader = TarReader::new(reader);
        let index = Scan::new(options).read_all(&mut reader)?;
        reader.drain()?;
        Ok(index)
    }

    /// As [`scan`](Self::scan), but seeks over contents that need not be hashed and stops at the end of the archive.
    pub fn scan_seekable(reader: impl Read + Seek, options: IndexOptions) -> Result<Self, Error> {
        Scan::new(options).read_all(&mut TarReader::seekable(reader))
    }
}

/// Copies an uncompressed tar to `out`, all of the stream, and indexes it in the same pass; errors as
/// [`TarIndex::scan`].
pub fn spool(input: impl Read, out: impl Write, options: IndexOptions) -> Result<TarIndex, Error> {
    let mut tee = Tee {
        input,
        out: BufWriter::with_capacity(SPOOL_CHUNK, out),
    };
    let index = TarIndex::scan(&mut tee, options)?;
    tee.out.flush().map_err(Error::io("writing the spooled tar"))?;
    Ok(index)
}

/// Passes on what it reads, having written it.
struct Tee<R, W> {
    input: R,
    out: W,
}

impl<R: Read, W: Write> Read for Tee<R, W> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(buf)?;
        self.out.write_all(&buf[..n])?;
        Ok(n)
    }
}

/// An index in the making.
struct Scan {
    index: TarIndex,
    options: IndexOptions,
    chunk: Vec<u8>,
    /// A directory that is known to be there with no link above it.
    here: ImagePath,
    /// What names and the like take in memory, in bytes.
    weight: u64,
}

impl Scan {
    fn new(options: IndexOptions) -> Self {
        Self {
            index: TarIndex {
                nodes: BTreeMap::from([(ImagePath::root(), Record::implied())]),
                gone: BTreeSet::new(),
                layer: options.whiteouts,
            },
            options,
            chunk: vec![0; if options.hash_contents { CHUNK } else { 0 }],
            here: ImagePath::root(),
            weight: 0,
        }
    }

    fn read_all<R: Read>(mut self, reader: &mut TarReader<R>) -> Result<TarIndex, Error> {
        while let Some(entry) = reader.next_entry()? {
            self.add(entry, reader)?;
        }
        Ok(self.index)
    }

    fn add(&mut self, entry: TarEntry, content: &mut impl Read) -> Result<(), Error> {
        let at = entry.header_offset;
        let path = honest(at, &entry.path)?;
        let Some(name) = path.file_name() else {
            return self.add_root(entry);
        };
        if self.options.whiteouts {
            if name == OPAQUE_MARKER {
                let parent = self.enter(at, &path)?;
                // what was entered is there
                if let Some(record) = self.index.nodes.get_mut(&parent) {
                    record.opaque = true;
                }
                return Ok(());
            }
            if let Some(hidden) = name.strip_prefix(WHITEOUT_PREFIX) {
                return self.add_whiteout(at, &path, hidden);
            }
        }
        let parent = self.enter(at, &path)?;
        let path = parent.join(name);
        let record = match &entry.hardlink {
            Some(target) => match self.link(at, &path, target)? {
                Some(record) => record,
                None => return Ok(()),
            },
            None => {
                let digest = match entry.meta.kind {
                    Kind::File { .. } if self.options.hash_contents => Some(self.hash(content)?),
                    _ => None,
                };
                Record::new(entry.meta, entry.sparse, entry.data_offset, digest)
            }
        };
        self.insert(path, record)
    }

    fn add_root(&mut self, entry: TarEntry) -> Result<(), Error> {
        if entry.hardlink.is_some() || !entry.meta.is_directory() {
            return Err(invalid(
                entry.header_offset,
                "an entry that is no directory stands for the root",
                &entry.path,
            ));
        }
        self.insert(
            ImagePath::root(),
            Record::new(entry.meta, None, entry.data_offset, None),
        )
    }

    fn add_whiteout(&mut self, at: u64, path: &ImagePath, hidden: &[u8]) -> Result<(), Error> {
        match hidden {
            b"" | b"." | b".." => Err(invalid(at, "a whiteout has no name", path.as_bytes())),
            // AUFS keeps its own things under such names
            hidden if hidden.starts_with(WHITEOUT_PREFIX) => Ok(()),
            hidden => {
                let path = self.enter(at, path)?.join(hidden);
                self.charge(&path, 0)?;
                self.index.gone.insert(path);
                Ok(())
            }
        }
    }

    /// The directory that `path` is in when all links above are followed; made with all above it if it is not there.
    fn enter(&mut self, at: u64, path: &ImagePath) -> Result<ImagePath, Error> {
        let parent = path.parent().unwrap_or_default();
        if parent == self.here {
            return Ok(parent);
        }
        // what is above a file of the index is a directory, no link
        let known = self.index.nodes.get(&parent).is_some_and(Record::is_directory);
        let parent = if known {
            parent
        } else {
            self.follow(&parent, true)?
        };
        if parent.components().count() as u64 > limits::PATH_DEPTH {
            return Err(limit(
                "the number of directories in a path, links followed",
                limits::PATH_DEPTH,
            ));
        }
        let mut missing = Vec::new();
        let mut above = parent.clone();
        let found = loop {
            match self.index.nodes.get(&above) {
                Some(record) => break record,
                None => {
                    let next = above.parent().unwrap_or_default();
                    missing.push(std::mem::replace(&mut above, next));
                }
            }
        };
        if !found.is_directory() {
            return Err(invalid(
                at,
                "an entry lies below what is no directory",
                path.as_bytes(),
            ));
        }
        for dir in missing.into_iter().rev() {
            self.insert(dir, Record::implied())?;
        }
        self.here = parent.clone();
        Ok(parent)
    }

    fn follow(&self, path: &ImagePath, follow_last: bool) -> Result<ImagePath, Error> {
        resolve(path, follow_last, |path| {
            Ok(self.index.nodes.get(path).and_then(|record| match &record.shape {
                Shape::Symlink { target } => Some(target.to_vec()),
                _ => None,
            }))
        })
    }

    /// The record of a hard link at `path`; `None` if it is a link to itself, which changes nothing.
    fn link(&mut self, at: u64, path: &ImagePath, target: &[u8]) -> Result<Option<Record>, Error> {
        let found = self.follow(&honest(at, target)?, false)?;
        let record = self.index.nodes.get_mut(&found);
        let Some(record) = record.filter(|record| !record.is_directory()) else {
            return Err(invalid(at, "a hard link leads to no earlier file", target));
        };
        if found == *path {
            return Ok(None);
        }
        record.linked = true;
        Ok(Some(record.clone()))
    }

    fn insert(&mut self, path: ImagePath, mut record: Record) -> Result<(), Error> {
        self.charge(&path, record.weight())?;
        if let Some(before) = self.index.nodes.get(&path) {
            if before.is_directory() && record.is_directory() {
                record.opaque |= before.opaque;
            } else if before.is_directory() {
                self.remove_below(&path);
            }
        }
        self.index.nodes.insert(path, record);
        if self.index.nodes.len() as u64 > limits::INDEX_PATHS {
            return Err(limit("the number of files in the tar", limits::INDEX_PATHS));
        }
        Ok(())
    }

    /// Forgets all below a directory that is replaced.
    fn remove_below(&mut self, path: &ImagePath) {
        let end = behind(path);
        let range = (Bound::Excluded(path), Bound::Excluded(&end));
        let nodes: Vec<_> = self
            .index
            .nodes
            .range(range)
            .map(|(path, _)| path.clone())
            .collect();
        for path in nodes {
            self.index.nodes.remove(&path);
        }
        let gone: Vec<_> = self.index.gone.range(range).cloned().collect();
        for path in gone {
            self.index.gone.remove(&path);
        }
        self.here = ImagePath::root();
    }

    fn charge(&mut self, path: &ImagePath, weight: u64) -> Result<(), Error> {
        self.weight += path.as_bytes().len() as u64 + weight;
        if self.weight > limits::INDEX_BYTES {
            return Err(limit(
                "the size of all names and attributes in the tar",
                limits::INDEX_BYTES,
            ));
        }
        Ok(())
    }

    fn hash(&mut self, content: &mut impl Read) -> Result<Digest, Error> {
        let mut hasher = Hasher::new();
        loop {
            match content
                .read(&mut self.chunk)
                .map_err(Error::io("reading the tar"))?
            {
                0 => return Ok(hasher.finish()),
                n => hasher.update(&self.chunk[..n]),
            }
        }
    }
}

fn honest(at: u64, path: &[u8]) -> Result<ImagePath, Error> {
    ImagePath::strict(path).ok_or_else(|| invalid(at, "a path has '..' or a NUL byte in it", path))
}

fn invalid(at: u64, what: &str, path: &[u8]) -> Error {
    Error::Tar {
        at,
        reason: format!("{what}: {}", shown(path)),
    }
}

fn limit(what: &str, limit: u64) -> Error {
    let what = what.to_owned();
    Error::Limit { what, limit }
}
