//! Removes a directory with all below it, however deep it is: without recursion, long paths or many descriptors.

use std::cell::Cell;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::disk;

/// How many directories stand open at most, one in the other. What lies deeper is moved up to the top first.
const OPEN_LIMIT: usize = 32;

/// Said where it is not to go on.
const STOPPED: Errno = Errno::CANCELED;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Removes the directory `path` with all below it, also where its owner may not read or write (as in images made for other
/// users). Takes few descriptors and little memory, whatever the directory is like; no link is followed.
///
/// # Errors
/// What the system said first, with the path. What was not removed until then stays.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    remove_tree_while(path, &|| true).map(drop)
}

/// As [`remove_tree`], for as long as `go_on` says yes, which is asked before each name. Says whether all is gone; what is left
/// may lie elsewhere in the directory than it did.
///
/// # Errors
/// As those of [`remove_tree`].
pub fn remove_tree_while(path: &Path, go_on: &dyn Fn() -> bool) -> io::Result<bool> {
    let stopped = Cell::new(false);
    let ask = || {
        stopped.set(!go_on());
        !stopped.get()
    };
    match remove_directory(CWD, path.as_os_str().as_bytes(), &ask) {
        Ok(()) => Ok(true),
        Err(_) if stopped.get() => Ok(false),
        Err(errno) => {
            let error = io::Error::from(errno);
            Err(io::Error::new(
                error.kind(),
                format!("failed to remove directory `{}`: {error}", path.display()),
            ))
        }
    }
}

/// As [`remove_tree_while`], the directory `name` of `dir`; fails with [`STOPPED`] if it is not to go on.
pub(crate) fn remove_directory(
    dir: BorrowedFd<'_>,
    name: &[u8],
    go_on: &dyn Fn() -> bool,
) -> rustix::io::Result<()> {
    let mut top = Level::open(dir, name)?;
    let mut moved = Moved::default();
    loop {
        while let Some(number) = moved.take() {
            remove_below(&top, number.to_string().into_bytes(), &mut moved, go_on)?;
        }
        ask(go_on)?;
        if let Some((name, kind)) = top.next()? {
            if top.unlink(&name, kind)? == Left::Directory {
                remove_below(&top, name, &mut moved, go_on)?;
                top.progress = true;
            }
        } else if unlink_directory(dir, name, &mut top)? {
            return Ok(());
        }
    }
}

fn ask(go_on: &dyn Fn() -> bool) -> rustix::io::Result<()> {
    if go_on() { Ok(()) } else { Err(STOPPED) }
}

