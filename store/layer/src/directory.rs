//! What is done to one name in an open directory, or to the file it leads to, never following a link.

use std::io::{self, Read};
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use crate::disk;
use crate::entry::{Kind, Mtime};
use crate::removal::remove_directory;

/// From how many zeros on a hole is left instead of writing them.
const HOLE_BYTES: usize = 16 << 10;

/// The names in a directory with their types as far as the file system tells them, in no order.
pub(crate) fn names(dir: OwnedFd) -> rustix::io::Result<Vec<(Vec<u8>, FileType)>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::new(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push((name.to_vec(), entry.file_type()));
        }
    }
    Ok(names)
}

/// Removes `name` from `dir`, a directory with all below it; tells whether it was one.
pub(crate) fn remove(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<bool> {
    match disk::unlink_at(dir, name) {
        Err(Errno::ISDIR) => remove_directory(dir, name, &|| true).map(|()| true),
        other => other.map(|()| false),
    }
}

/// Sets the modification time of `name` in `dir`, not following it.
pub(crate) fn set_times(dir: BorrowedFd<'_>, name: &[u8], mtime: Mtime) -> rustix::io::Result<()> {
    disk::set_times_at(dir, name, &times(mtime))
}

/// Sets the modification time alone.
pub(crate) fn times(mtime: Mtime) -> Timestamps {
    let last_modification = Timespec {
        tv_sec: mtime.seconds,
        tv_nsec: mtime.nanoseconds.into(),
    };
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification,
    }
}

/// Makes what has no content: a link, a device, a pipe.
pub(crate) fn make_special(dir: BorrowedFd<'_>, name: &[u8], kind: &Kind) -> rustix::io::Result<()> {
    let mode = Mode::RUSR | Mode::WUSR;
    let device = |file_type, major, minor| {
        disk::node_at(dir, name, file_type, mode, rustix::fs::makedev(major, minor))
    };
    match kind {
        Kind::Symlink { target } => disk::symlink_at(target, dir, name),
        Kind::CharDevice { major, minor } => device(FileType::CharacterDevice, *major, *minor),
        Kind::BlockDevice { major, minor } => device(FileType::BlockDevice, *major, *minor),
        Kind::Fifo => device(FileType::Fifo, 0, 0),
        Kind::File { .. } | Kind::Directory => Err(Errno::INVAL),
    }
}

/// Writes all of `content` into an empty file, leaving holes for long runs of zeros; tells how many bytes it was.
pub(crate) fn fill(file: &OwnedFd, content: &mut dyn Read, buffer: &mut [u8]) -> io::Result<u64> {
    let mut at = 0;
    let mut hole = false;
    loop {
        let n = match content.read(buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hole = n >= HOLE_BYTES && buffer[..n].iter().all(|b| *b == 0);
        let mut done = if hole { n } else { 0 };
        while done < n {
            done += disk::write_at(file, &buffer[done..n], at + done as u64)?;
        }
        at += n as u64;
    }
    if hole {
        disk::cut(file, at)?;
    }
    Ok(at)
}
