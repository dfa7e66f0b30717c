//! One file of an index, kept small.

use std::sync::Arc;

use mica_oci::Digest;

use crate::entry::{Kind, LinkKey, Meta, Mtime, Node, Xattrs};
use crate::view::Segment;

/// One file of an index. A build context has many of them, so what few files have lies apart.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(super) shape: Shape,
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Mtime,
    /// Where the data begins in the tar; no two entries share it, so that it names the file too.
    pub(crate) data: u64,
    /// Whether there are other names of this file.
    pub(super) linked: bool,
    /// Whether the archive has no entry of this directory.
    pub(super) implied: bool,
    /// Whether nothing of the directory in lower layers shows through.
    pub(super) opaque: bool,
    pub(super) content: Option<Digest>,
    pub(super) rare: Option<Box<Rare>>,
}

/// What few files have.
#[derive(Debug, Clone, Default)]
pub(super) struct Rare {
    pub(super) xattrs: Xattrs,
    pub(super) sparse: Option<Arc<[Segment]>>,
}

/// [`Kind`], smaller.
#[derive(Debug, Clone)]
pub(super) enum Shape {
    File { size: u64 },
    Directory,
    Symlink { target: Box<[u8]> },
    CharDevice { major: u32, minor: u32 },
    BlockDevice { major: u32, minor: u32 },
    Fifo,
}

impl Record {
    pub(super) fn new(
        meta: Meta,
        sparse: Option<Arc<[Segment]>>,
        data: u64,
        content: Option<Digest>,
    ) -> Self {
        let rare = Rare {
            xattrs: meta.xattrs,
            sparse,
        };
        let rare = (rare.sparse.is_some() || !rare.xattrs.is_empty()).then(|| Box::new(rare));
        Self {
            shape: match meta.kind {
                Kind::File { size } => Shape::File { size },
                Kind::Directory => Shape::Directory,
                Kind::Symlink { target } => Shape::Symlink {
                    target: target.into_boxed_slice(),
                },
                Kind::CharDevice { major, minor } => Shape::CharDevice { major, minor },
                Kind::BlockDevice { major, minor } => Shape::BlockDevice { major, minor },
                Kind::Fifo => Shape::Fifo,
            },
            // twelve bits
            mode: (meta.mode & 0o7777) as u16,
            uid: meta.uid,
            gid: meta.gid,
            mtime: meta.mtime,
            data,
            linked: false,
            implied: false,
            opaque: false,
            content,
            rare,
        }
    }

    /// A directory the archive has no entry of.
    pub(super) fn implied() -> Self {
        Self {
            implied: true,
            ..Self::new(Meta::directory(0o755, Mtime::default()), None, 0, None)
        }
    }

    pub(super) fn is_directory(&self) -> bool {
        matches!(self.shape, Shape::Directory)
    }

    /// The stretches of data of a sparse file.
    pub(crate) fn sparse(&self) -> Option<&Arc<[Segment]>> {
        self.rare.as_ref().and_then(|rare| rare.sparse.as_ref())
    }

    /// The length of a regular file, `None` for all else.
    pub(crate) fn file_size(&self) -> Option<u64> {
        match self.shape {
            Shape::File { size } => Some(size),
            _ => None,
        }
    }

    /// What `path` takes in memory besides the record itself, in bytes.
    pub(super) fn weight(&self) -> u64 {
        let target = match &self.shape {
            Shape::Symlink { target } => target.len(),
            _ => 0,
        };
        let rare = self.rare.as_ref().map_or(0, |rare| {
            let xattrs: usize = rare
                .xattrs
                .iter()
                .map(|(name, value)| name.len() + value.len() + 64)
                .sum();
            xattrs
                + rare
                    .sparse
                    .as_ref()
                    .map_or(0, |segments| size_of_val(segments.as_ref()))
        });
        (target + rare) as u64
    }

    pub(super) fn node(&self) -> Node {
        let kind = match &self.shape {
            Shape::File { size } => Kind::File { size: *size },
            Shape::Directory => Kind::Directory,
            Shape::Symlink { target } => Kind::Symlink {
                target: target.to_vec(),
            },
            Shape::CharDevice { major, minor } => Kind::CharDevice {
                major: *major,
                minor: *minor,
            },
            Shape::BlockDevice { major, minor } => Kind::BlockDevice {
                major: *major,
                minor: *minor,
            },
            Shape::Fifo => Kind::Fifo,
        };
        Node {
            meta: Meta {
                kind,
                mode: self.mode.into(),
                uid: self.uid,
                gid: self.gid,
                mtime: self.mtime,
                xattrs: self
                    .rare
                    .as_ref()
                    .map(|rare| rare.xattrs.clone())
                    .unwrap_or_default(),
            },
            link: self.linked.then_some(LinkKey::Offset(self.data)),
            content: self.content,
        }
    }
}
