//! A disk as POSIX leaves it to the file system: what is durable, what is not yet, and what a power cut may make of it.
//!
//! The rules. Bytes of a file are durable after a sync of that file, names after a sync of a folder they stand in, both after a
//! sync of everything. Until then each change may be there or not, whatever became of those before it; of a write some
//! sectors may be there and the others not, or zeros. One thing only is taken for granted, as every file system with a log keeps
//! to it: a rename is there as a whole or not at all, and what is durable of a name is not undone by older changes of that name.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::journal::{Attributes, Op};
use crate::random::Random;

/// What the sectors of a disk are in bytes: a write is torn between two of them.
const SECTOR: usize = 512;

type Number = usize;
type Names = BTreeMap<OsString, Number>;

#[derive(Clone)]
enum Kind {
    File,
    Folder,
    Symlink(Vec<u8>),
    Node(rustix::fs::FileType, rustix::fs::Dev),
}

#[derive(Clone)]
enum Change {
    Write(u64, Arc<[u8]>),
    Cut(u64),
    Attributes(Attributes),
}

#[derive(Clone)]
struct Inode {
    kind: Kind,
    /// Of a folder: what stands in it now, and for sure.
    now: Names,
    sure: Names,
    /// Of a file: its durable bytes, and the changes since.
    bytes: Arc<Vec<u8>>,
    changes: Vec<Change>,
    attributes: Option<Attributes>,
}

/// A change of names: folder, name, what it leads to then.
type Renaming = Vec<(Number, OsString, Option<Number>)>;

/// The disk at one moment.
pub(crate) struct Disk {
    inodes: Vec<Inode>,
    renamings: Vec<Renaming>,
}

/// How much of the ballast is there after a power cut at most, in bytes.
const BALLAST: u64 = 4096;

/// What a power cut makes of what is not durable.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cut {
    /// All of it is there. As after a kill, too.
    Nothing,
    /// None of it is there.
    Everything,
    /// All names are there, none of the bytes: files are as long as was durable, new ones are empty.
    Bytes,
    /// All names are there, and files have their length, but zeros in them.
    Zeros,
    /// All bytes are there, but no names.
    Names,
    /// Each change may be there or not; writes may be torn.
    Random(u64),
}

/// What is found after a cut.
pub(crate) enum Found {
    File(Arc<Vec<u8>>),
    Folder,
    Symlink(Vec<u8>),
    Node(rustix::fs::FileType, rustix::fs::Dev),
    /// Another name of this file.
    Same(PathBuf),
}

impl Disk {
    /// An empty disk: the folder that the store is going to lie in.
    pub(crate) fn new() -> Self {
        let mut disk = Self {
            inodes: Vec::new(),
            renamings: Vec::new(),
        };
        disk.inode(Kind::Folder);
        disk
    }

    fn inode(&mut self, kind: Kind) -> Number {
        self.inodes.push(Inode {
            kind,
            now: Names::new(),
            sure: Names::new(),
            bytes: Arc::default(),
            changes: Vec::new(),
            attributes: None,
        });
        self.inodes.len() - 1
    }

    fn find(&self, path: &Path) -> Option<Number> {
        path.components().try_fold(0, |at, part| match part {
            Component::Normal(name) => self.inodes[at].now.get(name).copied(),
            _ => Some(at),
        })
    }

    fn place(&self, path: &Path) -> (Number, OsString) {
        let above = self
            .find(path.parent().unwrap())
            .unwrap_or_else(|| panic!("{path:?} is nowhere"));
        (above, path.file_name().unwrap().to_owned())
    }

    fn change_names(&mut self, renaming: Renaming) {
        for (folder, name, to) in &renaming {
            set(&mut self.inodes[*folder].now, name, *to);
        }
        self.renamings.push(renaming);
    }

    fn make(&mut self, path: &Path, kind: Kind) -> Number {
        if let Some(there) = self.find(path) {
            return there;
        }
        let (folder, name) = self.place(path);
        let number = self.inode(kind);
        self.change_names(vec![(folder, name, Some(number))]);
        number
    }

