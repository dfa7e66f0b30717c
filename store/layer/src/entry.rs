//! What a tree knows of one of its files.

use std::collections::BTreeMap;

use mica_oci::Digest;

/// A file's type, with what only that type has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file of so many bytes.
    File {
        /// Length in bytes.
        size: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link and its raw target.
    Symlink {
        /// The target as it is written.
        target: Vec<u8>,
    },
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// A point in time: seconds since 1970 and nanoseconds within the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mtime {
    /// Seconds since 1970-01-01T00:00:00Z, before it negative.
    pub seconds: i64,
    /// 0 to 999 999 999.
    pub nanoseconds: u32,
}

/// Extended attributes by full name (`security.capability`, `user.x`).
pub type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// The one extended attribute that reaches an image.
pub const CAPABILITY_XATTR: &[u8] = b"security.capability";

/// All that is known of a file but its name and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Type.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky: `0o7777` at most.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time.
    pub mtime: Mtime,
    /// Extended attributes.
    pub xattrs: Xattrs,
}

impl Meta {
    /// A directory as builders make it: mode as given, owned by 0:0, without attributes.
    pub fn directory(mode: u32, mtime: Mtime) -> Self {
        Self {
            kind: Kind::Directory,
            mode,
            uid: 0,
            gid: 0,
            mtime,
            xattrs: Xattrs::new(),
        }
    }

    /// Whether this is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }

    /// The length of a regular file, 0 for all else.
    pub fn size(&self) -> u64 {
        match self.kind {
            Kind::File { size } => size,
            _ => 0,
        }
    }
}

/// Names the file that several paths of one layer share; equal keys of one layer mean one file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkKey {
    /// By device and inode.
    Inode(u64, u64),
    /// By position in a tar.
    Offset(u64),
}

/// A file as a view of a tree shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// All but name and bytes.
    pub meta: Meta,
    /// Set if other paths of the same layer are the same file.
    pub link: Option<LinkKey>,
    /// The digest of a regular file's bytes, where the view knows it without reading them.
    pub content: Option<Digest>,
}
