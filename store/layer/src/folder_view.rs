//! A folder of this machine that others may change, read where it lies.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use mica_oci::Digest;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;

use crate::entry::{Kind, Meta, Mtime, Node};
use crate::error::Error;
use crate::fingerprint::{Fingerprints, Identity, Known, now};
use crate::path::ImagePath;
use crate::view::{Content, Enters, Files, Finding, LayerView, Name};

mod scan;

/// How much the names and attributes of one folder may take in memory, in bytes, each file with [`FILE_COST`] on top.
const NAMES_LIMIT: usize = 1 << 30;

/// What a file takes in memory beside its name, in bytes, roughly.
const FILE_COST: usize = 320;

/// What it costs to open a file, in bytes that could be read meanwhile.
const READ_COST: u64 = 4096;

/// From how many bytes on it matters whether they are read twice.
const MUCH: u64 = 1 << 20;

/// Extended attributes a user can set; others belong to the machine.
const USER_XATTRS: &[u8] = b"user.";

/// File systems whose files may change without a new time by this machine's clock: statfs(2) knows them by these numbers.
const REMOTE: [u64; 7] = [
    0x6969,      // NFS
    0xff53_4d42, // CIFS
    0xfe53_4d42, // SMB2
    0x6573_5546, // FUSE
    0x0102_1997, // 9p
    0x00c3_6400, // Ceph
    0x5346_414f, // AFS
];

/// A folder that others may change while it is read. Each directory is listed once, when it is first asked for, and files
/// are what they were then: one that is another by the time its bytes were read is an error. The kernel walks every path
/// from the folder's descriptor down, through real directories only.
///
/// Of extended attributes those of users are seen. Sockets are seen as empty files (dockerfile contract 7.11).
pub struct FolderView {
    root: OwnedFd,
    root_node: Node,
    prints: Arc<Fingerprints>,
    listings: Mutex<HashMap<ImagePath, Option<Arc<Listing>>>>,
    /// The directory in which a file was opened last.
    near: Mutex<Option<(ImagePath, Arc<OwnedFd>)>>,
    /// Whether files of a device can be known again by their times.
    devices: Mutex<HashMap<u64, bool>>,
    cost: AtomicUsize,
    /// The weight of all regular files met, and of those whose digests nobody knows.
    met: AtomicU64,
    unread: AtomicU64,
}

/// The files of a directory by name.
#[derive(Debug, Default)]
struct Listing {
    entries: Vec<Entry>,
    /// When it was begun.
    seen: Mtime,
    /// Whether its files can be known again by their times.
    remembers: bool,
}

#[derive(Debug)]
struct Entry {
    name: Vec<u8>,
    node: Node,
    identity: Identity,
    /// Whether it is known to have no extended attributes.
    plain: bool,
    /// The digest of its bytes, once somebody read them.
    learned: OnceLock<Digest>,
}

impl Entry {
    fn node(&self) -> Node {
        let mut node = self.node.clone();
        node.content = node.content.or_else(|| self.learned.get().copied());
        node
    }

    /// What it costs to read it, in bytes.
    fn weight(&self) -> u64 {
        self.node.meta.size() + READ_COST
    }
}

impl Listing {
    fn get(&self, name: &[u8]) -> Option<&Entry> {
        let at = self
            .entries
            .binary_search_by(|entry| entry.name.as_slice().cmp(name));
        at.ok().map(|at| &self.entries[at])
    }
}

/// A directory, a name in it, and the directory's path.
type Place<'p> = (Arc<Listing>, &'p [u8], ImagePath);

impl FolderView {
    /// Views the directory `root` is open at. Files that `prints` know need not be read to know their digests, and what
    /// is learned of others goes there.
    pub fn new(root: OwnedFd, prints: Arc<Fingerprints>) -> Result<Self, Error> {
        let stat = rustix::fs::statx(&root, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)
            .map_err(failed("look at", &ImagePath::root()))?;
        let mtime = Identity::of(&stat).mtime;
        Ok(Self {
            root,
            root_node: Node {
                meta: Meta::directory(u32::from(stat.stx_mode) & 0o7777, mtime),
                link: None,
                content: None,
            },
            prints,
            listings: Mutex::default(),
            near: Mutex::default(),
            devices: Mutex::default(),
            cost: AtomicUsize::new(0),
            met: AtomicU64::new(0),
            unread: AtomicU64::new(0),
        })
    }