    /// Does what was done; paths are below the folder `root`.
    pub(crate) fn apply(&mut self, root: &Path, op: &Op) {
        let below = |path: &Path| path.strip_prefix(root).unwrap_or(Path::new("")).to_owned();
        match op {
            Op::Create(path) => _ = self.make(&below(path), Kind::File),
            Op::CreateEmpty(path) => {
                let file = self.make(&below(path), Kind::File);
                self.inodes[file].changes.push(Change::Cut(0));
            }
            Op::Folder(path) => _ = self.make(&below(path), Kind::Folder),
            Op::Symlink(path, target) => _ = self.make(&below(path), Kind::Symlink(target.clone())),
            Op::Node(path, kind, numbers) => _ = self.make(&below(path), Kind::Node(*kind, *numbers)),
            Op::Write(path, at, bytes) => self.change(&below(path), Change::Write(*at, bytes.clone())),
            // nobody reads it, and its zeros would be compared and written thousands of times
            Op::Cut(path, length) if path.ends_with("mica/ballast") => {
                self.change(&below(path), Change::Cut((*length).min(BALLAST)));
            }
            Op::Cut(path, length) => self.change(&below(path), Change::Cut(*length)),
            Op::Rename(from, to) => {
                let (from, to) = (below(from), below(to));
                let number = self.find(&from).unwrap_or_else(|| panic!("{from:?} is renamed"));
                let ((folder, name), (other, new)) = (self.place(&from), self.place(&to));
                self.change_names(vec![(folder, name, None), (other, new, Some(number))]);
            }
            Op::Link(from, to) => {
                let number = self.find(&below(from)).unwrap();
                let (folder, name) = self.place(&below(to));
                self.change_names(vec![(folder, name, Some(number))]);
            }
            Op::Remove(path) => {
                let (folder, name) = self.place(&below(path));
                self.change_names(vec![(folder, name, None)]);
            }
            Op::Attributes(path, attributes) => self.change(&below(path), Change::Attributes(*attributes)),
            Op::Sync(path) => self.sync(&below(path)),
            Op::SyncAll => {
                for number in 0..self.inodes.len() {
                    self.sync_bytes(number);
                }
                for renaming in std::mem::take(&mut self.renamings) {
                    self.settle(&renaming);
                }
            }
            Op::Lost(path) => self.lose(&below(path)),
        }
    }

    /// Files that are open without a name are of no interest.
    fn change(&mut self, path: &Path, change: Change) {
        if let Some(file) = self.find(path) {
            self.inodes[file].changes.push(change);
        }
    }

    fn sync(&mut self, path: &Path) {
        let Some(number) = self.find(path) else { return };
        self.sync_bytes(number);
        if !matches!(self.inodes[number].kind, Kind::Folder) {
            return;
        }
        // with all older changes of the names that become durable
        let mut names: Vec<(Number, OsString)> = Vec::new();
        let mut sure = Vec::new();
        let mut rest = Vec::new();
        for renaming in std::mem::take(&mut self.renamings).into_iter().rev() {
            let mut own = renaming.iter().map(|(folder, name, _)| (*folder, name.clone()));
            if own
                .clone()
                .any(|(folder, name)| folder == number || names.contains(&(folder, name)))
            {
                names.extend(&mut own);
                sure.push(renaming);
            } else {
                rest.push(renaming);
            }
        }
        self.renamings = rest.into_iter().rev().collect();
        for renaming in sure.iter().rev() {
            self.settle(renaming);
        }
    }

    fn settle(&mut self, renaming: &Renaming) {
        for (folder, name, to) in renaming {
            set(&mut self.inodes[*folder].sure, name, *to);
        }
    }

