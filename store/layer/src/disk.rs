//! The one place that changes what lies on a disk, so that a test may watch each change or let it fail.
//!
//! Every call here is one system call (opening to sync aside) and is inlined. With the feature `recorded`, which only tests have,
//! a recorder is told of it first.

#[cfg(feature = "recorded")]
pub mod recorded;

use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use fs_err::os::unix::fs::OpenOptionsExt as _;
use fs_err::{self as fs, File, OpenOptions};
use rustix::fs::{AtFlags, Dev, FallocateFlags, FileType, Gid, Mode, OFlags, Timestamps, Uid, XattrFlags};
use rustix::io::{Errno, Result};

/// Runs `$make`, of which a recorder is told as `$act` on `$at`. The number of bytes is what a write may take.
macro_rules! change {
    ($at:expr, $act:expr, $make:expr) => {{
        #[cfg(feature = "recorded")]
        let result = recorded::told(|| $at, || $act, $make);
        #[cfg(not(feature = "recorded"))]
        let result = ($make)(usize::MAX);
        result
    }};
}

#[cfg(feature = "recorded")]
use recorded::{Act, Place};

/// A file that is open for writing. What is written goes through here, too.
#[derive(Debug)]
pub struct Output(File);

impl Output {
    /// The open file, to be read and looked at.
    pub fn file(&self) -> &File {
        &self.0
    }

    /// The open file for somebody who writes to it unseen: only for what is never synced and may be lost.
    pub fn unwatched(self) -> File {
        self.0
    }

    /// Writes all of `bytes` at `offset`.
    pub fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = change!(
                Place::Open(self.0.as_fd()),
                Act::Write(offset, bytes),
                |most: usize| self.0.file().write_at(&bytes[..most.min(bytes.len())], offset)
            );
            match count {
                Ok(0) => return Err(self.failed(io::ErrorKind::WriteZero.into())),
                Ok(count) => (bytes, offset) = (&bytes[count..], offset + count as u64),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        Ok(())
    }

    fn failed(&self, error: io::Error) -> io::Error {
        io::Error::new(
            error.kind(),
            format!("failed to write to file `{}`: {error}", self.0.path().display()),
        )
    }

    /// Makes the file `length` bytes long.
    pub fn cut(&self, length: u64) -> io::Result<()> {
        change!(Place::Open(self.0.as_fd()), Act::Cut(length), |_| self
            .0
            .set_len(length))
    }

    /// Makes an empty file `length` bytes long, and takes the room that so many bytes need on the disk.
    pub fn reserve(&self, length: u64) -> io::Result<()> {
        change!(Place::Open(self.0.as_fd()), Act::Cut(length), |_| {
            let reserved = rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, length);
            reserved.map_err(|errno| self.failed(errno.into()))
        })
    }

    /// Makes what was written durable.
    pub fn sync(&self) -> io::Result<()> {
        change!(Place::Open(self.0.as_fd()), Act::Sync, |_| self.0.sync_all())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(feature = "recorded")]
        let offset = self.0.stream_position()?;
        let mut file = &self.0;
        change!(
            Place::Open(self.0.as_fd()),
            Act::Write(offset, bytes),
            |most: usize| file.write(&bytes[..most.min(bytes.len())])
        )
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Output {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Seek for Output {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Makes a file of mode 0644 that is not there yet, for reading and writing.
pub fn create(path: &Path) -> io::Result<Output> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o644);
    change!(Place::Path(path), Act::Create, |_| options.open(path)).map(Output)
}

/// Opens a file for reading and writing, making it if it is not there.
pub fn open(path: &Path) -> io::Result<Output> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    change!(Place::Path(path), Act::Create, |_| options.open(path)).map(Output)
}

/// Makes an empty file, in place of what may be in one there.
pub fn overwrite(path: &Path) -> io::Result<Output> {
    change!(Place::Path(path), Act::CreateEmpty, |_| File::create(path)).map(Output)
}