    /// The directory `path` as it was when it was first asked for; `None` if it is none.
    fn listing(&self, path: &ImagePath) -> Result<Option<Arc<Listing>>, Error> {
        let held = lock(&self.listings).get(path).cloned();
        if let Some(listing) = held {
            return Ok(listing);
        }
        let is_directory = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => self
                .listing(&parent)?
                .and_then(|listing| listing.get(name).map(|entry| entry.node.meta.is_directory()))
                .unwrap_or(false),
            _ => true,
        };
        let listing = match is_directory {
            true => Some(Arc::new(self.list(path)?)),
            false => None,
        };
        // whoever was first decides what the directory holds
        Ok(lock(&self.listings)
            .entry(path.clone())
            .or_insert(listing)
            .clone())
    }

    fn list(&self, path: &ImagePath) -> Result<Listing, Error> {
        let dir = self
            .open_directory(path)
            .map_err(|errno| self.changed_or(errno, "open", path))?;
        let seen = now();
        let remembers = self.remembers(&dir, path)?;
        let mut listing = Listing {
            entries: Vec::new(),
            seen,
            remembers,
        };
        let entries = rustix::fs::Dir::read_from(&dir).map_err(failed("list", path))?;
        for entry in entries {
            let entry = entry.map_err(failed("list", path))?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
            let stat = match rustix::fs::statx(&dir, name, flags, StatxFlags::BASIC_STATS) {
                Ok(stat) => stat,
                // it was removed after it was listed
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(failed("look at", &path.join(name.to_bytes()))(errno)),
            };
            self.charge(name.to_bytes().len(), path)?;
            let look = scan::Look {
                dir: dir.as_fd(),
                name,
                stat: &stat,
                prints: remembers.then_some(&self.prints),
            };
            let found = look
                .entry()
                .map_err(failed("read", &path.join(name.to_bytes())))?;
            if let Some((entry, known)) = found {
                let learned = Known {
                    plain: entry.plain,
                    ..known
                };
                if remembers && learned != known {
                    self.prints.learn(&entry.identity, learned, seen);
                }
                if entry.node.meta.size() > 0 {
                    self.met.fetch_add(entry.weight(), Ordering::Relaxed);
                    if entry.node.content.is_none() {
                        self.unread.fetch_add(entry.weight(), Ordering::Relaxed);
                    }
                }
                listing.entries.push(entry);
            }
        }
        listing.entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(listing)
    }

    /// Opens a directory, walking from the root.
    fn open_directory(&self, path: &ImagePath) -> rustix::io::Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        loop {
            match rustix::fs::openat2(&self.root, path.as_path(), flags, Mode::empty(), resolve) {
                // something was renamed meanwhile: openat2(2) asks to try again
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
    }

    /// The directory `path`, opened anew only if it is not the one of the last file.
    fn directory(&self, path: &ImagePath) -> rustix::io::Result<Arc<OwnedFd>> {
        let near = lock(&self.near).clone();
        if let Some((_, dir)) = near.filter(|(near, _)| near == path) {
            return Ok(dir);
        }
        let dir = Arc::new(self.open_directory(path)?);
        *lock(&self.near) = Some((path.clone(), dir.clone()));
        Ok(dir)
    }

    fn remembers(&self, dir: &OwnedFd, path: &ImagePath) -> Result<bool, Error> {
        let stat = rustix::fs::fstat(dir).map_err(failed("look at", path))?;
        if let Some(known) = lock(&self.devices).get(&stat.st_dev) {
            return Ok(*known);
        }
        let system = rustix::fs::fstatfs(dir).map_err(failed("look at", path))?;
        // the kernel's numbers are of 32 bits, however wide the field is
        let number = u64::try_from(system.f_type).unwrap_or_default() & 0xffff_ffff;
        let known = !REMOTE.contains(&number);
        lock(&self.devices).insert(stat.st_dev, known);
        Ok(known)
    }

    fn charge(&self, name: usize, path: &ImagePath) -> Result<(), Error> {
        let cost = self.cost.fetch_add(name + FILE_COST, Ordering::Relaxed);
        if cost > NAMES_LIMIT {
            return Err(Error::Limit {
                what: format!("memory for the names in {path}"),
                limit: NAMES_LIMIT as u64,
            });
        }
        Ok(())
    }

    /// The listing a file is in, with its name.
    fn place<'p>(&self, path: &'p ImagePath) -> Result<Option<Place<'p>>, Error> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(None);
        };
        Ok(self.listing(&parent)?.map(|listing| (listing, name, parent)))
    }

    /// What cannot be opened as what it was listed as has changed.
    fn changed_or(&self, errno: Errno, action: &str, path: &ImagePath) -> Error {
        match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::NXIO => changed(path),
            errno => failed(action, path)(errno),
        }
    }
}

