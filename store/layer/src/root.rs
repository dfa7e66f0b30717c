//! A tree on disk that no path of an image leaves.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::Error;
use crate::handle::Handle;
use crate::path::{ImagePath, shown};

/// The longest path a tree can hold, in bytes: `PATH_MAX` less the final NUL.
pub const PATH_LIMIT: u64 = 4095;

/// The directory that is the root of a tree. Every path is walked by the kernel from there, below it, and through real
/// directories only: a link in place of one ends the walk.
#[derive(Debug)]
pub struct Root {
    dir: OwnedFd,
    place: PathBuf,
}

/// An open directory and the names in it.
type Listing = (OwnedFd, Vec<Vec<u8>>);

/// What there is at a path.
pub(crate) enum Place {
    /// This file.
    File(Handle),
    /// No file in its directory, or no such directory.
    Nothing,
    /// A file that is not a directory stands in the way.
    Blocked,
}

impl Root {
    /// Opens the directory `place`, which must exist. Links on the way to it are followed: it is the caller's own.
    pub fn open(place: &Path) -> Result<Self, Error> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(place, flags, Mode::empty())
            .map_err(|errno| Error::io(format!("cannot open the tree {}", place.display()))(errno.into()))?;
        Ok(Self {
            dir,
            place: place.to_owned(),
        })
    }

    /// Where the tree lies.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// What there is at `path`.
    pub(crate) fn look(&self, path: &ImagePath) -> Result<Place, Error> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        match self.walk(path, flags).and_then(Handle::new) {
            Ok(handle) => Ok(Place::File(handle)),
            Err(Errno::NOENT) => Ok(Place::Nothing),
            Err(Errno::NOTDIR | Errno::LOOP) => Ok(Place::Blocked),
            Err(errno) => Err(self.failed("look at", path, errno)),
        }
    }

    /// The directory `path`, opened for reading its names; `None` if there is no such directory.
    pub(crate) fn directory(&self, path: &ImagePath) -> Result<Option<OwnedFd>, Error> {
        match self.walk(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(self.failed("open", path, errno)),
        }
    }

    /// The directory `path` and the names in it, in no order; `None` if there is no such directory.
    pub(crate) fn list(&self, path: &ImagePath) -> Result<Option<Listing>, Error> {
        self.list_while(path, &mut |_| Ok(()))
    }

    /// As [`list`](Self::list), but fails as soon as `accept` does, which is shown each name before it is kept.
    pub(crate) fn list_while(
        &self,
        path: &ImagePath,
        accept: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<Option<Listing>, Error> {
        let Some(dir) = self.directory(path)? else {
            return Ok(None);
        };
        let failed = |error: io::Error| self.failed("list", path, error);
        let copy = dir.try_clone().map_err(failed)?;
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::new(copy).map_err(|errno| failed(errno.into()))? {
            let entry = entry.map_err(|errno| failed(errno.into()))?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                accept(name)?;
                names.push(name.to_vec());
            }
        }
        Ok(Some((dir, names)))
    }

    fn walk(&self, path: &ImagePath, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(
                &self.dir,
                path.as_path(),
                flags | OFlags::CLOEXEC,
                Mode::empty(),
                resolve,
            ) {
                // something was renamed meanwhile: openat2(2) asks to try again
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
    }

    /// Wraps what the system says with what was being done to `path`.
    pub(crate) fn failed(&self, action: &str, path: &ImagePath, error: impl Into<io::Error>) -> Error {
        let (path, place) = (shown(path.as_bytes()), self.place.display());
        Error::io(format!("cannot {action} /{path} in {place}"))(error.into())
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}