/// Makes a directory; what it is in must be there.
pub fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    change!(Place::Path(path), Act::Folder, |_| {
        let made = rustix::fs::mkdir(path, Mode::from_raw_mode(mode));
        made.map_err(|errno| {
            let error = io::Error::from(errno);
            io::Error::new(
                error.kind(),
                format!("failed to create directory `{}`: {error}", path.display()),
            )
        })
    })
}

/// Renames, in place of what is there.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    change!(Place::Path(from), Act::Rename(Place::Path(to)), |_| fs::rename(
        from, to
    ))
}

/// Removes a name that is no directory's.
pub fn remove_file(path: &Path) -> io::Result<()> {
    change!(Place::Path(path), Act::Unlink, |_| fs::remove_file(path))
}

/// Makes a file's bytes or a directory's names durable.
pub fn sync(path: &Path) -> io::Result<()> {
    change!(Place::Path(path), Act::Sync, |_| File::open(path)?.sync_all())
}

/// Makes all that lies on the file system of `path` durable.
pub fn sync_all(path: &Path) -> io::Result<()> {
    change!(Place::Path(path), Act::SyncAll, |_| {
        let file = File::open(path)?;
        rustix::fs::syncfs(&file).map_err(|errno| {
            let error = io::Error::from(errno);
            io::Error::new(
                error.kind(),
                format!("failed to sync all of `{}`: {error}", path.display()),
            )
        })
    })
}

/// Sets the permission bits of what `path` leads to.
pub fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    change!(Place::Path(path), Act::Attributes, |_| {
        fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
    })
}

/// Sets the owner of what `path` leads to.
pub fn set_owner(path: &Path, uid: u32, gid: u32) -> io::Result<()> {
    change!(Place::Path(path), Act::Attributes, |_| fs::os::unix::fs::chown(
        path,
        Some(uid),
        Some(gid)
    ))
}

/// Makes the file `name` of `dir`, which must not be there, for writing.
pub(crate) fn create_at(dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    change!(Place::At(dir, name), Act::Create, |_| rustix::fs::openat(
        dir,
        name,
        flags,
        Mode::RUSR | Mode::WUSR
    ))
}

/// `mkdirat(2)`, for its owner alone.
pub(crate) fn make_folder_at(dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    change!(Place::At(dir, name), Act::Folder, |_| rustix::fs::mkdirat(
        dir,
        name,
        Mode::RWXU
    ))
}

/// `unlinkat(2)` of what is no directory.
pub(crate) fn unlink_at(dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    change!(Place::At(dir, name), Act::Unlink, |_| rustix::fs::unlinkat(
        dir,
        name,
        AtFlags::empty()
    ))
}

/// `unlinkat(2)` of an empty directory.
pub(crate) fn remove_folder_at(dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    change!(Place::At(dir, name), Act::RemoveFolder, |_| rustix::fs::unlinkat(
        dir,
        name,
        AtFlags::REMOVEDIR
    ))
}

/// `renameat(2)`.
pub(crate) fn rename_at(from: BorrowedFd<'_>, name: &[u8], to: BorrowedFd<'_>, new: &[u8]) -> Result<()> {
    change!(Place::At(from, name), Act::Rename(Place::At(to, new)), |_| {
        rustix::fs::renameat(from, name, to, new)
    })
}

/// `linkat(2)`: another name for the file `name` of `from`.
pub(crate) fn link_at(from: BorrowedFd<'_>, name: &[u8], to: BorrowedFd<'_>, new: &[u8]) -> Result<()> {
    change!(Place::At(from, name), Act::Link(Place::At(to, new)), |_| {
        rustix::fs::linkat(from, name, to, new, AtFlags::empty())
    })
}

/// `symlinkat(2)`.
pub(crate) fn symlink_at(target: &[u8], dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    change!(Place::At(dir, name), Act::Symlink(target), |_| {
        rustix::fs::symlinkat(target, dir, name)
    })
}

