//! The walk through the folder, entry by entry into the archive.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use mica_dockerfile::ignore::IgnoreWalk;

use crate::context::header::{BLOCK, Header, Kind, Xattr};
use crate::context::sink::{Sink, Stop};
use crate::context::source::{Extra, Source};
use crate::error::Error;

/// Extended attributes of one file, names and values: what the kernel allows at most (`XATTR_LIST_MAX`).
const MAX_XATTR_BYTES: usize = 64 * 1024;

const OPEN: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK);

/// Writes the whole context, without the end of the archive.
pub(super) fn write(source: &Source, sink: &mut Sink, warn: &dyn Fn(String)) -> Result<(), Stop> {
    let mut walk = Walk {
        source,
        sink,
        warn,
        ignore: source.patterns.walk(),
        path: Vec::new(),
        frames: Vec::new(),
        links: HashMap::new(),
        names: vec![0; MAX_XATTR_BYTES],
    };
    if !source.folder.as_os_str().is_empty() {
        let root = rustix::fs::openat(
            CWD,
            &source.folder,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        );
        walk.enter(root.map_err(|errno| failure(&source.folder, errno))?, None)?;
        walk.run()?;
    }
    for extra in &source.extras {
        walk.extra(extra)?;
    }
    Ok(())
}

/// A directory that is being walked.
struct Frame {
    fd: OwnedFd,
    /// What is left of it, last first.
    names: Vec<(CString, FileType)>,
    /// The length of its path, `/` included; 0 for the root.
    prefix: usize,
    /// Its own entry, not written yet: it is left out, but something in it may not be.
    pending: Option<Stat>,
}

struct Walk<'a> {
    source: &'a Source,
    sink: &'a mut Sink,
    warn: &'a dyn Fn(String),
    ignore: IgnoreWalk<'a>,
    /// The path of the entry in hand, relative to the root.
    path: Vec<u8>,
    frames: Vec<Frame>,
    /// The first path of every file with several names.
    links: HashMap<(u64, u64), Vec<u8>>,
    /// Room for names of extended attributes.
    names: Vec<u8>,
}

