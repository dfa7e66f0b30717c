//! Writes a layer's tree as overlayfs takes it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::ops::Bound;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use crate::directory::{fill, make_special, remove, set_times, times};
use crate::disk;
use crate::entry::{Kind, Meta, Mtime, Xattrs};
use crate::error::Error;
use crate::handle::Handle;
use crate::overlay;
use crate::path::{ImagePath, shown};
use crate::root::{PATH_LIMIT, Place, Root};
use crate::sink::TreeSink;
use crate::tar::limits;
use crate::trail::{Obstacle, Trail};

/// What a remembered path takes beside its bytes.
const PATH_OVERHEAD: u64 = 64;

/// How many bytes of a file are read before they are written.
const BUFFER_BYTES: usize = 256 << 10;

/// Writes a layer into an empty tree: whiteouts become character devices 0:0, opaque directories get an extended
/// attribute. No path is followed through a link; directories that were not put before what is in them are made
/// 0755 0:0 with time 0. Directories get their times from [`finish`](Self::finish), without which the tree is not whole.
/// Extended attributes of overlayfs and SELinux are left out whoever asks for them.
pub struct TreeWriter {
    root: Root,
    trail: Trail,
    /// What directories' times shall be.
    times: BTreeMap<ImagePath, Mtime>,
    /// What the layers below no longer show; a directory made there is opaque.
    gone: BTreeSet<ImagePath>,
    /// What the paths in `times` and `gone` take in memory, in bytes.
    weight: u64,
    buffer: Vec<u8>,
}

impl TreeWriter {
    /// Writes into `root`, which should be empty.
    pub fn new(root: Root) -> Self {
        Self {
            root,
            trail: Trail::default(),
            times: BTreeMap::new(),
            gone: BTreeSet::new(),
            weight: 0,
            buffer: vec![0; BUFFER_BYTES],
        }
    }

    /// Sets what can be set only when all is written. A root that was not put becomes 0755 0:0 with time 0.
    pub fn finish(mut self) -> Result<(), Error> {
        if !self.times.contains_key(&ImagePath::root()) {
            self.put_root(&Meta::directory(0o755, Mtime::default()))?;
        }
        // deepest first, so that a directory without permissions is not entered any more
        for (path, mtime) in std::mem::take(&mut self.times).into_iter().rev() {
            self.enter(&path.parent().unwrap_or_default())?;
            let name = path.file_name().unwrap_or(b".");
            set_times(self.trail.fd(&self.root), name, mtime)
                .map_err(|error| self.failed("set the time of", &path, error))?;
        }
        Ok(())
    }

    /// The tree so far.
    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    /// Whether the last path that was written lies in the directory `path`.
    pub(crate) fn is_in(&self, path: &ImagePath) -> bool {
        self.trail.is_at(path)
    }

    /// Goes to the directory `path`, making what is missing of it.
    fn enter(&mut self, path: &ImagePath) -> Result<(), Error> {
        loop {
            let Err((at, obstacle)) = self.trail.goto(&self.root, path) else {
                return Ok(());
            };
            match obstacle {
                Obstacle::Missing => self.imply(&at)?,
                Obstacle::NotDirectory if self.is_whiteout(&at)? => self.imply(&at)?,
                Obstacle::NotDirectory => {
                    return Err(Error::Path {
                        path: at,
                        reason: "not a directory, but something is to be put into it".to_owned(),
                    });
                }
                Obstacle::System(errno) => return Err(self.failed("open", &at, errno)),
            }
        }
    }

    /// Makes the directory `path`, of which nothing is known; the trail stands in the directory it is in.
    fn imply(&mut self, path: &ImagePath) -> Result<(), Error> {
        self.put_directory(path, &Meta::directory(0o755, Mtime::default()))
    }

    /// Whether there is nothing at `path` but the device that [`whiteout`](TreeSink::whiteout) made.
    fn is_whiteout(&self, path: &ImagePath) -> Result<bool, Error> {
        let file = self.root.look(path)?;
        Ok(self.gone.contains(path) && matches!(file, Place::File(file) if file.is_whiteout_device()))
    }

