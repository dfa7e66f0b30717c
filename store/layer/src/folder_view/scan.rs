//! A look at one file of a folder, and a walk through many directories by more than one thread.

use std::collections::VecDeque;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::{Arc, Condvar, LazyLock, Mutex, OnceLock, PoisonError};
use std::thread;

use mica_oci::Digest;
use rustix::fs::{FileType, Statx};
use rustix::io::Errno;

use crate::entry::{Kind, LinkKey, Meta, Node, Xattrs};
use crate::error::Error;
use crate::fingerprint::{Fingerprints, Identity, Known};
use crate::folder_view::{Entry, USER_XATTRS};
use crate::path::ImagePath;

/// How many threads walk: nearly all of it is the kernel's work on different directories.
const WALKERS: usize = 2;

/// The most a list of names or one attribute takes, in bytes (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX` of Linux).
const XATTR_LIMIT: usize = 64 << 10;

/// The digest of no bytes.
static NOTHING: LazyLock<Digest> = LazyLock::new(|| Digest::of(b""));

/// One name in an open directory.
pub(super) struct Look<'a> {
    pub(super) dir: BorrowedFd<'a>,
    pub(super) name: &'a CStr,
    pub(super) stat: &'a Statx,
    /// What is known of files, where their times tell whether they changed.
    pub(super) prints: Option<&'a Arc<Fingerprints>>,
}

impl Look<'_> {
    /// All that an image keeps of the file, and what was known of it before; `None` if it is gone.
    pub(super) fn entry(&self) -> io::Result<Option<(Entry, Known)>> {
        let identity = Identity::of(self.stat);
        let Some(kind) = self.kind(&identity)? else {
            return Ok(None);
        };
        let has_xattrs = matches!(
            FileType::from_raw_mode(identity.mode),
            FileType::RegularFile | FileType::Directory
        );
        let known = match self.prints {
            Some(prints) if has_xattrs => prints.get(&identity),
            _ => Known::default(),
        };
        let xattrs = match has_xattrs && !known.plain {
            true => self.xattrs()?,
            false => Xattrs::new(),
        };
        let content = match kind {
            Kind::File { size: 0 } => Some(*NOTHING),
            Kind::File { .. } => known.digest,
            _ => None,
        };
        let is_link = self.stat.stx_nlink > 1 && kind != Kind::Directory;
        let entry = Entry {
            name: self.name.to_bytes().to_vec(),
            plain: has_xattrs && xattrs.is_empty(),
            learned: OnceLock::new(),
            node: Node {
                link: is_link.then_some(LinkKey::Inode(identity.device, identity.inode)),
                content,
                meta: Meta {
                    kind,
                    mode: identity.mode & 0o7777,
                    uid: self.stat.stx_uid,
                    gid: self.stat.stx_gid,
                    mtime: identity.mtime,
                    xattrs,
                },
            },
            identity,
        };
        Ok(Some((entry, known)))
    }

    fn kind(&self, identity: &Identity) -> io::Result<Option<Kind>> {
        let (major, minor) = (self.stat.stx_rdev_major, self.stat.stx_rdev_minor);
        Ok(Some(match FileType::from_raw_mode(identity.mode) {
            FileType::RegularFile => Kind::File { size: identity.size },
            FileType::Directory => Kind::Directory,
            FileType::Symlink => match rustix::fs::readlinkat(self.dir, self.name, Vec::new()) {
                Ok(target) => Kind::Symlink {
                    target: target.into_bytes(),
                },
                // it is gone, or something else by now
                Err(Errno::NOENT | Errno::INVAL) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            },
            FileType::CharacterDevice => Kind::CharDevice { major, minor },
            FileType::BlockDevice => Kind::BlockDevice { major, minor },
            FileType::Fifo => Kind::Fifo,
            _ => Kind::File { size: 0 },
        }))
    }

    /// The attributes a user can set.
    fn xattrs(&self) -> io::Result<Xattrs> {
        let mut path = format!("/proc/self/fd/{}/", self.dir.as_raw_fd()).into_bytes();
        path.extend_from_slice(self.name.to_bytes());
        let mut names = [0; 512];
        let mut large = Vec::new();
        let names = match rustix::fs::llistxattr(path.as_slice(), &mut names[..]) {
            Ok(len) => &names[..len],
            Err(Errno::RANGE) => {
                large.resize(XATTR_LIMIT, 0);
                let len = rustix::fs::llistxattr(path.as_slice(), &mut large[..])?;
                &large[..len]
            }
            Err(Errno::NOTSUP | Errno::NOENT) => &[],
            Err(errno) => return Err(errno.into()),
        };
        let mut found = Xattrs::new();
        for name in names
            .split(|byte| *byte == 0)
            .filter(|name| name.starts_with(USER_XATTRS))
        {
            let mut value = vec![0; XATTR_LIMIT];
            match rustix::fs::lgetxattr(path.as_slice(), name, &mut value[..]) {
                Ok(len) => value.truncate(len),
                Err(Errno::NODATA | Errno::NOENT) => continue,
                Err(errno) => return Err(errno.into()),
            }
            value.shrink_to_fit();
            found.insert(name.to_vec(), value);
        }
        Ok(found)
    }
}

/// The directories that are still to be listed.
#[derive(Default)]
struct Ahead {
    directories: VecDeque<ImagePath>,
    /// How many are being listed.
    busy: usize,
    failure: Option<Error>,
}

/// Shows `list` the directory `start` and those below it that `list` asks for, by more than one thread.
pub(super) fn ahead(
    start: &ImagePath,
    list: &(dyn Fn(&ImagePath) -> Result<Vec<ImagePath>, Error> + Sync),
) -> Result<(), Error> {
    let state = Mutex::new(Ahead {
        directories: VecDeque::from([start.clone()]),
        ..Ahead::default()
    });
    let changed = Condvar::new();
    let walk = || work(&state, &changed, list);
    thread::scope(|scope| {
        for _ in 1..WALKERS {
            // without a thread the others do it all
            let _ = thread::Builder::new()
                .name("folder".to_owned())
                .spawn_scoped(scope, walk);
        }
        walk();
    });
    let state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    state.failure.map_or(Ok(()), Err)
}

fn work(
    state: &Mutex<Ahead>,
    changed: &Condvar,
    list: &(dyn Fn(&ImagePath) -> Result<Vec<ImagePath>, Error> + Sync),
) {
    let mut ahead = state.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if ahead.failure.is_some() {
            break;
        }
        let Some(directory) = ahead.directories.pop_back() else {
            if ahead.busy == 0 {
                break;
            }
            ahead = changed.wait(ahead).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        ahead.busy += 1;
        drop(ahead);
        let listed = list(&directory);
        ahead = state.lock().unwrap_or_else(PoisonError::into_inner);
        ahead.busy -= 1;
        match listed {
            Ok(below) => ahead.directories.extend(below),
            Err(error) => ahead.failure = Some(error),
        }
        changed.notify_all();
    }
    changed.notify_all();
}
