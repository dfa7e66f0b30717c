//! How one layer is read, whatever form it lies in: by name, without following any link.

use std::io::{self, Read};
use std::sync::Arc;

use fs_err::File;
use std::os::unix::fs::FileExt;

use mica_oci::Digest;

use crate::entry::Node;
use crate::error::Error;
use crate::path::ImagePath;

/// What a layer says of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Nothing: the layers below decide.
    Silent,
    /// That it is gone.
    Whiteout,
    /// This file; `opaque` says that nothing of a directory of lower layers shows through.
    Node {
        /// The file.
        node: Node,
        /// For directories: lower layers do not show through.
        opaque: bool,
    },
}

/// One name in a directory of a layer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// The name.
    pub name: Vec<u8>,
    /// Whether the layer says that it is gone.
    pub whiteout: bool,
}

/// One layer, read without its neighbours.
pub trait LayerView: Send + Sync {
    /// What this layer says of `path`. Says nothing of what is hidden by a non-directory or whiteout above it *in this
    /// layer*: there it answers [`Finding::Whiteout`] for every path below. Symbolic links are never followed.
    fn find(&self, path: &ImagePath) -> Result<Finding, Error>;

    /// The names this layer has in the directory `path`, sorted by bytes; empty if it has no such directory.
    fn names(&self, path: &ImagePath) -> Result<Vec<Name>, Error>;

    /// The bytes of the regular file at `path` in this layer (which must be there).
    fn open(&self, path: &ImagePath) -> Result<Content, Error>;

    /// All files in the directory `path`, sorted by bytes, where the layer knows them without a look at each; a layer that
    /// hides anything of those below answers `None`.
    fn files(&self, path: &ImagePath) -> Result<Option<Files>, Error> {
        let _ = path;
        Ok(None)
    }

    /// Gets ready for a walk through `start` and all below it as far as `enters` wants to see it.
    fn prepare(&self, start: &ImagePath, enters: &Enters<'_>) -> Result<(), Error> {
        let _ = (start, enters);
        Ok(())
    }

    /// Whether most bytes of the files met so far would have to be read to know their digests.
    fn is_unread(&self) -> bool {
        false
    }

    /// Hears that all bytes of the file at `path` were read, and what their digest is if it was taken.
    ///
    /// # Errors
    /// If the file is not what it was when it was found.
    fn was_read(&self, path: &ImagePath, digest: Option<&Digest>) -> Result<(), Error> {
        let _ = (path, digest);
        Ok(())
    }
}

/// Files by name.
pub type Files = Vec<(Vec<u8>, Node)>;

/// Whether a directory is to be entered.
pub type Enters<'a> = dyn Fn(&ImagePath) -> bool + Sync + 'a;

/// A stretch of data in a sparse file; all counts are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins in the sparse file.
    pub offset: u64,
    /// Where it begins in what holds its bytes.
    pub from: u64,
    /// How long it is, never 0.
    pub len: u64,
}

/// The bytes of a file: a range of an open file, or bytes in memory. Reading starts at its beginning.
#[derive(Clone)]
pub enum Content {
    /// A range of a file; other users may read the same open file.
    Range {
        /// The file.
        file: Arc<File>,
        /// Where the content starts, in bytes.
        offset: u64,
        /// How long it is, in bytes.
        len: u64,
    },
    /// Stretches of a file, with holes between them that read as zeros; other users may read the same open file.
    Sparse {
        /// The file.
        file: Arc<File>,
        /// What is added to every [`Segment::from`], in bytes.
        base: u64,
        /// The stretches, going up.
        segments: Arc<[Segment]>,
        /// How long the content is with its holes, in bytes.
        len: u64,
    },
    /// Bytes made by the builder, such as a here-document.
    Bytes(Arc<[u8]>),
}

impl Content {
    /// How many bytes there are.
    pub fn len(&self) -> u64 {
        match self {
            Self::Range { len, .. } | Self::Sparse { len, .. } => *len,
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the content from its beginning.
    pub fn reader(&self) -> ContentReader {
        ContentReader {
            content: self.clone(),
            at: 0,
        }
    }
}

/// Reads a [`Content`] from its beginning to its end.
pub struct ContentReader {
    content: Content,
    at: u64,
}

impl Read for ContentReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.content.len() - self.at;
        let want = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let n = match &self.content {
            _ if want == 0 => 0,
            Content::Range { file, offset, .. } => file.file().read_at(&mut buf[..want], offset + self.at)?,
            Content::Sparse {
                file, base, segments, ..
            } => {
                let next = segments.partition_point(|s| s.offset + s.len <= self.at);
                read_sparse(file, *base, segments.get(next), self.at, &mut buf[..want])?
            }
            Content::Bytes(bytes) => {
                // within a slice in memory, so it fits
                let at = self.at as usize;
                buf[..want].copy_from_slice(&bytes[at..at + want]);
                want
            }
        };
        self.at += n as u64;
        Ok(n)
    }
}

/// Reads at `at`, where `segment` is the first stretch of data that ends behind it.
fn read_sparse(
    file: &File,
    base: u64,
    segment: Option<&Segment>,
    at: u64,
    buf: &mut [u8],
) -> io::Result<usize> {
    let until = |end: u64| usize::try_from(end - at).unwrap_or(usize::MAX).min(buf.len());
    match segment {
        Some(segment) if segment.offset <= at => {
            let n = until(segment.offset + segment.len);
            file.file()
                .read_at(&mut buf[..n], base + segment.from + (at - segment.offset))
        }
        segment => {
            let n = segment.map_or(buf.len(), |segment| until(segment.offset));
            buf[..n].fill(0);
            Ok(n)
        }
    }
}