    /// Where `path` is to be made: the trail stands in its directory, the name is what is to be used there.
    fn seat<'p>(&mut self, path: &'p ImagePath) -> Result<&'p [u8], Error> {
        let Some(name) = path.file_name() else {
            return Err(Error::Path {
                path: path.clone(),
                reason: "the root can only be a directory".to_owned(),
            });
        };
        if path.as_bytes().len() as u64 > PATH_LIMIT {
            return Err(Error::Limit {
                what: format!("length of the path /{}", shown(path.as_bytes())),
                limit: PATH_LIMIT,
            });
        }
        self.enter(&path.parent().unwrap_or_default())?;
        Ok(name)
    }

    /// Makes `path` with `make`, in place of what is there.
    fn replace<T>(
        &mut self,
        path: &ImagePath,
        name: &[u8],
        make: impl Fn(BorrowedFd<'_>) -> rustix::io::Result<T>,
    ) -> Result<T, Error> {
        match make(self.trail.fd(&self.root)) {
            Err(Errno::EXIST) => {
                self.remove(path, name)?;
                make(self.trail.fd(&self.root))
            }
            other => other,
        }
        .map_err(|error| self.failed("make", path, error))
    }

    /// Removes `path` with all below it; the trail stands in its directory, so nothing below is open.
    fn remove(&mut self, path: &ImagePath, name: &[u8]) -> Result<(), Error> {
        let removed = remove(self.trail.fd(&self.root), name);
        if removed.map_err(|error| self.failed("remove", path, error))? {
            self.forget(path);
        }
        Ok(())
    }

    /// Forgets what was known of the directory `path`, which is no longer there, and all below it; not that the layers
    /// below no longer show it.
    fn forget(&mut self, path: &ImagePath) {
        let below = (Bound::Excluded(path.clone()), Bound::Unbounded);
        let here = |other: &&ImagePath| other.starts_with(path);
        let gone: Vec<_> = self.gone.range(below.clone()).take_while(here).cloned().collect();
        for path in &gone {
            self.gone.remove(path);
            self.weight -= weight(path);
        }
        let timed = self.times.range(below).map(|(path, _)| path);
        let timed: Vec<_> = timed.take_while(here).cloned().collect();
        for path in timed.iter().chain([path]) {
            if self.times.remove(path).is_some() {
                self.weight -= weight(path);
            }
        }
    }

    /// Counts a path that is remembered to the end.
    fn charge(&mut self, path: &ImagePath) -> Result<(), Error> {
        self.weight += weight(path);
        if self.weight > limits::INDEX_BYTES {
            return Err(Error::Limit {
                what: "the size of all names of directories and whiteouts in the layer".to_owned(),
                limit: limits::INDEX_BYTES,
            });
        }
        Ok(())
    }

    fn put_root(&mut self, meta: &Meta) -> Result<(), Error> {
        let path = ImagePath::root();
        if !meta.is_directory() {
            return self.seat(&path).map(|_| ());
        }
        self.enter(&path)?;
        self.dress_directory(&path, b".", meta)
    }

    /// Makes or changes a directory; the trail stands in the directory it is in.
    fn put_directory(&mut self, path: &ImagePath, meta: &Meta) -> Result<(), Error> {
        let name = path.file_name().unwrap_or(b".");
        let make = |dir: BorrowedFd<'_>| disk::make_folder_at(dir, name);
        let made = match make(self.trail.fd(&self.root)) {
            Err(Errno::EXIST) => {
                let there = Handle::at(self.trail.fd(&self.root), name)
                    .map_err(|error| self.failed("look at", path, error))?;
                if there.is_some_and(|file| file.is_directory()) {
                    false
                } else {
                    self.replace(path, name, make)?;
                    true
                }
            }
            other => other
                .map(|()| true)
                .map_err(|error| self.failed("make", path, error))?,
        };
        self.dress_directory(path, name, meta)?;
        if made && self.gone.contains(path) {
            self.mark_opaque(path)?;
        }
        Ok(())
    }

    fn dress_directory(&mut self, path: &ImagePath, name: &[u8], meta: &Meta) -> Result<(), Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(self.trail.fd(&self.root), name, flags, Mode::empty())
            .map_err(|error| self.failed("open", path, error))?;
        self.dress(path, &dir, meta)?;
        if self.times.insert(path.clone(), meta.mtime).is_none() {
            self.charge(path)?;
        }
        Ok(())
    }

    /// Gives an open file its owner, mode and extended attributes, in this order: a change of owner takes away setuid and
    /// capabilities.
    fn dress(&self, path: &ImagePath, file: &OwnedFd, meta: &Meta) -> Result<(), Error> {
        let (uid, gid) = owner(path, meta)?;
        disk::set_owner_of(file, uid, gid).map_err(|error| self.failed("set the owner of", path, error))?;
        disk::set_mode_of(file, Mode::from_raw_mode(meta.mode))
            .map_err(|error| self.failed("set the mode of", path, error))?;
        self.set_xattrs(path, &meta.xattrs, |name, value| {
            disk::set_xattr_of(file, name, value)
        })
    }

    fn set_xattrs(
        &self,
        path: &ImagePath,
        xattrs: &Xattrs,
        set: impl Fn(&[u8], &[u8]) -> rustix::io::Result<()>,
    ) -> Result<(), Error> {
        for (name, value) in xattrs.iter().filter(|(name, _)| !overlay::is_foreign(name)) {
            match set(name, value) {
                // what the file system cannot hold is left out, as docker does
                Ok(()) | Err(Errno::OPNOTSUPP) => {}
                // user attributes are for regular files and directories only (xattr(7))
                Err(Errno::PERM) if name.starts_with(b"user.") => {}
                Err(errno) => {
                    let action = format!("set the attribute {} of", String::from_utf8_lossy(name));
                    return Err(self.failed(&action, path, errno));
                }
            }
        }
        Ok(())
    }

    fn put_file(&mut self, path: &ImagePath, meta: &Meta, content: &mut dyn Read) -> Result<(), Error> {
        let name = self.seat(path)?;
        let file = self.replace(path, name, |dir| disk::create_at(dir, name))?;
        let written =
            fill(&file, content, &mut self.buffer).map_err(|error| self.failed("write", path, error))?;
        if written != meta.size() {
            return Err(Error::Path {
                path: path.clone(),
                reason: format!("has {written} bytes instead of {}", meta.size()),
            });
        }
        self.dress(path, &file, meta)?;
        disk::set_times_of(&file, &times(meta.mtime))
            .map_err(|error| self.failed("set the time of", path, error))
    }

    /// Makes what has no content: a link, a device, a pipe.
    fn put_special(&mut self, path: &ImagePath, meta: &Meta) -> Result<(), Error> {
        let name = self.seat(path)?;
        let (uid, gid) = owner(path, meta)?;
        self.replace(path, name, |dir| make_special(dir, name, &meta.kind))?;
        let dir = self.trail.fd(&self.root);
        disk::set_owner_at(dir, name, uid, gid)
            .map_err(|error| self.failed("set the owner of", path, error))?;
        let symlink = matches!(meta.kind, Kind::Symlink { .. });
        if !symlink || !meta.xattrs.is_empty() {
            let file = Handle::at(dir, name)
                .and_then(|file| file.ok_or(Errno::NOENT))
                .map_err(|error| self.failed("look at", path, error))?;
            if !symlink {
                file.set_mode(meta.mode)
                    .map_err(|error| self.failed("set the mode of", path, error))?;
            }
            self.set_xattrs(path, &meta.xattrs, |name, value| file.set_xattr(name, value))?;
        }
        set_times(dir, name, meta.mtime).map_err(|error| self.failed("set the time of", path, error))
    }

    fn mark_opaque(&self, path: &ImagePath) -> Result<(), Error> {
        let Place::File(dir) = self.root.look(path)? else {
            return Err(self.failed("mark", path, Errno::NOENT));
        };
        dir.mark_opaque()
            .map_err(|error| self.failed("mark as opaque", path, error))
    }

    fn failed(&self, action: &str, path: &ImagePath, error: impl Into<io::Error>) -> Error {
        self.root.failed(action, path, error)
    }
}

