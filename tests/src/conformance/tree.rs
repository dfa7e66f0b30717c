//! Entries as files on a disk.

use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, lsetxattr, makedev, mknodat, utimensat,
};

use crate::conformance::entry::{Content, Entry, Kind};

/// Time of what says none.
const TIME: i64 = 1_000_000_000;

/// Makes the entries below a folder, and the folders above them.
pub(crate) fn plant(root: &Path, entries: &[Entry]) {
    fs_err::create_dir_all(root).expect("folders can be made");
    for entry in entries {
        let path = root.join(entry.path.trim_start_matches('/'));
        if let Some(parent) = path.parent() {
            fs_err::create_dir_all(parent).expect("folders can be made");
        }
        make(root, &path, entry);
    }
    set_times(root, root, entries);
}

fn make(root: &Path, path: &Path, entry: &Entry) {
    match &entry.kind {
        Kind::File(Content::Bytes(bytes)) => fs_err::write(path, bytes).expect("files can be written"),
        Kind::Folder => fs_err::create_dir_all(path).expect("folders can be made"),
        Kind::Link(target) => symlink(target, path).expect("links can be made"),
        Kind::Hard(target) => {
            fs_err::hard_link(root.join(target), path).expect("links can be made");
            return;
        }
        Kind::Pipe => node(path, FileType::Fifo, 0),
        Kind::Device('c', major, minor) => node(path, FileType::CharacterDevice, makedev(*major, *minor)),
        Kind::Device(_, major, minor) => node(path, FileType::BlockDevice, makedev(*major, *minor)),
        // the socket's name stays when nobody listens any more
        Kind::Socket => drop(std::os::unix::net::UnixListener::bind(path).expect("sockets can be made")),
        Kind::File(Content::Hashed(..)) | Kind::Gone => panic!("{entry} cannot be made"),
    }
    let (user, group) = entry.owner;
    lchown(path, Some(user), Some(group)).expect("root may give files away");
    if !matches!(entry.kind, Kind::Link(_)) {
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(entry.mode)).expect("chmod works");
    }
    for (name, value) in &entry.xattrs {
        lsetxattr(path, name.as_str(), value, XattrFlags::empty()).expect("the file system has xattrs");
    }
}

fn node(path: &Path, kind: FileType, device: u64) {
    mknodat(CWD, path, kind, Mode::from_raw_mode(0o600), device).expect("root may make nodes");
}

/// Sets the time of everything below a folder, and of the folder last.
fn set_times(root: &Path, at: &Path, entries: &[Entry]) {
    if at.is_dir() && !at.is_symlink() {
        for child in fs_err::read_dir(at).expect("the folder can be read") {
            set_times(root, &child.expect("the folder can be read").path(), entries);
        }
    }
    let own = at.strip_prefix(root).expect("it is below");
    let said = entries.iter().find(|entry| Path::new(&entry.path) == own);
    let time = Timespec {
        tv_sec: said.and_then(|entry| entry.time).unwrap_or(TIME),
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(CWD, at, &times, AtFlags::SYMLINK_NOFOLLOW).expect("times can be set");
}