impl Walk<'_> {
    fn run(&mut self) -> Result<(), Stop> {
        while let Some(frame) = self.frames.last_mut() {
            self.path.truncate(frame.prefix);
            let Some((name, kind)) = frame.names.pop() else {
                if frame.prefix > 0 {
                    self.ignore.leave();
                }
                self.frames.pop();
                continue;
            };
            self.path.extend_from_slice(name.to_bytes());
            if self
                .source
                .extras
                .iter()
                .any(|extra| extra.path.as_bytes() == self.path)
            {
                continue;
            }
            self.visit(&name, kind)?;
        }
        Ok(())
    }

    fn is_excluded(&self) -> bool {
        let path = String::from_utf8_lossy(&self.path);
        self.ignore.excludes(&path) && !self.source.always.iter().any(|kept| *kept == path)
    }

    fn visit(&mut self, name: &CStr, kind: FileType) -> Result<(), Stop> {
        match kind {
            FileType::RegularFile if self.is_excluded() => Ok(()),
            FileType::RegularFile => self.file(name),
            FileType::Directory => self.folder(name),
            FileType::Socket => Ok(()),
            FileType::Unknown => {
                let Some(stat) = self.stat(name)? else {
                    return Ok(());
                };
                match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Unknown => Ok(()),
                    kind => self.visit(name, kind),
                }
            }
            _ if self.is_excluded() => Ok(()),
            FileType::Symlink => self.symlink(name),
            FileType::Fifo => self.special(name, Kind::Fifo),
            FileType::CharacterDevice => self.special(name, Kind::Char),
            FileType::BlockDevice => self.special(name, Kind::Block),
        }
    }

    fn directory(&self) -> BorrowedFd<'_> {
        self.frames.last().map_or(CWD, |frame| frame.fd.as_fd())
    }

    /// The entry's metadata; nothing if it has gone meanwhile.
    fn stat(&self, name: &CStr) -> Result<Option<Stat>, Stop> {
        self.unless_gone(rustix::fs::statat(
            self.directory(),
            name,
            AtFlags::SYMLINK_NOFOLLOW,
        ))
    }

    /// A file that goes away during the walk is not part of the context.
    fn unless_gone<T>(&self, result: Result<T, Errno>) -> Result<Option<T>, Stop> {
        match result {
            Ok(value) => Ok(Some(value)),
            // ELOOP: it has become a symlink; ENXIO: a socket.
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => {
                (self.warn)(format!(
                    "{} went away while the context was read",
                    self.shown().display()
                ));
                Ok(None)
            }
            Err(errno) => Err(failure(&self.shown(), errno)),
        }
    }

    fn shown(&self) -> std::path::PathBuf {
        self.source.folder.join(OsStr::from_bytes(&self.path))
    }

    fn folder(&mut self, name: &CStr) -> Result<(), Stop> {
        let excluded = self.is_excluded();
        let path = String::from_utf8_lossy(&self.path).into_owned();
        let holds_kept = || {
            let below = |kept: &String| {
                kept.strip_prefix(path.as_str())
                    .is_some_and(|rest| rest.starts_with('/'))
            };
            self.source.always.iter().any(below)
        };
        let may_hold = self.ignore.enter(&path);
        if excluded && !may_hold && !holds_kept() {
            self.ignore.leave();
            return Ok(());
        }
        let fd = rustix::fs::openat(self.directory(), name, OPEN | OFlags::DIRECTORY, Mode::empty());
        let Some(fd) = self.unless_gone(fd)? else {
            self.ignore.leave();
            return Ok(());
        };
        let stat = rustix::fs::fstat(&fd).map_err(|errno| failure(&self.shown(), errno))?;
        let pending = if excluded {
            Some(stat)
        } else {
            self.parents()?;
            let path = [self.path.as_slice(), b"/"].concat();
            let xattrs = self.xattrs(fd.as_fd())?;
            self.header(&Header {
                xattrs: &xattrs,
                ..header(&path, Kind::Folder, &stat)
            })?;
            None
        };
        self.path.push(b'/');
        self.enter(fd, pending)
    }

    /// Reads a directory's names and makes it the one that is walked.
    fn enter(&mut self, fd: OwnedFd, pending: Option<Stat>) -> Result<(), Stop> {
        let shown = self.shown();
        let told = |errno| failure(&shown, errno);
        let mut names = Vec::new();
        for entry in Dir::read_from(&fd).map_err(told)? {
            let entry = entry.map_err(told)?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push((entry.file_name().to_owned(), entry.file_type()));
            }
        }
        names.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
        self.frames.push(Frame {
            fd,
            names,
            prefix: self.path.len(),
            pending,
        });
        Ok(())
    }

    /// Writes the entries of left out directories above something that is not left out.
    fn parents(&mut self) -> Result<(), Stop> {
        for at in 0..self.frames.len() {
            let Some(stat) = self.frames[at].pending.take() else {
                continue;
            };
            let path = self.path[..self.frames[at].prefix].to_vec();
            let xattrs = read_xattrs(self.frames[at].fd.as_fd(), &mut self.names);
            let xattrs = xattrs.map_err(|errno| failure(&self.shown(), errno))?;
            self.header(&Header {
                xattrs: &xattrs,
                ..header(&path, Kind::Folder, &stat)
            })?;
        }
        Ok(())
    }

    fn header(&mut self, header: &Header<'_>) -> Result<(), Stop> {
        self.sink.write(&header.encode())
    }

    fn xattrs(&mut self, fd: BorrowedFd<'_>) -> Result<Vec<Xattr>, Stop> {
        read_xattrs(fd, &mut self.names).map_err(|errno| failure(&self.shown(), errno))
    }

    fn file(&mut self, name: &CStr) -> Result<(), Stop> {
        let fd = rustix::fs::openat(self.directory(), name, OPEN, Mode::empty());
        let Some(fd) = self.unless_gone(fd)? else {
            return Ok(());
        };
        let stat = rustix::fs::fstat(&fd).map_err(|errno| failure(&self.shown(), errno))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            let _gone: Option<()> = self.unless_gone(Err(Errno::NOENT))?;
            return Ok(());
        }
        self.parents()?;
        let xattrs = self.xattrs(fd.as_fd())?;
        let path = std::mem::take(&mut self.path);
        let result = self.file_entry(&path, fd, &stat, &xattrs);
        self.path = path;
        result
    }

    fn file_entry(&mut self, path: &[u8], fd: OwnedFd, stat: &Stat, xattrs: &[Xattr]) -> Result<(), Stop> {
        let entry = Header {
            xattrs,
            ..header(path, Kind::File, stat)
        };
        if stat.st_nlink > 1 {
            let key = (stat.st_dev, stat.st_ino);
            if let Some(target) = self.links.get(&key) {
                let blocks = Header {
                    kind: Kind::HardLink,
                    target,
                    ..entry
                }
                .encode();
                return self.sink.write(&blocks);
            }
            self.links.insert(key, path.to_vec());
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        self.header(&Header { size, ..entry })?;
        self.data(path, &fd, size)
    }

    /// Copies exactly the size that was announced.
    fn data(&mut self, path: &[u8], fd: &OwnedFd, size: u64) -> Result<(), Stop> {
        let shown = || self.source.folder.join(OsStr::from_bytes(path));
        let mut left = size;
        while left > 0 {
            let room = self.sink.room()?;
            // One byte more than is wanted, to see whether there is more.
            let wanted = usize::try_from(left.saturating_add(1))
                .unwrap_or(usize::MAX)
                .min(room.len());
            let count = match rustix::io::read(fd, &mut room[..wanted]) {
                Ok(0) => {
                    let message = format!("{} became shorter while it was read", shown().display());
                    return Err(Error::Context {
                        message,
                        source: None,
                    }
                    .into());
                }
                Ok(count) => count as u64,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(failure(&shown(), errno)),
            };
            if count > left {
                (self.warn)(format!(
                    "{} became longer while it was read; its first {size} bytes are sent",
                    shown().display()
                ));
            }
            let taken = count.min(left);
            self.sink.add(usize::try_from(taken).unwrap_or(usize::MAX));
            left -= taken;
        }
        let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
        self.sink.zeros((BLOCK - over) % BLOCK)
    }

    fn symlink(&mut self, name: &CStr) -> Result<(), Stop> {
        let Some(stat) = self.stat(name)? else {
            return Ok(());
        };
        let target = rustix::fs::readlinkat(self.directory(), name, Vec::new());
        let Some(target) = self.unless_gone(target)? else {
            return Ok(());
        };
        self.parents()?;
        let blocks = Header {
            target: target.to_bytes(),
            ..header(&self.path, Kind::Symlink, &stat)
        }
        .encode();
        self.sink.write(&blocks)
    }

    fn special(&mut self, name: &CStr, kind: Kind) -> Result<(), Stop> {
        let Some(stat) = self.stat(name)? else {
            return Ok(());
        };
        self.parents()?;
        let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        let blocks = Header {
            device,
            ..header(&self.path, kind, &stat)
        }
        .encode();
        self.sink.write(&blocks)
    }

    fn extra(&mut self, extra: &Extra) -> Result<(), Stop> {
        let header = Header {
            path: extra.path.as_bytes(),
            kind: Kind::File,
            mode: 0o600,
            size: extra.bytes.len() as u64,
            mtime: (0, 0),
            target: b"",
            device: (0, 0),
            xattrs: &[],
        };
        self.header(&header)?;
        self.sink.write(&extra.bytes)?;
        self.sink
            .zeros(extra.bytes.len().next_multiple_of(BLOCK) - extra.bytes.len())
    }
}

