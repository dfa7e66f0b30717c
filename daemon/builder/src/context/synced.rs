//! A folder of a client's, known by what the client tells of it; the bytes of a file come when they are wanted.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fs_err::{File, OpenOptions};
use mica_layer::{
    Content, Enters, Error as LayerError, Files, Finding, Fingerprints, Identity, ImagePath, Kind, Known,
    LayerView, LinkKey, Meta, Mtime, Name, Node,
};
use mica_oci::{Digest, Hasher};
use mica_store::{Lease, Store, WorkDir};

use crate::error::Error;
use crate::input::{ClientFile, ClientFolder, FileSender};

/// How many files a client may tell of.
const MAX_FILES: usize = 4_000_000;
/// How many files are asked for at once.
const AHEAD: usize = 1024;
/// How much is asked for before it is wanted, in bytes.
const AHEAD_BYTES: u64 = 4 << 20;
/// The longest path and the longest target of a link, in bytes: no system opens a longer one (`PATH_MAX`).
const PATH_LIMIT: usize = 4095;
/// How much of a path is shown where it is refused, in bytes.
const SHOWN: usize = 255;

/// The view of a client's folder.
pub(crate) struct SyncedView {
    files: BTreeMap<ImagePath, Told>,
    /// What lies directly in each directory that is not empty.
    names: HashMap<ImagePath, Vec<ImagePath>>,
    sender: Mutex<Box<dyn FileSender>>,
    spool: Mutex<Spool>,
    /// Which file was opened last.
    opened: Mutex<Option<ImagePath>>,
    file: Arc<File>,
    prints: Arc<Fingerprints>,
    seen: Mtime,
    _work: WorkDir,
}

/// A file that the client told of.
struct Told {
    node: Node,
    /// Its number, or that of the file it is another name of.
    number: u32,
    identity: Identity,
}

/// What came so far.
#[derive(Default)]
struct Spool {
    /// Where in the scratch file the bytes of each file lie, and their digest.
    came: HashMap<u32, (u64, Digest)>,
    end: u64,
}

/// A file that is coming.
struct Coming {
    at: u64,
    size: u64,
    got: u64,
    hasher: Hasher,
}

impl SyncedView {
    /// The folder with the files it was told to have.
    pub(crate) fn new(
        folder: ClientFolder,
        prints: Arc<Fingerprints>,
        store: &Store,
        lease: &Lease,
    ) -> Result<Self, Error> {
        let work = store.work(lease)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(work.path().join("context"))
            .map_err(Error::ContextIo)?;
        let files = told(folder.files, &prints)?;
        let mut names: HashMap<ImagePath, Vec<ImagePath>> = HashMap::new();
        for path in files.keys() {
            if let Some(parent) = path.parent() {
                names.entry(parent).or_default().push(path.clone());
            }
        }
        Ok(Self {
            files,
            names,
            sender: Mutex::new(folder.sender),
            spool: Mutex::default(),
            opened: Mutex::default(),
            file: Arc::new(file),
            prints,
            seen: now(),
            _work: work,
        })
    }

    fn told(&self, path: &ImagePath) -> Option<&Told> {
        self.files.get(path)
    }

    /// What lies directly in a directory.
    fn children(&self, directory: &ImagePath) -> impl Iterator<Item = (&ImagePath, &Told)> {
        let names = self.names.get(directory).map(Vec::as_slice);
        let paths = names.unwrap_or_default().iter();
        paths.filter_map(|path| self.files.get_key_value(path))
    }

    fn node(&self, told: &Told) -> Node {
        let mut node = told.node.clone();
        if node.content.is_none() {
            node.content = lock(&self.spool)
                .came
                .get(&told.number)
                .map(|(_, digest)| *digest);
        }
        node
    }

    /// The regular files from a path on, in their order.
    fn regular(&self, start: Bound<&ImagePath>) -> impl Iterator<Item = (&ImagePath, &Told)> {
        let files = self.files.range::<ImagePath, _>((start, Bound::Unbounded));
        files.filter(|(_, told)| matches!(told.node.meta.kind, Kind::File { .. }))
    }

