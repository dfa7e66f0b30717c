//! Paths inside the root, followed by hand: what exists of them, and what has to be made.
//!
//! By the time this is used the image is the root, so nothing can lead out of it; what the kernel's
//! own walk would not do is to treat magic links of `/proc` as the text they show, and to go on
//! where something is missing.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Gid, Mode, Uid, chown, lstat, mkdir, readlinkat};
use rustix::io::Errno;

use crate::wire::{AtStep, Failure};

/// The most symbolic links on one way: the kernel's own limit (`path_resolution(7)`).
const MAX_LINKS: usize = 40;

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The longest part that exists, without symbolic links.
    pub existing: PathBuf,
    /// Whether that part is a directory.
    pub dir: bool,
    /// What of the path is below it and does not exist.
    pub missing: Vec<OsString>,
}

impl Place {
    /// The whole path, without symbolic links.
    pub(crate) fn path(&self) -> PathBuf {
        let mut path = self.existing.clone();
        path.extend(&self.missing);
        path
    }
}

/// Follows a path.
pub(crate) fn find(path: &Path) -> Result<Place, Failure> {
    follow(path).at(|| format!("path {}", path.display()))
}

fn follow(path: &Path) -> Result<Place, Errno> {
    let mut place = Place {
        existing: PathBuf::from("/"),
        dir: true,
        missing: Vec::new(),
    };
    let mut ahead: VecDeque<OsString> = names(path).collect();
    let mut links = 0;
    while let Some(name) = ahead.pop_front() {
        if !place.dir {
            return Err(Errno::NOTDIR);
        }
        if name == ".." {
            if place.missing.pop().is_none() {
                place.existing.pop();
            }
            continue;
        }
        if !place.missing.is_empty() {
            place.missing.push(name);
            continue;
        }
        let next = place.existing.join(&name);
        let kind = match lstat(&next) {
            Ok(stat) => FileType::from_raw_mode(stat.st_mode),
            Err(Errno::NOENT) => {
                place.missing.push(name);
                continue;
            }
            Err(errno) => return Err(errno),
        };
        if kind != FileType::Symlink {
            place.dir = kind == FileType::Directory;
            place.existing = next;
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(Errno::LOOP);
        }
        let target = PathBuf::from(OsString::from_vec(
            readlinkat(CWD, &next, Vec::new())?.into_bytes(),
        ));
        if target.is_absolute() {
            place.existing = PathBuf::from("/");
        }
        for name in names(&target).collect::<Vec<_>>().into_iter().rev() {
            ahead.push_front(name);
        }
    }
    Ok(place)
}

/// The names of a path; `..` is one of them, `/` and `.` are not.
fn names(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsStr::new("..").to_owned()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

/// Makes what is missing of a directory and its parents, mode 0755; the path without symbolic links.
pub(crate) fn make_directories(path: &Path, owner: (Uid, Gid)) -> Result<PathBuf, Failure> {
    let place = find(path)?;
    let mut at = place.existing;
    for name in place.missing {
        at.push(name);
        let step = || format!("directory {}", at.display());
        mkdir(&at, Mode::from_raw_mode(0o755)).at(step)?;
        chown(&at, Some(owner.0), Some(owner.1)).at(step)?;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::io::Errno;

    use super::follow;

    #[test]
    fn links_and_dots_are_followed_and_the_missing_is_kept() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().canonicalize().unwrap();
        fs::create_dir_all(base.join("a/b")).unwrap();
        fs::write(base.join("file"), "").unwrap();
        symlink("a/b", base.join("short")).unwrap();
        symlink(base.join("gone/../x"), base.join("dangling")).unwrap();
        symlink("loop", base.join("loop")).unwrap();
        let table = [
            ("a/b", "a/b", 0),
            ("short/../c/d", "a/c/d", 2),
            ("short/./new", "a/b/new", 1),
            ("dangling/y", "x/y", 2),
            ("a/no/../b", "a/b", 0),
        ];
        for (given, path, missing) in table {
            let place = follow(&base.join(given)).unwrap();
            assert_eq!(place.path(), base.join(path), "{given}");
            assert_eq!(place.missing.len(), missing, "{given}");
        }
        assert_eq!(follow(&base.join("file/x")), Err(Errno::NOTDIR));
        assert_eq!(follow(&base.join("loop/x")), Err(Errno::LOOP));
        assert_eq!(
            follow("/../..".as_ref()).unwrap().path(),
            std::path::Path::new("/")
        );
    }
}
