//! One file of a tree on disk, held by what it is and not by its name.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use crate::disk;
use crate::entry::{Kind, LinkKey, Meta, Mtime, Xattrs};
use crate::overlay::{self, Marks};
use crate::pack::XattrPolicy;

/// A file of a tree, found without following a link and opened for nothing but to look at it (`O_PATH`).
pub(crate) struct Handle {
    fd: OwnedFd,
    mode: u32,
    owner: (u32, u32),
    links: u32,
    /// The file system it lies on and its number there.
    inode: (u64, u64),
    /// Of a device.
    numbers: (u32, u32),
    size: u64,
    mtime: Mtime,
}

impl Handle {
    /// Looks at what `fd` holds.
    pub(crate) fn new(fd: OwnedFd) -> rustix::io::Result<Self> {
        let stat = rustix::fs::statx(&fd, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
        Ok(Self {
            fd,
            mode: stat.stx_mode.into(),
            owner: (stat.stx_uid, stat.stx_gid),
            links: stat.stx_nlink,
            inode: (
                u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor),
                stat.stx_ino,
            ),
            numbers: (stat.stx_rdev_major, stat.stx_rdev_minor),
            size: stat.stx_size,
            mtime: Mtime {
                seconds: stat.stx_mtime.tv_sec,
                nanoseconds: stat.stx_mtime.tv_nsec,
            },
        })
    }

    /// The file `name` in the directory `dir`; `None` if there is none.
    pub(crate) fn at(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<Option<Self>> {
        match rustix::fs::openat(
            dir,
            name,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        ) {
            Ok(fd) => Self::new(fd).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Its type.
    pub(crate) fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }

    /// Whether it is a directory.
    pub(crate) fn is_directory(&self) -> bool {
        self.file_type() == FileType::Directory
    }

    /// Whether it is the device by which overlayfs says that a name is gone.
    pub(crate) fn is_whiteout_device(&self) -> bool {
        self.file_type() == FileType::CharacterDevice && self.numbers == (0, 0)
    }

    /// Its length in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Which file it is, if it has more than one name.
    pub(crate) fn link(&self) -> Option<LinkKey> {
        let (device, inode) = self.inode;
        (self.links > 1 && !self.is_directory()).then_some(LinkKey::Inode(device, inode))
    }

    /// All that an image keeps of it, and the marks of overlayfs; `None` for a socket.
    pub(crate) fn meta(&self) -> io::Result<Option<(Meta, Marks)>> {
        self.meta_with(XattrPolicy::All)
    }

    /// As [`meta`](Self::meta), with these of its extended attributes.
    pub(crate) fn meta_with(&self, policy: XattrPolicy) -> io::Result<Option<(Meta, Marks)>> {
        let (major, minor) = self.numbers;
        let kind = match self.file_type() {
            FileType::RegularFile => Kind::File { size: self.size },
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink {
                target: rustix::fs::readlinkat(&self.fd, "", Vec::new())?.into_bytes(),
            },
            FileType::CharacterDevice => Kind::CharDevice { major, minor },
            FileType::BlockDevice => Kind::BlockDevice { major, minor },
            FileType::Fifo => Kind::Fifo,
            _ => return Ok(None),
        };
        let (xattrs, marks) = overlay::split(self.xattrs(policy)?);
        let meta = Meta {
            kind,
            mode: self.mode & 0o7777,
            uid: self.owner.0,
            gid: self.owner.1,
            mtime: self.mtime,
            xattrs,
        };
        Ok(Some((meta, marks)))
    }

    /// These of its extended attributes, and overlayfs' own.
    fn xattrs(&self, policy: XattrPolicy) -> io::Result<Xattrs> {
        let mut xattrs = Xattrs::new();
        let names = self.xattr_names()?.into_iter();
        for name in names.filter(|name| policy.keeps(name) || overlay::is_mark(name)) {
            let file = self.by_descriptor();
            let len = rustix::fs::getxattr_query(file.as_str(), name.as_slice())?;
            let mut value = Vec::with_capacity(len);
            if len > 0 {
                rustix::fs::getxattr(file, name.as_slice(), rustix::buffer::spare_capacity(&mut value))?;
            }
            xattrs.insert(name, value);
        }
        Ok(xattrs)
    }

    /// The names of all its extended attributes.
    pub(crate) fn xattr_names(&self) -> io::Result<Vec<Vec<u8>>> {
        let file = self.by_descriptor();
        let mut names = match rustix::fs::listxattr_query(file.as_str()) {
            Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Ok(len) => Vec::with_capacity(len),
            Err(error) => return Err(error.into()),
        };
        rustix::fs::listxattr(file, rustix::buffer::spare_capacity(&mut names))?;
        let names = names.split(|b| *b == 0).filter(|name| !name.is_empty());
        Ok(names.map(<[u8]>::to_vec).collect())
    }

    /// Takes an extended attribute away; it need not be there.
    pub(crate) fn remove_xattr(&self, name: &[u8]) -> rustix::io::Result<()> {
        match disk::remove_xattr_through(&self.by_descriptor(), name) {
            Err(Errno::NODATA) => Ok(()),
            other => other,
        }
    }

    /// Sets an extended attribute.
    pub(crate) fn set_xattr(&self, name: &[u8], value: &[u8]) -> rustix::io::Result<()> {
        disk::set_xattr_through(&self.by_descriptor(), name, value)
    }

    /// Says that nothing of the layers below shows through this directory.
    pub(crate) fn mark_opaque(&self) -> rustix::io::Result<()> {
        self.set_xattr(&overlay::opaque(), overlay::YES)
    }

    /// Sets the permission bits; not for a link, which has none of its own.
    pub(crate) fn set_mode(&self, mode: u32) -> rustix::io::Result<()> {
        disk::set_mode_through(&self.by_descriptor(), Mode::from_raw_mode(mode))
    }

    /// Opens a regular file or a directory for reading.
    pub(crate) fn open(&self) -> rustix::io::Result<OwnedFd> {
        rustix::fs::open(
            self.by_descriptor(),
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
    }

    /// A path that leads to this very file, be it a link or not: most calls take no `O_PATH` descriptor.
    fn by_descriptor(&self) -> String {
        format!("/proc/self/fd/{}", self.fd.as_raw_fd())
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