    fn sync_bytes(&mut self, number: Number) {
        let changes = std::mem::take(&mut self.inodes[number].changes);
        if !changes.is_empty() {
            let mut bytes = self.inodes[number].bytes.to_vec();
            for change in &changes {
                carry_out(&mut bytes, change, |bytes, to| bytes.copy_from_slice(to));
            }
            self.inodes[number].bytes = Arc::new(bytes);
            self.inodes[number].attributes = attributes_after(&changes).or(self.inodes[number].attributes);
        }
    }

    /// The kernel told of an error once, drops what it could not write, and calls the pages clean: they read as written until
    /// the power is cut.
    fn lose(&mut self, path: &Path) {
        let Some(number) = self.find(path) else { return };
        let file = &mut self.inodes[number];
        let mut bytes = file.bytes.to_vec();
        for change in std::mem::take(&mut file.changes) {
            carry_out(&mut bytes, &change, |bytes, _| bytes.fill(0));
        }
        file.bytes = Arc::new(bytes);
    }

    /// What is found when the power comes back.
    pub(crate) fn after(&self, cut: Cut) -> Vec<(PathBuf, Found, Option<Attributes>)> {
        let mut random = Random::new(match cut {
            Cut::Random(seed) => seed,
            _ => 0,
        });
        let mut names: BTreeMap<Number, Names> = BTreeMap::new();
        for (number, inode) in self.inodes.iter().enumerate() {
            if matches!(inode.kind, Kind::Folder) {
                names.insert(number, inode.sure.clone());
            }
        }
        for renaming in &self.renamings {
            let kept = match cut {
                Cut::Nothing | Cut::Bytes | Cut::Zeros => true,
                Cut::Everything | Cut::Names => false,
                Cut::Random(_) => random.below(2) == 0,
            };
            for (folder, name, to) in renaming.iter().filter(|_| kept) {
                set(names.entry(*folder).or_default(), name, *to);
            }
        }
        let mut found = Vec::new();
        let mut seen = BTreeMap::new();
        self.list(0, Path::new(""), &names, &mut seen, &mut |number, path, first| {
            let inode = &self.inodes[number];
            let what = match (&inode.kind, first) {
                (Kind::Folder, _) => Found::Folder,
                (_, Some(first)) => Found::Same(first),
                (Kind::File, None) => Found::File(bytes_after(inode, cut, &mut random)),
                (Kind::Symlink(target), None) => Found::Symlink(target.clone()),
                (Kind::Node(kind, numbers), None) => Found::Node(*kind, *numbers),
            };
            let kept = match cut {
                Cut::Everything | Cut::Bytes | Cut::Zeros => None,
                Cut::Nothing | Cut::Names | Cut::Random(_) => attributes_after(&inode.changes),
            };
            found.push((path, what, kept.or(inode.attributes)));
        });
        found
    }

    fn list(
        &self,
        folder: Number,
        above: &Path,
        names: &BTreeMap<Number, Names>,
        seen: &mut BTreeMap<Number, PathBuf>,
        on: &mut dyn FnMut(Number, PathBuf, Option<PathBuf>),
    ) {
        for (name, number) in names.get(&folder).into_iter().flatten() {
            let path = above.join(name);
            let first = seen.get(number).cloned();
            let is_folder = matches!(self.inodes[*number].kind, Kind::Folder);
            if is_folder && first.is_some() {
                // no file system has a folder in two places
                continue;
            }
            seen.entry(*number).or_insert_with(|| path.clone());
            on(*number, path.clone(), first);
            if is_folder {
                self.list(*number, &path, names, seen, on);
            }
        }
    }
}

fn set(names: &mut Names, name: &OsString, to: Option<Number>) {
    match to {
        Some(number) => _ = names.insert(name.clone(), number),
        None => _ = names.remove(name),
    }
}

fn carry_out(bytes: &mut Vec<u8>, change: &Change, put: impl FnOnce(&mut [u8], &[u8])) {
    match change {
        Change::Write(at, new) => {
            let (at, end) = (*at as usize, *at as usize + new.len());
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            put(&mut bytes[at..end], new);
        }
        Change::Cut(length) => bytes.resize(*length as usize, 0),
        Change::Attributes(_) => {}
    }
}