    /// A file that is opened, and if it is the next after the one before also those behind it: whoever copies a folder goes
    /// on like that, and each of them alone would cost a way there and back.
    fn along<'v>(&'v self, path: &'v ImagePath, told: &'v Told) -> Vec<(&'v ImagePath, &'v Told)> {
        let before = lock(&self.opened).replace(path.clone());
        let next = before.and_then(|before| {
            let mut behind = self.regular(Bound::Excluded(&before));
            behind.next().map(|(next, _)| next)
        });
        if next != Some(path) || lock(&self.spool).came.contains_key(&told.number) {
            return vec![(path, told)];
        }
        let mut bytes = 0;
        self.regular(Bound::Included(path))
            .take(AHEAD)
            .take_while(|(_, told)| {
                let is_first = bytes == 0;
                bytes += told.node.meta.size();
                is_first || bytes <= AHEAD_BYTES
            })
            .collect()
    }

    /// Gets the bytes of files that are not here yet.
    fn fetch(&self, wanted: &[(&ImagePath, &Told)]) -> Result<(), LayerError> {
        for wanted in wanted.chunks(AHEAD) {
            // one exchange with the client at a time: the others find here what this one brought
            let mut sender = lock(&self.sender);
            let mut coming: HashMap<u32, Coming> = HashMap::new();
            {
                let mut spool = lock(&self.spool);
                for (path, told) in wanted {
                    if spool.came.contains_key(&told.number) || coming.contains_key(&told.number) {
                        continue;
                    }
                    let size = told.node.meta.size();
                    let one = Coming {
                        at: spool.end,
                        size,
                        got: 0,
                        hasher: Hasher::new(),
                    };
                    // a client may tell of any sizes; no file is longer than a signed number says
                    spool.end = spool
                        .end
                        .checked_add(size)
                        .filter(|end| i64::try_from(*end).is_ok())
                        .ok_or_else(|| LayerError::Path {
                            path: (*path).clone(),
                            reason: format!("a context cannot have a file of {size} bytes"),
                        })?;
                    coming.insert(told.number, one);
                }
            }
            if coming.is_empty() {
                continue;
            }
            let numbers: Vec<u32> = coming.keys().copied().collect();
            let received = sender.send(&numbers, &mut |number, bytes| {
                self.receive(&mut coming, number, bytes)
            });
            drop(sender);
            received.map_err(LayerError::io("receive files of the context"))?;
            self.learn(wanted);
        }
        Ok(())
    }

    /// Takes bytes of a file; none are its end.
    fn receive(&self, coming: &mut HashMap<u32, Coming>, number: u32, bytes: &[u8]) -> io::Result<()> {
        let bad = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text.to_owned());
        let one = coming
            .get_mut(&number)
            .ok_or_else(|| bad("the client sends a file that was not asked for"))?;
        if !bytes.is_empty() {
            if one.got + bytes.len() as u64 > one.size {
                return Err(bad("the file grew while it was read"));
            }
            one.hasher.update(bytes);
            self.file.file().write_all_at(bytes, one.at + one.got)?;
            one.got += bytes.len() as u64;
            return Ok(());
        }
        if one.got != one.size {
            return Err(bad("the file shrank while it was read"));
        }
        if let Some(done) = coming.remove(&number) {
            lock(&self.spool)
                .came
                .insert(number, (done.at, done.hasher.finish()));
        }
        Ok(())
    }

    fn learn(&self, files: &[(&ImagePath, &Told)]) {
        let spool = lock(&self.spool);
        for (_, told) in files {
            if let Some((_, digest)) = spool.came.get(&told.number) {
                let known = Known {
                    digest: Some(*digest),
                    plain: true,
                };
                self.prints.learn(&told.identity, known, self.seen);
            }
        }
    }
}

impl LayerView for SyncedView {
    fn find(&self, path: &ImagePath) -> Result<Finding, LayerError> {
        Ok(match self.told(path) {
            Some(told) => Finding::Node {
                node: self.node(told),
                opaque: false,
            },
            None => Finding::Silent,
        })
    }

    fn names(&self, path: &ImagePath) -> Result<Vec<Name>, LayerError> {
        Ok(self
            .children(path)
            .filter_map(|(path, _)| {
                Some(Name {
                    name: path.file_name()?.to_vec(),
                    whiteout: false,
                })
            })
            .collect())
    }

    fn files(&self, path: &ImagePath) -> Result<Option<Files>, LayerError> {
        let files = self.children(path);
        Ok(Some(
            files
                .filter_map(|(path, told)| Some((path.file_name()?.to_vec(), self.node(told))))
                .collect(),
        ))
    }