impl TreeSink for TreeWriter {
    fn put(&mut self, path: &ImagePath, meta: &Meta, content: &mut dyn Read) -> Result<(), Error> {
        match meta.kind {
            _ if path.is_root() => self.put_root(meta),
            Kind::File { .. } => self.put_file(path, meta, content),
            Kind::Directory => {
                self.seat(path)?;
                self.put_directory(path, meta)
            }
            _ => self.put_special(path, meta),
        }
    }

    fn put_hardlink(&mut self, path: &ImagePath, target: &ImagePath) -> Result<(), Error> {
        let unfit = |reason: &str| Error::Path {
            path: path.clone(),
            reason: format!("hard link to {target}, which is {reason}"),
        };
        match self.root.look(target)? {
            Place::File(file) if file.is_directory() => return Err(unfit("a directory")),
            Place::File(_) if !self.is_whiteout(target)? => {}
            _ => return Err(unfit("not in this layer")),
        }
        if path == target {
            return Ok(());
        }
        if target.starts_with(path) {
            return Err(unfit("in the directory that it replaces"));
        }
        let from = target.parent().unwrap_or_default();
        let target_name = target.file_name().unwrap_or(b".");
        let from = match self.root.look(&from)? {
            Place::File(dir) => dir,
            _ => return Err(unfit("not in this layer")),
        };
        let name = self.seat(path)?;
        self.replace(path, name, |dir| {
            disk::link_at(from.as_fd(), target_name, dir, name)
        })
    }

