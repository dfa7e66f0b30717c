//! Mounts that have to be put together before they can be taken: a part of some layers' tree, a file in memory.
//!
//! The kernel clones only what is mounted in this process' own namespace, so each is mounted on a directory of the run
//! for a moment. Nobody else sees that: the namespace is private by then.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Gid, Mode, OFlags, ResolveFlags, Uid, fchmod, fchown, fstat, open, openat2};
use rustix::mount::{OpenTreeFlags, UnmountFlags, mount, open_tree, unmount};

use crate::init::base::INERT;
use crate::init::overlay;
use crate::spec::Scratch;
use crate::sys;
use crate::wire::{AtStep, Failure};

/// A detached mount, and whether it is of a directory.
pub(crate) type Taken = (OwnedFd, bool);

/// Which part of which layers, and what becomes of what is written to it.
pub(crate) struct Part<'a> {
    /// The trees, the topmost first.
    pub lowers: &'a [PathBuf],
    /// The path in them.
    pub path: &'a Path,
    /// Where writes go.
    pub scratch: Option<&'a Scratch>,
}

/// Takes a part of some layers' tree. `place` is an empty directory; `attributes` are `MOUNT_ATTR_*`.
pub(crate) fn take_part(part: &Part<'_>, place: &Path, attributes: u64) -> Result<Taken, Failure> {
    match (part.lowers, part.scratch) {
        ([tree], None) => clone_below(tree, part.path, attributes | libc::MOUNT_ATTR_RDONLY),
        (lowers, scratch) => {
            overlay::mount_layers(lowers, scratch, place)?;
            let attributes = match scratch {
                Some(_) => attributes,
                None => attributes | libc::MOUNT_ATTR_RDONLY,
            };
            taken_from(place, clone_below(place, part.path, attributes))
        }
    }
}

/// A file in memory with these bytes.
pub(crate) fn take_file(
    content: &[u8],
    mode: u32,
    owner: (u32, u32),
    place: &Path,
) -> Result<Taken, Failure> {
    let step = || "file in memory".to_owned();
    // unlike a tmpfs it never goes to a swap partition
    mount("ramfs", place, "ramfs", INERT, Some(c"mode=700")).at(step)?;
    let attributes =
        libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    let taken = write_file(content, mode, owner, &place.join("content"))
        .at(step)
        .and_then(|()| clone_below(place, Path::new("/content"), attributes));
    taken_from(place, taken)
}

fn write_file(content: &[u8], mode: u32, owner: (u32, u32), path: &Path) -> std::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut file = std::fs::File::from(open(path, flags, Mode::empty())?);
    file.write_all(content)?;
    fchown(&file, Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)))?;
    fchmod(&file, Mode::from_raw_mode(mode))?;
    Ok(())
}

/// Takes the mount away from `place` again; what was cloned of it stays.
fn taken_from(place: &Path, taken: Result<Taken, Failure>) -> Result<Taken, Failure> {
    unmount(place, UnmountFlags::DETACH).at(|| format!("unmount {}", place.display()))?;
    taken
}

fn clone_below(root: &Path, path: &Path, attributes: u64) -> Result<Taken, Failure> {
    let step = || format!("mount source {} of {}", path.display(), root.display());
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root = open(root, flags | OFlags::DIRECTORY, Mode::empty()).at(step)?;
    let below = path.strip_prefix("/").unwrap_or(path);
    let below = if below.as_os_str().is_empty() {
        Path::new(".")
    } else {
        below
    };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let found = openat2(&root, below, flags | OFlags::NOFOLLOW, Mode::empty(), resolve).at(step)?;
    let clone =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let mount = open_tree(&found, "", clone).at(step)?;
    if attributes != 0 {
        sys::set_mount_attributes(&mount, attributes).at(step)?;
    }
    let dir = FileType::from_raw_mode(fstat(&mount).at(step)?.st_mode) == FileType::Directory;
    Ok((mount, dir))
}