impl LayerView for FolderView {
    fn find(&self, path: &ImagePath) -> Result<Finding, Error> {
        let node = |node: Node| Finding::Node { node, opaque: false };
        if path.is_root() {
            return Ok(node(self.root_node.clone()));
        }
        if let Some((listing, name, _)) = self.place(path)? {
            return Ok(listing
                .get(name)
                .map_or(Finding::Silent, |entry| node(entry.node())));
        }
        // no directory above: either there is nothing, or something else stands in the way
        for above in path.ancestors() {
            if let Some((listing, name, _)) = self.place(&above)? {
                match listing.get(name) {
                    Some(entry) if entry.node.meta.is_directory() => {}
                    Some(_) => return Ok(Finding::Whiteout),
                    None => return Ok(Finding::Silent),
                }
            }
        }
        Ok(Finding::Silent)
    }

    fn names(&self, path: &ImagePath) -> Result<Vec<Name>, Error> {
        let Some(listing) = self.listing(path)? else {
            return Ok(Vec::new());
        };
        let name = |entry: &Entry| Name {
            name: entry.name.clone(),
            whiteout: false,
        };
        Ok(listing.entries.iter().map(name).collect())
    }

    fn files(&self, path: &ImagePath) -> Result<Option<Files>, Error> {
        let Some(listing) = self.listing(path)? else {
            return Ok(Some(Vec::new()));
        };
        let file = |entry: &Entry| (entry.name.clone(), entry.node());
        Ok(Some(listing.entries.iter().map(file).collect()))
    }

    fn open(&self, path: &ImagePath) -> Result<Content, Error> {
        let place = self.place(path)?;
        let found = place
            .as_ref()
            .and_then(|(listing, name, parent)| Some((listing.get(name)?, parent)));
        let Some((entry, parent)) =
            found.filter(|(entry, _)| matches!(entry.node.meta.kind, Kind::File { .. }))
        else {
            return Err(Error::Path {
                path: path.clone(),
                reason: "not a regular file".to_owned(),
            });
        };
        let size = entry.node.meta.size();
        if size == 0 {
            return Ok(Content::Bytes(Arc::new([])));
        }
        // a pipe that took the file's place is not waited for
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = self
            .directory(parent)
            .and_then(|dir| rustix::fs::openat(dir, entry.name.as_slice(), flags, Mode::empty()))
            .map_err(|errno| self.changed_or(errno, "open", path))?;
        let stat = rustix::fs::statx(&fd, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)
            .map_err(failed("look at", path))?;
        if Identity::of(&stat) != entry.identity {
            return Err(changed(path));
        }
        Ok(Content::Range {
            file: Arc::new(fs_err::File::from_parts(
                File::from(fd),
                path.as_path().to_owned(),
            )),
            offset: 0,
            len: size,
        })
    }

    fn prepare(&self, start: &ImagePath, enters: &Enters<'_>) -> Result<(), Error> {
        scan::ahead(start, &|directory| {
            let listing = self.listing(directory)?;
            let mut below = Vec::new();
            for entry in listing.iter().flat_map(|listing| &listing.entries) {
                if entry.node.meta.is_directory() {
                    let path = directory.join(&entry.name);
                    if enters(&path) {
                        below.push(path);
                    }
                }
            }
            Ok(below)
        })
    }

    fn is_unread(&self) -> bool {
        let (met, unread) = (
            self.met.load(Ordering::Relaxed),
            self.unread.load(Ordering::Relaxed),
        );
        unread >= MUCH && unread > met / 2
    }

    fn was_read(&self, path: &ImagePath, digest: Option<&Digest>) -> Result<(), Error> {
        let Some((listing, name, parent)) = self.place(path)? else {
            return Ok(());
        };
        let Some(entry) = listing.get(name) else {
            return Ok(());
        };
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let stat = self
            .directory(&parent)
            .and_then(|dir| rustix::fs::statx(dir, name, flags, StatxFlags::BASIC_STATS))
            .map_err(|errno| self.changed_or(errno, "look at", path))?;
        if Identity::of(&stat) != entry.identity {
            return Err(changed(path));
        }
        let Some(digest) = digest else {
            return Ok(());
        };
        if entry.node.content.is_none() && entry.learned.set(*digest).is_ok() {
            self.unread.fetch_sub(entry.weight(), Ordering::Relaxed);
        }
        if listing.remembers {
            let known = Known {
                digest: Some(*digest),
                plain: entry.plain,
            };
            self.prints.learn(&entry.identity, known, listing.seen);
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed<E: Into<io::Error>>(action: &str, path: &ImagePath) -> impl FnOnce(E) -> Error {
    let action = format!("cannot {action} {path} in the folder");
    move |error| Error::io(action)(error.into())
}

fn changed(path: &ImagePath) -> Error {
    Error::Path {
        path: path.clone(),
        reason: "changed while it was read".to_owned(),
    }
}