    fn whiteout(&mut self, path: &ImagePath) -> Result<(), Error> {
        let name = self.seat(path)?;
        if self.gone.insert(path.clone()) {
            self.charge(path)?;
        }
        let dir = self.trail.fd(&self.root);
        match disk::node_at(dir, name, FileType::CharacterDevice, Mode::empty(), 0) {
            Ok(()) => Ok(()),
            // what this layer itself has there stays, and hides what the layers below have
            Err(Errno::EXIST) => {
                match Handle::at(dir, name).map_err(|error| self.failed("look at", path, error))? {
                    Some(file) if file.is_directory() => file
                        .mark_opaque()
                        .map_err(|error| self.failed("mark as opaque", path, error)),
                    _ => Ok(()),
                }
            }
            Err(errno) => Err(self.failed("make the whiteout", path, errno)),
        }
    }

    fn opaque(&mut self, path: &ImagePath) -> Result<(), Error> {
        self.enter(path)?;
        self.mark_opaque(path)
    }
}

/// What a path and its place in a map take, in bytes.
fn weight(path: &ImagePath) -> u64 {
    path.as_bytes().len() as u64 + PATH_OVERHEAD
}

fn owner(path: &ImagePath, meta: &Meta) -> Result<(Uid, Gid), Error> {
    // chown(2) takes this number for "leave it"
    if meta.uid == u32::MAX || meta.gid == u32::MAX {
        return Err(Error::Path {
            path: path.clone(),
            reason: format!("owner {}:{} does not exist on Linux", meta.uid, meta.gid),
        });
    }
    Ok((Uid::from_raw(meta.uid), Gid::from_raw(meta.gid)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_counted_and_limited() {
        let folder = tempfile::tempdir().unwrap();
        let mut tree = TreeWriter::new(Root::open(folder.path()).unwrap());
        let path = |text: &str| ImagePath::clamped(text.as_bytes());
        let dir = Meta::directory(0o755, Mtime::default());
        tree.put(&path("a/b"), &dir, &mut io::empty()).unwrap();
        tree.whiteout(&path("a/c")).unwrap();
        tree.whiteout(&path("a/c")).unwrap();
        assert_eq!(tree.weight, 7 + 3 * PATH_OVERHEAD);
        tree.put_hardlink(&path("a/d"), &path("a/b")).unwrap_err();
        let link = Kind::Symlink {
            target: b"x".to_vec(),
        };
        let link = Meta {
            kind: link,
            ..dir.clone()
        };
        tree.put(&path("a"), &link, &mut io::empty()).unwrap();
        assert_eq!(tree.weight, 0);
        tree.weight = limits::INDEX_BYTES - PATH_OVERHEAD - 1;
        tree.whiteout(&path("x")).unwrap();
        for error in [
            tree.whiteout(&path("y")),
            tree.put(&path("z"), &dir, &mut io::empty()),
        ] {
            assert!(matches!(error, Err(Error::Limit { .. })), "{error:?}");
        }
    }
}