/// `mknodat(2)`.
pub(crate) fn node_at(
    dir: BorrowedFd<'_>,
    name: &[u8],
    kind: FileType,
    mode: Mode,
    numbers: Dev,
) -> Result<()> {
    change!(Place::At(dir, name), Act::Node(kind, numbers), |_| {
        rustix::fs::mknodat(dir, name, kind, mode, numbers)
    })
}

/// `fchown(2)`.
pub(crate) fn set_owner_of(file: impl AsFd, uid: Uid, gid: Gid) -> Result<()> {
    change!(Place::Open(file.as_fd()), Act::Attributes, |_| {
        rustix::fs::fchown(&file, Some(uid), Some(gid))
    })
}

/// `fchmod(2)`.
pub(crate) fn set_mode_of(file: impl AsFd, mode: Mode) -> Result<()> {
    change!(
        Place::Open(file.as_fd()),
        Act::Attributes,
        |_| rustix::fs::fchmod(&file, mode)
    )
}

/// `chmod(2)` through a name in `/proc/self/fd`.
pub(crate) fn set_mode_through(path: &str, mode: Mode) -> Result<()> {
    change!(Place::Proc(path), Act::Attributes, |_| rustix::fs::chmod(
        path, mode
    ))
}

/// `fchownat(2)`, not following a link.
pub(crate) fn set_owner_at(dir: BorrowedFd<'_>, name: &[u8], uid: Uid, gid: Gid) -> Result<()> {
    change!(Place::At(dir, name), Act::Attributes, |_| {
        rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
    })
}

/// `utimensat(2)`, not following a link.
pub(crate) fn set_times_at(dir: BorrowedFd<'_>, name: &[u8], times: &Timestamps) -> Result<()> {
    change!(Place::At(dir, name), Act::Attributes, |_| {
        rustix::fs::utimensat(dir, name, times, AtFlags::SYMLINK_NOFOLLOW)
    })
}

/// `futimens(2)`.
pub(crate) fn set_times_of(file: impl AsFd, times: &Timestamps) -> Result<()> {
    change!(Place::Open(file.as_fd()), Act::Attributes, |_| {
        rustix::fs::futimens(&file, times)
    })
}

/// `fsetxattr(2)`.
pub(crate) fn set_xattr_of(file: impl AsFd, name: &[u8], value: &[u8]) -> Result<()> {
    change!(Place::Open(file.as_fd()), Act::Attributes, |_| {
        rustix::fs::fsetxattr(&file, name, value, XattrFlags::empty())
    })
}

/// `setxattr(2)` through a name in `/proc/self/fd`.
pub(crate) fn set_xattr_through(path: &str, name: &[u8], value: &[u8]) -> Result<()> {
    change!(Place::Proc(path), Act::Attributes, |_| {
        rustix::fs::setxattr(path, name, value, XattrFlags::empty())
    })
}

/// `removexattr(2)` through a name in `/proc/self/fd`.
pub(crate) fn remove_xattr_through(path: &str, name: &[u8]) -> Result<()> {
    change!(Place::Proc(path), Act::Attributes, |_| rustix::fs::removexattr(
        path, name
    ))
}

/// `pwrite(2)`: gives how much was written.
pub(crate) fn write_at(file: &OwnedFd, bytes: &[u8], offset: u64) -> Result<usize> {
    let count = change!(
        Place::Open(file.as_fd()),
        Act::Write(offset, bytes),
        |most: usize| rustix::io::pwrite(file, &bytes[..most.min(bytes.len())], offset)
    )?;
    match count {
        0 if !bytes.is_empty() => Err(Errno::IO),
        count => Ok(count),
    }
}

/// `ftruncate(2)`.
pub(crate) fn cut(file: &OwnedFd, length: u64) -> Result<()> {
    change!(Place::Open(file.as_fd()), Act::Cut(length), |_| {
        rustix::fs::ftruncate(file, length)
    })
}

/// What tells one run of the kernel from another; empty where the kernel does not say.
pub fn boot() -> String {
    #[cfg(feature = "recorded")]
    if let Some(boot) = recorded::boot() {
        return boot;
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    boot.trim().to_owned()
}
