//! The directories that stand open on the way to where a tree is being changed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::path::ImagePath;
use crate::root::Root;

/// How many directories stand open at most.
const OPEN_LIMIT: usize = 64;

/// The last directory gone to and as many of those above it as are still open, so that going from one path to the next
/// takes few steps. No step follows a link.
#[derive(Default)]
pub(crate) struct Trail {
    /// The last directory gone to.
    here: ImagePath,
    /// How many bytes of `here` lead to each open directory; the outermost first.
    open: Vec<(usize, OwnedFd)>,
}

/// Why a directory cannot be gone to.
pub(crate) enum Obstacle {
    /// There is nothing of that name.
    Missing,
    /// What is there is not a directory.
    NotDirectory,
    /// The system failed.
    System(Errno),
}

impl Trail {
    /// Goes to the directory `path` of `root`. When it cannot, tells the first path that stands in the way.
    pub(crate) fn goto(&mut self, root: &Root, path: &ImagePath) -> Result<(), (ImagePath, Obstacle)> {
        let kept = self.common(path);
        self.open.truncate(kept);
        let done = self.open.last().map_or(0, |(len, _)| *len);
        let bytes = path.as_bytes();
        let mut start = if done == 0 { 0 } else { done + 1 };
        while start < bytes.len() {
            let end = bytes[start..]
                .iter()
                .position(|b| *b == b'/')
                .map_or(bytes.len(), |at| start + at);
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match rustix::fs::openat(self.fd(root), &bytes[start..end], flags, Mode::empty()) {
                Ok(fd) => self.push(end, fd),
                Err(errno) => {
                    let obstacle = match errno {
                        Errno::NOENT => Obstacle::Missing,
                        Errno::NOTDIR | Errno::LOOP => Obstacle::NotDirectory,
                        errno => Obstacle::System(errno),
                    };
                    self.here = prefix(path, start.saturating_sub(1));
                    return Err((prefix(path, end), obstacle));
                }
            }
            start = end + 1;
        }
        self.here = path.clone();
        Ok(())
    }

    /// The directory last gone to.
    pub(crate) fn fd<'a>(&'a self, root: &'a Root) -> BorrowedFd<'a> {
        self.open
            .last()
            .map_or_else(|| root.as_fd(), |(_, fd)| fd.as_fd())
    }

    /// Whether `path` is the directory last gone to.
    pub(crate) fn is_at(&self, path: &ImagePath) -> bool {
        self.here == *path
    }

    /// How many of the open directories lead to `path` too.
    fn common(&self, path: &ImagePath) -> usize {
        let (here, there) = (self.here.as_bytes(), path.as_bytes());
        let same = here.iter().zip(there).take_while(|(a, b)| a == b).count();
        let ends_at = |len: usize| there.len() == len || there[len] == b'/';
        self.open
            .iter()
            .take_while(|(len, _)| *len <= same && ends_at(*len))
            .count()
    }

    fn push(&mut self, len: usize, fd: OwnedFd) {
        if self.open.len() == OPEN_LIMIT {
            self.open.pop();
        }
        self.open.push((len, fd));
    }
}

/// The first `len` bytes of `path`, which are whole components.
fn prefix(path: &ImagePath, len: usize) -> ImagePath {
    if len == path.as_bytes().len() {
        path.clone()
    } else {
        ImagePath::clamped(&path.as_bytes()[..len])
    }
}
