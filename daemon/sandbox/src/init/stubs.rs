//! Mount points that the image lacks: made for the run, and taken out of the layer afterwards.

use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, fstat, futimens, mkdir,
    mknodat, open, openat2, statat, unlinkat,
};
use rustix::io::Errno;

use crate::init::walk;
use crate::wire::{AtStep, Failure, Stub};

/// The mode of directories that are made.
const DIRECTORY_MODE: u32 = 0o755;

/// The mode of files that are made; what is mounted over them has its own.
const FILE_MODE: u32 = 0o644;

/// Sees to it that a mount can be put on `target`, and gives its path without symbolic links. What
/// had to be made is added to `made`. The directory it was made in is younger for it, as with BuildKit; where that is
/// all that happened to it, it is not part of the layer.
pub(crate) fn make_target(target: &Path, dir: bool, made: &mut Vec<Stub>) -> Result<PathBuf, Failure> {
    let place = walk::find(target)?;
    let path = place.path();
    let step = || format!("mount point {}", target.display());
    if path == Path::new("/") || path.starts_with("/proc") {
        // Over /proc it could hide from the process, and from the masks, what is really there.
        return Err(Failure::plain(
            step(),
            format!("nothing can be mounted on {}", path.display()),
        ));
    }
    let Some((last, parents)) = place.missing.split_last() else {
        return Ok(path);
    };
    let mut at = place.existing.clone();
    for name in parents {
        at.push(name);
        mkdir(&at, Mode::from_raw_mode(DIRECTORY_MODE)).at(step)?;
        made.push(Stub {
            path: at.clone(),
            dir: true,
        });
    }
    at.push(last);
    if dir {
        mkdir(&at, Mode::from_raw_mode(DIRECTORY_MODE)).at(step)?;
    } else {
        mknodat(CWD, &at, FileType::RegularFile, Mode::from_raw_mode(FILE_MODE), 0).at(step)?;
    }
    made.push(Stub { path: at, dir });
    Ok(path)
}

/// Removes from the upper directory what is still as it was made. The overlay must be gone.
///
/// The process may have put anything into the upper directory, symbolic links too: none is followed.
pub(crate) fn remove(upper: &Path, stubs: &[Stub]) -> Result<(), Failure> {
    if stubs.is_empty() {
        return Ok(());
    }
    let step = || format!("mount points in {}", upper.display());
    let upper = open(
        upper,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .at(step)?;
    for stub in stubs.iter().rev() {
        let (Some(parent), Some(name)) = (stub.path.parent(), stub.path.file_name()) else {
            continue;
        };
        let parent = Path::new(".").join(parent.strip_prefix("/").unwrap_or(parent));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let parent = match openat2(&upper, &parent, flags, Mode::empty(), resolve) {
            // The process, or a mount around it, has put something else there.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            other => other.at(step)?,
        };
        let before = fstat(&parent).at(step)?;
        let found = match statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            other => other.at(step)?,
        };
        if unlink_unchanged(&parent, Path::new(name), stub.dir, &found).at(step)? {
            futimens(&parent, &times(&before)).at(step)?;
        }
    }
    Ok(())
}

fn unlink_unchanged(
    parent: impl std::os::fd::AsFd,
    name: &Path,
    dir: bool,
    found: &Stat,
) -> Result<bool, Errno> {
    let flags = match (dir, FileType::from_raw_mode(found.st_mode)) {
        (true, FileType::Directory) => AtFlags::REMOVEDIR,
        (false, FileType::RegularFile) if found.st_size == 0 => AtFlags::empty(),
        _ => return Ok(false),
    };
    match unlinkat(parent, name, flags) {
        Ok(()) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        // Below a thousand million by definition.
        tv_nsec: nanoseconds.cast_signed(),
    };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}