fn attributes_after(changes: &[Change]) -> Option<Attributes> {
    changes.iter().rev().find_map(|change| match change {
        Change::Attributes(attributes) => Some(*attributes),
        _ => None,
    })
}

fn bytes_after(inode: &Inode, cut: Cut, random: &mut Random) -> Arc<Vec<u8>> {
    if inode.changes.is_empty() || matches!(cut, Cut::Everything | Cut::Bytes) {
        return inode.bytes.clone();
    }
    let mut bytes = inode.bytes.to_vec();
    for change in &inode.changes {
        match cut {
            Cut::Zeros => carry_out(&mut bytes, change, |_, _| {}),
            Cut::Random(_) => match random.below(4) {
                0 => {}
                1 => carry_out(&mut bytes, change, |bytes, new| tear(bytes, new, random)),
                _ => carry_out(&mut bytes, change, |bytes, new| bytes.copy_from_slice(new)),
            },
            _ => carry_out(&mut bytes, change, |bytes, new| bytes.copy_from_slice(new)),
        }
    }
    Arc::new(bytes)
}

/// Some sectors are written, some are not, some are zeros.
fn tear(bytes: &mut [u8], new: &[u8], random: &mut Random) {
    for (old, new) in bytes.chunks_mut(SECTOR).zip(new.chunks(SECTOR)) {
        match random.below(3) {
            0 => old.copy_from_slice(new),
            1 => old.fill(0),
            _ => {}
        }
    }
}

/// What tells one outcome from another.
pub(crate) fn fingerprint(found: &[(PathBuf, Found, Option<Attributes>)]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (path, what, attributes) in found {
        (path, attributes).hash(&mut hasher);
        match what {
            Found::File(bytes) => bytes.hash(&mut hasher),
            Found::Folder => 1_u8.hash(&mut hasher),
            Found::Symlink(target) => target.hash(&mut hasher),
            Found::Node(_, numbers) => numbers.hash(&mut hasher),
            Found::Same(first) => first.hash(&mut hasher),
        }
    }
    hasher.finish()
}

/// Puts what was found into the empty folder `root`.
pub(crate) fn put_back(root: &Path, found: &[(PathBuf, Found, Option<Attributes>)]) {
    use std::os::unix::fs::symlink;
    for (path, what, _) in found {
        let path = root.join(path);
        match what {
            Found::File(bytes) => std::fs::write(&path, &bytes[..]).unwrap(),
            Found::Folder => std::fs::create_dir(&path).unwrap(),
            Found::Symlink(target) => {
                symlink(std::ffi::OsStr::new(std::str::from_utf8(target).unwrap()), &path).unwrap();
            }
            Found::Node(kind, numbers) => {
                rustix::fs::mknodat(rustix::fs::CWD, &path, *kind, rustix::fs::Mode::RUSR, *numbers).unwrap();
            }
            Found::Same(first) => std::fs::hard_link(root.join(first), &path).unwrap(),
        }
    }
    // what is in a folder changes its time
    for (path, what, attributes) in found.iter().rev() {
        if let Some(attributes) = attributes {
            dress(&root.join(path), matches!(what, Found::Symlink(_)), attributes);
        }
    }
}

fn dress(path: &Path, is_link: bool, attributes: &Attributes) {
    use rustix::fs::{AtFlags, CWD, Gid, Mode, Timespec, Timestamps, Uid};
    let (uid, gid) = (
        Uid::from_raw(attributes.owner.0),
        Gid::from_raw(attributes.owner.1),
    );
    rustix::fs::chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).unwrap();
    if !is_link {
        rustix::fs::chmod(path, Mode::from_raw_mode(attributes.mode)).unwrap();
    }
    let time = Timespec {
        tv_sec: attributes.time.0,
        tv_nsec: attributes.time.1,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}
