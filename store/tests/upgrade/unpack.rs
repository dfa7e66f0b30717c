//! Unpacks the stores of earlier versions, with nothing of today's code: what that does to a tree may change.

use std::ffi::CStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps};

const BLOCK: usize = 512;

/// One entry of an archive.
struct Entry<'a> {
    path: PathBuf,
    kind: u8,
    mode: u32,
    owner: (u32, u32),
    seconds: i64,
    target: &'a str,
    bytes: &'a [u8],
}

fn text(field: &[u8]) -> &str {
    match CStr::from_bytes_until_nul(field) {
        Ok(text) => text.to_str().unwrap(),
        Err(_) => std::str::from_utf8(field).unwrap(),
    }
}

fn number(field: &[u8]) -> u64 {
    u64::from_str_radix(text(field).trim(), 8).unwrap()
}

/// Reads an entry and says where the next one begins; nothing at the end.
fn read(archive: &[u8], at: usize) -> Option<(Entry<'_>, usize)> {
    let header = &archive[at..at + BLOCK];
    if header[0] == 0 {
        return None;
    }
    assert_eq!(&header[257..262], b"ustar");
    let (prefix, name) = (text(&header[345..500]), text(&header[..100]));
    let length = usize::try_from(number(&header[124..136])).unwrap();
    let from = at + BLOCK;
    let id = |field| u32::try_from(number(field)).unwrap();
    let entry = Entry {
        path: Path::new(prefix).join(name),
        kind: header[156],
        mode: id(&header[100..108]),
        owner: (id(&header[108..116]), id(&header[116..124])),
        seconds: i64::try_from(number(&header[136..148])).unwrap(),
        target: text(&header[157..257]),
        bytes: &archive[from..from + length],
    };
    Some((entry, from + length.next_multiple_of(BLOCK)))
}

/// Unpacks a plain ustar archive of files, directories, symbolic links and whiteouts (character devices 0:0). Owners are kept by
/// root alone; times are kept in the trees of layers, which are packed with them: what else is there is as old as it is.
pub(crate) fn unpack(archive: &[u8], root: &Path) {
    let is_root = rustix::process::geteuid().is_root();
    let (mut at, mut folders) = (0, Vec::new());
    while let Some((entry, next)) = read(archive, at) {
        at = next;
        let path = root.join(&entry.path);
        match entry.kind {
            b'0' => std::fs::write(&path, entry.bytes).unwrap(),
            b'2' => std::os::unix::fs::symlink(entry.target, &path).unwrap(),
            b'3' => rustix::fs::mknodat(CWD, &path, FileType::CharacterDevice, Mode::empty(), 0).unwrap(),
            b'5' => std::fs::create_dir_all(&path).unwrap(),
            other => panic!("{}: kind {other}", path.display()),
        }
        if is_root {
            std::os::unix::fs::lchown(&path, Some(entry.owner.0), Some(entry.owner.1)).unwrap();
        }
        match entry.kind {
            // what comes into it changes it, and may not be allowed
            b'5' => folders.push((path, entry)),
            _ => finish(&path, &entry),
        }
    }
    for (path, entry) in folders.iter().rev() {
        finish(path, entry);
    }
}

/// Gives what is there its mode and, in the tree of a layer, its time.
fn finish(path: &Path, entry: &Entry<'_>) {
    if entry.kind != b'2' {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(entry.mode)).unwrap();
    }
    if entry.path.iter().any(|part| part == "trees") {
        let time = Timespec {
            tv_sec: entry.seconds,
            tv_nsec: 0,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}