    fn open(&self, path: &ImagePath) -> Result<Content, LayerError> {
        let told = self
            .told(path)
            .filter(|told| matches!(told.node.meta.kind, Kind::File { .. }));
        let Some(told) = told else {
            return Err(LayerError::Path {
                path: path.clone(),
                reason: "not a regular file".to_owned(),
            });
        };
        self.fetch(&self.along(path, told))?;
        let place = lock(&self.spool).came.get(&told.number).map(|(at, _)| *at);
        let offset = place.ok_or_else(|| LayerError::Path {
            path: path.clone(),
            reason: "the client did not send it".to_owned(),
        })?;
        Ok(Content::Range {
            file: self.file.clone(),
            offset,
            len: told.node.meta.size(),
        })
    }

    /// Asks for all at once whose digest nobody knows: one by one each would cost a way there and back.
    fn prepare(&self, start: &ImagePath, enters: &Enters<'_>) -> Result<(), LayerError> {
        let below = self
            .files
            .range(start.clone()..)
            .take_while(|(path, _)| path.starts_with(start));
        let wanted: Vec<(&ImagePath, &Told)> = below
            .filter(|(path, told)| {
                let is_file = matches!(told.node.meta.kind, Kind::File { .. });
                is_file
                    && self.node(told).content.is_none()
                    && path
                        .ancestors()
                        .filter(|above| above.starts_with(start) && above != start)
                        .all(|above| enters(&above))
            })
            .collect();
        self.fetch(&wanted)
    }
}

/// The files by path. A client may tell anything: what is told of a directory that is none, or twice, is refused.
fn told(files: Vec<ClientFile>, prints: &Fingerprints) -> Result<BTreeMap<ImagePath, Told>, Error> {
    let bad = |file: &ClientFile, reason: &str| {
        Error::Context(LayerError::Path {
            path: ImagePath::clamped(&file.path[..file.path.len().min(SHOWN)]),
            reason: reason.to_owned(),
        })
    };
    let mut found: BTreeMap<ImagePath, Told> = BTreeMap::new();
    let root = Meta::directory(0o755, Mtime::default());
    found.insert(ImagePath::root(), told_of(&ImagePath::root(), root, 0));
    for file in files {
        if found.len() > MAX_FILES {
            return Err(bad(&file, "a context cannot have so many files"));
        }
        let target = match &file.meta.kind {
            Kind::Symlink { target } => target.len(),
            _ => 0,
        };
        if file.path.len().max(target) > PATH_LIMIT {
            return Err(bad(&file, "it is longer than any system can open"));
        }
        let path = ImagePath::strict(&file.path)
            .filter(|path| !path.is_root())
            .ok_or_else(|| bad(&file, "not a path in a context"))?;
        let parent = path.parent().and_then(|parent| found.get(&parent));
        if !parent.is_some_and(|parent| parent.node.meta.is_directory()) {
            return Err(bad(&file, "it is not in a directory of the context"));
        }
        let mut told = told_of(&path, file.meta.clone(), file.number);
        if let Some(first) = &file.link {
            let first = ImagePath::strict(first).and_then(|first| found.get_mut(&first));
            let first = first.filter(|first| matches!(first.node.meta.kind, Kind::File { .. }));
            let first = first.ok_or_else(|| bad(&file, "it is another name of a file that is not there"))?;
            told.number = first.number;
            told.node.meta.kind = first.node.meta.kind.clone();
            told.identity = first.identity;
            // a file with one name is no link: it would not be the same file as that of another kind of context
            let key = Some(LinkKey::Offset(told.number.into()));
            first.node.link.clone_from(&key);
            told.node.link = key;
        }
        if matches!(told.node.meta.kind, Kind::File { .. }) {
            told.node.content = prints.get(&told.identity).digest;
        }
        if found.insert(path, told).is_some() {
            return Err(bad(&file, "the client tells of it twice"));
        }
    }
    Ok(found)
}

fn told_of(path: &ImagePath, meta: Meta, number: u32) -> Told {
    // a client's files have no numbers that last: their paths stand for those
    let name = Digest::of(path.as_bytes());
    let part = |from: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&name.as_raw()[from..from + 8]);
        u64::from_le_bytes(bytes)
    };
    let identity = Identity {
        device: part(0),
        inode: part(8),
        size: meta.size(),
        mtime: meta.mtime,
        ctime: Mtime::default(),
        mode: meta.mode,
    };
    Told {
        node: Node {
            meta,
            link: None,
            content: None,
        },
        number,
        identity,
    }
}

fn now() -> Mtime {
    let now = jiff::Timestamp::now();
    Mtime {
        seconds: now.as_second(),
        nanoseconds: u32::try_from(now.subsec_nanosecond()).unwrap_or_default(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