fn header<'a>(path: &'a [u8], kind: Kind, stat: &Stat) -> Header<'a> {
    Header {
        path,
        kind,
        mode: stat.st_mode & 0o7777,
        size: 0,
        mtime: (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0)),
        target: b"",
        device: (0, 0),
        xattrs: &[],
    }
}

/// The attributes users may set; others belong to this machine.
fn read_xattrs(fd: BorrowedFd<'_>, names: &mut [u8]) -> Result<Vec<Xattr>, Errno> {
    let length = match rustix::fs::flistxattr(fd, &mut *names) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => 0,
        Err(errno) => return Err(errno),
    };
    let mut found = Vec::new();
    for name in names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| name.starts_with(b"user."))
    {
        let mut value = vec![0; MAX_XATTR_BYTES];
        match rustix::fs::fgetxattr(fd, name, &mut value[..]) {
            Ok(length) => value.truncate(length),
            Err(Errno::NODATA) => continue,
            Err(errno) => return Err(errno),
        }
        found.push((name.to_vec(), value));
    }
    found.sort_unstable();
    Ok(found)
}

fn failure(path: &Path, errno: Errno) -> Stop {
    let (message, source) = match errno {
        Errno::ACCESS | Errno::PERM => (format!("no permission to read from '{}'", path.display()), None),
        errno => (format!("can't read '{}'", path.display()), Some(errno.into())),
    };
    Stop::Failed(Error::Context { message, source })
}
