//! How much of the disk a tree takes, whatever it is like: without recursion, long paths, many descriptors or much memory.

use std::collections::{HashSet, VecDeque};
use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, SeekFrom, Stat};
use rustix::io::Errno;

use super::{BLOCK, at};

/// The most hard links that are remembered so that a file counts once; files beyond count once for each name.
const LINKS: usize = 1 << 20;

/// What is held of the directories on the way to where the walk is. Those that are farthest up are let go of first.
const LIMITS: Limits = Limits {
    open: 32,
    places: 1 << 16,
};

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// How much is held at most.
#[derive(Clone, Copy)]
struct Limits {
    /// Directories that stand open. No less than two, as what may not be searched need not be left by its `..` then.
    open: usize,
    /// Directories of which it is known how far they were read; no less than are open. Others are read again up to there.
    places: usize,
}

/// How far a directory was read.
struct Place {
    inode: u64,
    /// Where the next name is, in the file system's own words.
    next: i64,
}

/// Where the walk is.
struct Walk {
    limits: Limits,
    /// The last of `places`, from above.
    open: VecDeque<Dir>,
    places: VecDeque<Place>,
    /// How many directories there are above `places`.
    forgotten: u64,
}

/// Bytes that a directory takes with all below. What cannot be looked at does not count. Nobody may write there meanwhile.
pub(crate) fn of_tree(place: &Path) -> u64 {
    let mut bytes = at(place);
    let _ = Walk::new(LIMITS).add(place, &mut bytes);
    bytes
}

impl Walk {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            open: VecDeque::new(),
            places: VecDeque::new(),
            forgotten: 0,
        }
    }

    /// Adds what is below `top`.
    ///
    /// # Errors
    /// If a directory cannot be opened again; all before that is added.
    fn add(mut self, top: &Path, bytes: &mut u64) -> rustix::io::Result<()> {
        let mut links = HashSet::new();
        let top = rustix::fs::openat(CWD, top, DIRECTORY, Mode::empty())?;
        let inode = rustix::fs::fstat(&top)?.st_ino;
        self.enter(top, inode)?;
        while let (Some(dir), Some(place)) = (self.open.back_mut(), self.places.back_mut()) {
            let Some(Ok(entry)) = dir.read() else {
                self.leave()?;
                continue;
            };
            place.next = entry.offset();
            if is_own(entry.file_name()) {
                continue;
            }
            let fd = dir.fd()?;
            let Ok(stat) = rustix::fs::statat(fd, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                *bytes += taken(&stat);
                if let Ok(below) = rustix::fs::openat(fd, entry.file_name(), DIRECTORY, Mode::empty()) {
                    self.enter(below, stat.st_ino)?;
                }
            } else if stat.st_nlink < 2 || links.len() >= LINKS || links.insert((stat.st_dev, stat.st_ino)) {
                *bytes += taken(&stat);
            }
        }
        Ok(())
    }

    fn enter(&mut self, dir: OwnedFd, inode: u64) -> rustix::io::Result<()> {
        self.open.push_back(Dir::new(dir)?);
        self.places.push_back(Place { inode, next: 0 });
        if self.open.len() > self.limits.open {
            self.open.pop_front();
        }
        if self.places.len() > self.limits.places {
            self.places.pop_front();
            self.forgotten += 1;
        }
        Ok(())
    }

    /// Goes on in the directory above, if there is one.
    fn leave(&mut self) -> rustix::io::Result<()> {
        let (Some(done), Some(left)) = (self.open.pop_back(), self.places.pop_back()) else {
            return Ok(());
        };
        if !self.open.is_empty() || (self.places.is_empty() && self.forgotten == 0) {
            return Ok(());
        }
        let above = rustix::fs::openat(done.fd()?, "..", DIRECTORY, Mode::empty())?;
        let inode = rustix::fs::fstat(&above)?.st_ino;
        match self.places.back() {
            Some(place) if place.inode == inode => {
                rustix::fs::seek(&above, SeekFrom::Start(place.next.cast_unsigned()))?;
                self.open.push_back(Dir::new(above)?);
            }
            // it was moved
            Some(_) => return Err(Errno::STALE),
            None => {
                let mut dir = Dir::new(above)?;
                let next = behind(&mut dir, &left)?;
                self.open.push_back(dir);
                self.places.push_back(Place { inode, next });
                self.forgotten -= 1;
            }
        }
        Ok(())
    }
}

/// Reads a directory up to the one in it that was left, and says where the next name is.
fn behind(dir: &mut Dir, left: &Place) -> rustix::io::Result<i64> {
    while let Some(entry) = dir.read() {
        let entry = entry?;
        if entry.ino() != left.inode || is_own(entry.file_name()) {
            continue;
        }
        // the names of a file may say the number of another file system's
        let stat = rustix::fs::statat(dir.fd()?, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Ok(entry.offset());
        }
    }
    Err(Errno::STALE)
}

/// Whether a name is that of the directory itself or of the one above.
fn is_own(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

fn taken(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0) * BLOCK
}

#[cfg(test)]
mod tests {
    use super::*;

    fn du(place: &Path) -> u64 {
        let out = std::process::Command::new("du")
            .args(["-s", "--block-size=1"])
            .arg(place)
            .output()
            .unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        text.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Files, links and directories of the same shape, of which some are much deeper than others.
    fn fill(place: &Path, depth: usize, first: &Path) {
        for number in 0..3 {
            std::fs::write(place.join(format!("file {number}")), vec![1; 5000 * number]).unwrap();
            std::fs::hard_link(first, place.join(format!("link {number}"))).unwrap();
        }
        for number in 0..depth.min(3) {
            let below = place.join(format!("folder {number}"));
            std::fs::create_dir(&below).unwrap();
            fill(&below, depth - 1 - number, first);
        }
        std::os::unix::fs::symlink("/", place.join("a link")).unwrap();
    }

    #[test]
    fn whatever_is_held_of_the_way_it_is_what_du_sees() {
        let folder = tempfile::tempdir().unwrap();
        let first = folder.path().join("first");
        std::fs::write(&first, vec![1; 100_000]).unwrap();
        fill(folder.path(), 8, &first);
        let seen = du(folder.path());
        assert!(seen > 1 << 20);
        assert_eq!(of_tree(folder.path()), seen);
        for (open, places) in [(1, 1), (2, 2), (2, 4), (3, 100), (100, 100)] {
            let mut bytes = at(folder.path());
            let walk = Walk::new(Limits { open, places });
            walk.add(folder.path(), &mut bytes).unwrap();
            assert_eq!(bytes, seen, "{open} {places}");
        }
        assert_eq!(of_tree(&folder.path().join("not there")), 0);
    }
}
