//! Makes an upper directory of an overlay into the tree of the layer that was taken from it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Gid, Mode, Uid};
use rustix::io::Errno;

use crate::allowance::{GoOn, wanted};
use crate::changes::{Change, Changes};
use crate::directory::{remove, set_times};
use crate::disk;
use crate::entry::{Meta, Mtime};
use crate::error::Error;
use crate::handle::Handle;
use crate::overlay;
use crate::path::ImagePath;
use crate::root::Root;

/// Changes `upper` so that it is the tree that `changes`, which [`diff`](crate::diff()) found in it, would be unpacked to:
/// what is not among them goes, whiteouts take the place of opaque marks, overlayfs' own attributes vanish, the root becomes
/// 0755 0:0 with time 0, and times later than `clamp` (seconds since 1970) become `clamp`. Extended attributes and
/// nanoseconds, which the packed layer may lack, stay for the steps to come.
///
/// # Errors
/// [`Error::Io`] if the disk fails, and as soon as `go_on` does: `upper` is then of no use any more.
pub fn normalise(upper: &Path, changes: &Changes, clamp: Option<i64>, go_on: GoOn<'_>) -> Result<(), Error> {
    let tree = Tree {
        root: Root::open(upper)?,
        changes,
        clamp,
        go_on,
    };
    let mut ahead = vec![ImagePath::root()];
    while let Some(dir) = ahead.pop() {
        tree.clean(&dir, &mut ahead)?;
    }
    tree.add_whiteouts()?;
    tree.set_directory_times()?;
    tree.dress_root()
}

struct Tree<'a> {
    root: Root,
    changes: &'a Changes,
    clamp: Option<i64>,
    go_on: GoOn<'a>,
}

impl Tree<'_> {
    /// Leaves in the directory `dir` only what is a change; what is to be cleaned next goes to `ahead`.
    fn clean(&self, dir: &ImagePath, ahead: &mut Vec<ImagePath>) -> Result<(), Error> {
        let Some((fd, names)) = self.root.list(dir)? else {
            return Ok(());
        };
        for name in names {
            wanted(self.go_on)?;
            let path = dir.join(&name);
            let failed = |errno: Errno| self.root.failed("clean", &path, errno);
            match self.changes.get(&path) {
                None => _ = remove(fd.as_fd(), &name).map_err(failed)?,
                Some(Change::Whiteout) => {
                    let there = Handle::at(fd.as_fd(), &name).map_err(failed)?;
                    if there.is_some_and(|file| !file.is_whiteout_device()) {
                        remove(fd.as_fd(), &name).map_err(failed)?;
                    }
                }
                Some(Change::Node { meta, .. }) => {
                    if meta.is_directory() {
                        ahead.push(path.clone());
                    }
                    self.keep(fd.as_fd(), &name, &path, meta)?;
                }
            }
        }
        Ok(())
    }

    fn keep(&self, dir: BorrowedFd<'_>, name: &[u8], path: &ImagePath, meta: &Meta) -> Result<(), Error> {
        let failed = |errno: Errno| self.root.failed("clean", path, errno);
        let Some(file) = Handle::at(dir, name).map_err(failed)? else {
            return Err(failed(Errno::NOENT));
        };
        self.drop_marks(&file, path)?;
        let mtime = clamped(meta.mtime, self.clamp);
        if mtime != meta.mtime && !meta.is_directory() {
            set_times(dir, name, mtime).map_err(failed)?;
        }
        Ok(())
    }

    fn drop_marks(&self, file: &Handle, path: &ImagePath) -> Result<(), Error> {
        let names = file
            .xattr_names()
            .map_err(|error| self.root.failed("clean", path, error))?;
        for name in names.iter().filter(|name| overlay::is_mark(name)) {
            file.remove_xattr(name)
                .map_err(|error| self.root.failed("clean", path, error))?;
        }
        Ok(())
    }

    fn add_whiteouts(&self) -> Result<(), Error> {
        for (path, _) in self
            .changes
            .iter()
            .filter(|(_, change)| matches!(change, Change::Whiteout))
        {
            wanted(self.go_on)?;
            let (dir, name) = self.parent(path)?;
            match disk::node_at(dir.as_fd(), name, FileType::CharacterDevice, Mode::empty(), 0) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(self.root.failed("make the whiteout", path, errno)),
            }
        }
        Ok(())
    }

    /// What was added and removed changed the times of the directories it was in.
    fn set_directory_times(&self) -> Result<(), Error> {
        for (path, change) in self.changes.iter().rev() {
            wanted(self.go_on)?;
            if let Change::Node { meta, .. } = change
                && meta.is_directory()
            {
                let (dir, name) = self.parent(path)?;
                set_times(dir.as_fd(), name, clamped(meta.mtime, self.clamp))
                    .map_err(|errno| self.root.failed("set the time of", path, errno))?;
            }
        }
        Ok(())
    }

    fn dress_root(&self) -> Result<(), Error> {
        let path = ImagePath::root();
        let failed = |errno: Errno| self.root.failed("clean", &path, errno);
        let Some((dir, _)) = self.root.list(&path)? else {
            return Err(failed(Errno::NOENT));
        };
        if let Some(file) = Handle::at(dir.as_fd(), b".").map_err(failed)? {
            self.drop_marks(&file, &path)?;
        }
        disk::set_owner_of(&dir, Uid::ROOT, Gid::ROOT).map_err(failed)?;
        disk::set_mode_of(&dir, Mode::from_raw_mode(0o755)).map_err(failed)?;
        set_times(dir.as_fd(), b".", Mtime::default()).map_err(failed)
    }

    fn parent<'p>(&self, path: &'p ImagePath) -> Result<(OwnedFd, &'p [u8]), Error> {
        let parent = path.parent().unwrap_or_default();
        let dir = self.root.directory(&parent)?;
        let dir = dir.ok_or_else(|| self.root.failed("open", &parent, Errno::NOENT))?;
        Ok((dir, path.file_name().unwrap_or(b".")))
    }
}

fn clamped(mtime: Mtime, clamp: Option<i64>) -> Mtime {
    let latest = clamp.map(|seconds| Mtime {
        seconds,
        nanoseconds: 0,
    });
    latest.map_or(mtime, |latest| mtime.min(latest))
}
