//! A small file system of a test's own, to be filled to the last byte.
//!
//! It is mounted where only the thread that made it sees it, and whatever that thread starts afterwards: threads, a daemon,
//! programs. It goes with the last of them, also if all of them are killed.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use tempfile::TempDir;

use crate::mounts::{hide_mounts, run_tool};

/// The length of a block, in bytes.
const BLOCK: u64 = 4096;
/// How long it may take until nothing is given back any more.
const PATIENCE: Duration = Duration::from_secs(60);
/// What takes up the room.
const FILLER: &str = "filler";

/// An ext4 in a file without a name; gone when dropped.
pub struct SmallDisk {
    place: TempDir,
}

impl SmallDisk {
    /// Makes one of so many MiB, some of which ext4 takes itself. All that is free root may use, and so may everybody. Says
    /// `skipped: what`, and why, where it cannot be made: only root can.
    #[allow(clippy::print_stdout, reason = "tests/run counts what is left out")]
    pub fn make(mib: u64, what: &str) -> Option<Self> {
        let made = hide_mounts().and_then(|()| Self::mounted(mib));
        made.inspect_err(|why| println!("skipped: {what}: {why}")).ok()
    }

    fn mounted(mib: u64) -> Result<Self, String> {
        let image = tempfile::tempfile().map_err(|error| format!("no temporary file: {error}"))?;
        image
            .set_len(mib << 20)
            .map_err(|error| format!("no room for a small disk: {error}"))?;
        // a name that leads to it in programs that are started here, as long as it is open
        let path = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), image.as_raw_fd()));
        let block = BLOCK.to_string();
        run_tool(
            Command::new("mkfs.ext4")
                .args(["-q", "-F", "-b", &block, "-m", "0"])
                .arg(&path),
        )?;
        let place = tempfile::Builder::new()
            .prefix("mica-small-")
            .tempdir()
            .map_err(|error| format!("no temporary folder: {error}"))?;
        run_tool(
            Command::new("mount")
                .args(["-t", "ext4", "-o", "loop"])
                .arg(&path)
                .arg(place.path()),
        )?;
        Ok(Self { place })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// How many bytes are free once all that was written has its blocks.
    ///
    /// # Panics
    /// If it cannot be asked.
    pub fn free(&self) -> u64 {
        let root = File::open(self.path()).expect("the small disk is there");
        rustix::fs::syncfs(&root).expect("it can be synced");
        let told = rustix::fs::fstatvfs(&root).expect("it tells what is free");
        told.f_bavail * told.f_frsize
    }

    /// Takes up all but so many bytes; 0 leaves none at all. What was taken up before is given back first.
    ///
    /// # Panics
    /// If there is less to begin with.
    pub fn fill_but(&self, left: u64) {
        self.empty();
        let free = self.free();
        assert!(free >= left, "only {free} bytes are free");
        self.take_up(left);
    }

    fn take_up(&self, left: u64) {
        let filler = self.filler();
        let mut length = filler.metadata().expect("it has a length").len();
        let mut step = self.free();
        while step >= BLOCK {
            let free = self.free();
            let most = step.min(free.saturating_sub(left)) / BLOCK * BLOCK;
            if most == 0 {
                break;
            }
            match rustix::fs::fallocate(&filler, FallocateFlags::empty(), length, most) {
                Ok(()) => length += most,
                // what tells where its blocks are takes blocks too
                Err(Errno::NOSPC) => step = most / 2,
                Err(errno) => panic!("cannot fill the small disk: {errno}"),
            }
        }
    }

    /// Takes up every byte, also those that are given back in this moment by what was removed before.
    ///
    /// # Panics
    /// If something is left.
    pub fn fill(&self) {
        self.fill_but(0);
        let began = Instant::now();
        while self.free() > 0 {
            assert!(began.elapsed() < PATIENCE, "bytes are left that nobody can take");
            self.take_up(0);
        }
    }

    /// Takes up so many bytes more, at once: what is given back meanwhile stays free.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn take(&self, bytes: u64) {
        let filler = self.filler();
        let length = filler.metadata().expect("it has a length").len();
        rustix::fs::fallocate(&filler, FallocateFlags::empty(), length, bytes)
            .expect("there is room for that");
    }

    fn filler(&self) -> File {
        File::options()
            .append(true)
            .create(true)
            .open(self.path().join(FILLER))
            .expect("a file can be made")
    }

    /// Gives back what was taken up.
    ///
    /// # Panics
    /// If it cannot be removed.
    pub fn empty(&self) {
        match std::fs::remove_file(self.path().join(FILLER)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                panic!("cannot empty the small disk: {error}")
            }
            _ => {}
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // who still uses it keeps it, unseen
        let _ = unmount(self.path(), UnmountFlags::DETACH);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn it_is_filled_to_the_last_byte_and_seen_here_only() {
        let Some(disk) = SmallDisk::make(32, "a small disk") else {
            return;
        };
        let free = disk.free();
        assert!((16 << 20..32 << 20).contains(&free), "{free}");
        disk.fill_but(1 << 20);
        let left = disk.free();
        assert!(left.abs_diff(1 << 20) < 64 << 10, "{left}");
        disk.take(512 << 10);
        let less = disk.free();
        assert!((left - less).abs_diff(512 << 10) < 64 << 10, "{less}");
        disk.fill();
        let mut file = File::create(disk.path().join("more")).unwrap();
        let full = file.write_all(&[1; 5000]).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        drop(file);
        std::fs::remove_file(disk.path().join("more")).unwrap();
        // the first thread of this process has the mounts it always had
        let elsewhere = Path::new("/proc").join(std::process::id().to_string());
        let seen = std::fs::read_to_string(elsewhere.join("mounts")).unwrap();
        assert!(!seen.contains(disk.path().to_str().unwrap()), "{seen}");
        disk.empty();
        assert!(disk.free().abs_diff(free) < 64 << 10);
    }
}
