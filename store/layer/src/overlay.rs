//! The marks by which overlayfs says in a layer's tree what of the layers below does not show through.
//!
//! Source: Documentation/filesystems/overlayfs.rst of Linux, "whiteouts and opaque directories".

use std::sync::LazyLock;

use crate::entry::Xattrs;

/// Where overlayfs keeps its marks.
const PRIVILEGED: &[u8] = b"trusted.overlay.";

/// Where it keeps them in a user namespace (mount option `userxattr`).
const UNPRIVILEGED: &[u8] = b"user.overlay.";

/// The inode of the first user namespace (`PROC_USER_INIT_INO` of Linux).
const FIRST_USER_NAMESPACE: u64 = 0xefff_fffd;

/// Where the marks are in this process' trees. Elsewhere they are nothing but attributes: a nested overlay may have left
/// them.
static PREFIX: LazyLock<&[u8]> = LazyLock::new(|| {
    let namespace = rustix::fs::stat("/proc/self/ns/user").map(|stat| stat.st_ino);
    match namespace {
        Ok(FIRST_USER_NAMESPACE) | Err(_) => PRIVILEGED,
        Ok(_) => UNPRIVILEGED,
    }
});

/// The value of the mark of an opaque directory.
pub(crate) const YES: &[u8] = b"y";

/// The value of that mark if the directory is not opaque but may hold whiteouts that are files with a mark.
const MARKED_FILES: &[u8] = b"x";

/// Belongs to the machine the file lies on, not to the file.
const MACHINE: &[u8] = b"security.selinux";

/// What a file's marks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Marks {
    /// A directory: nothing of the layers below shows through.
    pub(crate) opaque: bool,
    /// A file: the name is gone.
    pub(crate) whiteout: bool,
    /// A directory: some of its files may be marked as whiteouts.
    pub(crate) marked_files: bool,
    /// The file's content or name lies elsewhere (`metacopy`, `redirect`), which trees of layers never have.
    pub(crate) elsewhere: bool,
}

/// The name of the mark of an opaque directory.
pub(crate) fn opaque() -> Vec<u8> {
    [*PREFIX, b"opaque"].concat()
}

/// Whether the extended attribute `name` belongs to a file system, maybe another one, and is never taken from an image.
pub(crate) fn is_foreign(name: &[u8]) -> bool {
    name == MACHINE || name.starts_with(PRIVILEGED) || name.starts_with(UNPRIVILEGED)
}

/// Whether the extended attribute `name` is one of overlayfs' own.
pub(crate) fn is_mark(name: &[u8]) -> bool {
    mark(name).is_some()
}

/// Tells marks from what belongs to the file.
pub(crate) fn split(mut xattrs: Xattrs) -> (Xattrs, Marks) {
    let mut marks = Marks::default();
    xattrs.retain(|name, value| {
        match mark(name) {
            Some(b"opaque") if value == YES => marks.opaque = true,
            Some(b"opaque") if value == MARKED_FILES => marks.marked_files = true,
            Some(b"whiteout") => marks.whiteout = true,
            Some(b"metacopy" | b"redirect") => marks.elsewhere = true,
            _ => {}
        }
        name != MACHINE && !is_mark(name)
    });
    (xattrs, marks)
}

/// The attribute's name among overlayfs' own.
fn mark(name: &[u8]) -> Option<&[u8]> {
    name.strip_prefix(*PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_and_kept_from_the_image() {
        let xattrs = [
            (&opaque()[..], &b"y"[..]),
            (&[*PREFIX, b"origin"].concat(), b"\x01"),
            (b"security.selinux", b"u:r:t"),
            (b"user.overlay", b"mine"),
            (b"user.a", b"1"),
        ]
        .map(|(name, value)| (name.to_vec(), value.to_vec()));
        let (kept, marks) = split(xattrs.into());
        assert!(marks.opaque && !marks.whiteout && !marks.elsewhere);
        assert_eq!(
            kept.into_keys().collect::<Vec<_>>(),
            [&b"user.a"[..], b"user.overlay"]
        );
    }
}
