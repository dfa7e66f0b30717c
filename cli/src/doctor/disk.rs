//! The disk that the store is on: how much is free, and whether the file system is a good one.

use std::path::{Path, PathBuf};

use rustix::fs::{statfs, statvfs};

use crate::doctor::Finding;
use crate::size;

/// With less free than this nothing goes well, in bytes.
const LITTLE: u64 = 1 << 30;
/// With less free than this it will not go well for long.
const SMALL: u64 = 10 << 30;
/// The same of files that can be made.
const FEW: u64 = 20_000;

/// Looks at where the store is or would be.
pub(crate) fn disk(root: &Path) -> Vec<Finding> {
    let place = existing(root);
    let told = root.display();
    let (Ok(space), Ok(system)) = (statvfs(&place), statfs(&place)) else {
        return vec![Finding::warn(
            "disk",
            format!("{told} cannot be looked at"),
            "run mica doctor as root, or as the user that runs micad",
        )];
    };
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    // Each architecture has a type of its own for it; the numbers fit into 32 bits.
    #[allow(clippy::unnecessary_cast, reason = "it is none everywhere")]
    let magic = system.f_type as u32;
    vec![
        bytes(root, free),
        inodes(root, space.f_files, space.f_favail),
        kind(root, magic),
    ]
}

/// The folder, or the nearest above it that is there.
fn existing(root: &Path) -> PathBuf {
    let found = root.ancestors().find(|path| path.exists());
    found.unwrap_or(Path::new("/")).to_owned()
}

fn bytes(root: &Path, free: u64) -> Finding {
    let found = format!(
        "{} free for {}",
        size::human(i64::try_from(free).unwrap_or(i64::MAX), 3),
        root.display()
    );
    let remedy =
        "mica system prune gives back what is not needed; \"data-root\" in daemon.json names another place";
    match free {
        ..LITTLE => Finding::fail("disk space", found, remedy),
        LITTLE..SMALL => Finding::warn("disk space", found, remedy),
        _ => Finding::ok("disk space", found),
    }
}

fn inodes(root: &Path, all: u64, free: u64) -> Finding {
    // btrfs and the like make them as they are needed
    if all == 0 {
        return Finding::ok("inodes", "the file system makes them as they are needed");
    }
    let found = format!("{free} of {all} free for {}", root.display());
    match free {
        ..FEW => Finding::fail("inodes", found, "make room, or a file system with more of them"),
        _ => Finding::ok("inodes", found),
    }
}

/// By its number in statfs(2).
fn kind(root: &Path, magic: u32) -> Finding {
    let about = "file system";
    let place = root.display();
    match magic {
        0xEF53 => Finding::ok(about, format!("ext4 for {place}")),
        0x5846_5342 => Finding::ok(about, format!("xfs for {place}")),
        0x9123_683E => Finding::ok(about, format!("btrfs for {place}")),
        0xF2F5_2010 => Finding::ok(about, format!("f2fs for {place}")),
        0x2FC1_2FC1 => Finding::warn(
            about,
            format!("zfs for {place}"),
            "RUN needs zfs 2.2, the first with overlayfs on it",
        ),
        0x0102_1994 => Finding::warn(
            about,
            format!("tmpfs for {place}: all is lost with the next start of the machine"),
            "name a place on a disk with \"data-root\" in daemon.json",
        ),
        0x794C_7630 => Finding::fail(
            about,
            format!("overlayfs for {place}: RUN cannot put its own overlay on it"),
            "in a container: mount a volume there",
        ),
        0x6969 | 0xFF53_4D42 | 0xFE53_4D42 | 0x0102_1997 | 0x6573_5546 => Finding::fail(
            about,
            format!(
                "a network file system or FUSE (0x{magic:X}) for {place}: overlayfs and locks do not work there"
            ),
            "name a place on a local disk with \"data-root\" in daemon.json",
        ),
        other => Finding::warn(
            about,
            format!("one that mica was not tried on (0x{other:X}) for {place}"),
            "ext4, xfs and btrfs are good",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Grade;

    #[test]
    fn disks_are_graded() {
        let root = Path::new("/x");
        assert_eq!(bytes(root, 1 << 20).grade, Grade::Fail);
        assert_eq!(bytes(root, 2 << 30).grade, Grade::Warn);
        assert_eq!(bytes(root, 20 << 30).grade, Grade::Ok);
        assert_eq!(inodes(root, 0, 0).grade, Grade::Ok);
        assert_eq!(inodes(root, 1 << 20, 5).grade, Grade::Fail);
        assert_eq!(kind(root, 0xEF53).grade, Grade::Ok);
        assert_eq!(kind(root, 0x794C_7630).grade, Grade::Fail);
        assert_eq!(kind(root, 0x0102_1994).grade, Grade::Warn);
        assert_eq!(kind(root, 7).grade, Grade::Warn);
    }

    #[test]
    fn what_is_not_there_lies_where_it_would() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(existing(&folder.path().join("a/b")), folder.path());
        assert!(disk(&folder.path().join("a/b")).len() == 3);
    }
}