/// Removes the directory `name` of `top`; what lies too deep in it is moved to `top`.
fn remove_below(
    top: &Level,
    name: Vec<u8>,
    moved: &mut Moved,
    go_on: &dyn Fn() -> bool,
) -> rustix::io::Result<()> {
    let mut open: Vec<Level> = Vec::new();
    let mut enter = Some(name);
    loop {
        ask(go_on)?;
        let above = open.last().unwrap_or(top).dir.fd()?;
        if let Some(name) = enter.take() {
            match Level::open(above, &name) {
                Ok(level) => open.push(level),
                // a listing may tell of what is gone by now
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        let full = open.len() + 1 >= OPEN_LIMIT;
        let Some(level) = open.last_mut() else {
            return Ok(());
        };
        if let Some((name, kind)) = level.next()? {
            match level.unlink(&name, kind)? {
                Left::Nothing => {}
                Left::Directory if full => {
                    moved.put(level.dir.fd()?, &name, top.dir.fd()?)?;
                    level.progress = true;
                }
                Left::Directory => enter = Some(name),
            }
            continue;
        }
        let Some(mut done) = open.pop() else {
            return Ok(());
        };
        let above = open.last_mut();
        let fd = above.as_ref().map_or(top, |level| &**level).dir.fd()?;
        let name = std::mem::take(&mut done.name);
        if !unlink_directory(fd, &name, &mut done)? {
            done.name = name;
            open.push(done);
        } else if let Some(above) = above {
            above.progress = true;
        }
    }
}

/// Removes the directory `name` that was read to its end. If it is not empty, has it read again, but not for ever.
fn unlink_directory(dir: BorrowedFd<'_>, name: &[u8], level: &mut Level) -> rustix::io::Result<bool> {
    match disk::remove_folder_at(dir, name) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        // some file systems pass over names when others are removed while they are read
        Err(Errno::NOTEMPTY | Errno::EXIST) if level.progress => {
            level.progress = false;
            level.dir.rewind();
            Ok(false)
        }
        Err(errno) => Err(errno),
    }
}

/// What is there after a name was to be unlinked.
#[derive(PartialEq, Eq)]
enum Left {
    Nothing,
    Directory,
}

/// A directory that is being emptied.
struct Level {
    dir: Dir,
    name: Vec<u8>,
    /// Whether anything was removed from it since its names are being read.
    progress: bool,
}

impl Level {
    /// Opens the directory `name`, giving its owner all rights to it.
    fn open(above: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<Self> {
        let open = || rustix::fs::openat(above, name, DIRECTORY | OFlags::RDONLY, Mode::empty());
        let fd = match open() {
            Err(Errno::ACCESS) => {
                let closed = rustix::fs::openat(above, name, DIRECTORY | OFlags::PATH, Mode::empty())?;
                // the call that takes such a descriptor itself is newer than many kernels
                disk::set_mode_through(&format!("/proc/self/fd/{}", closed.as_raw_fd()), Mode::RWXU)?;
                open()?
            }
            other => other?,
        };
        open_to_owner(&fd)?;
        Ok(Self {
            dir: Dir::new(fd)?,
            name: name.to_vec(),
            progress: false,
        })
    }

    /// The next name in it and the type as far as the file system tells it.
    fn next(&mut self) -> rustix::io::Result<Option<(Vec<u8>, FileType)>> {
        while let Some(entry) = self.dir.read() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                return Ok(Some((name.to_vec(), entry.file_type())));
            }
        }
        Ok(None)
    }

    /// Removes `name` unless it is a directory.
    fn unlink(&mut self, name: &[u8], kind: FileType) -> rustix::io::Result<Left> {
        if kind == FileType::Directory {
            return Ok(Left::Directory);
        }
        match disk::unlink_at(self.dir.fd()?, name) {
            Err(Errno::ISDIR) => Ok(Left::Directory),
            Ok(()) => {
                self.progress = true;
                Ok(Left::Nothing)
            }
            Err(Errno::NOENT) => Ok(Left::Nothing),
            Err(errno) => Err(errno),
        }
    }
}

fn open_to_owner(fd: &OwnedFd) -> rustix::io::Result<()> {
    let mode = rustix::fs::fstat(fd)?.st_mode;
    if Mode::from_raw_mode(mode).contains(Mode::RWXU) {
        return Ok(());
    }
    match disk::set_mode_of(fd, Mode::RWXU) {
        // whoever may remove what is in it without owning it need not own it
        Err(Errno::PERM) => Ok(()),
        other => other,
    }
}

/// The directories that were moved to the top, by the numbers that are their names there. The last ones are removed first,
/// so that there are never more stretches of numbers than the tree is deep.
#[derive(Default)]
struct Moved {
    waiting: Vec<Range<u64>>,
    next: u64,
}

impl Moved {
    /// Moves the directory `name` of `from` to `top`.
    fn put(&mut self, from: BorrowedFd<'_>, name: &[u8], top: BorrowedFd<'_>) -> rustix::io::Result<()> {
        let mut opened = false;
        loop {
            let number = self.next;
            self.next += 1;
            match disk::rename_at(from, name, top, number.to_string().as_bytes()) {
                // an empty directory may be replaced, anything else of that name stays
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => continue,
                // a directory that is moved gets another `..`, for which it must be writable
                Err(Errno::ACCESS) if !opened => {
                    Level::open(from, name)?;
                    opened = true;
                    continue;
                }
                other => other?,
            }
            match self.waiting.last_mut() {
                Some(last) if last.end == number => last.end = self.next,
                _ => self.waiting.push(number..self.next),
            }
            return Ok(());
        }
    }

    fn take(&mut self) -> Option<u64> {
        let last = self.waiting.last_mut()?;
        let number = last.next_back();
        if last.is_empty() {
            self.waiting.pop();
        }
        number
    }
}
