//! What was done to the disk, in order, and what was promised meanwhile; lets one change fail.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use mica_layer::disk::recorded::{Act, Recorder, tell};
use rustix::fs::{Dev, FileType};
use rustix::io::Errno;

use crate::promise::{Promise, Promised};

/// A change that was made, with paths below the store's folder.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Create(PathBuf),
    CreateEmpty(PathBuf),
    Folder(PathBuf),
    Symlink(PathBuf, Vec<u8>),
    Node(PathBuf, FileType, Dev),
    Write(PathBuf, u64, Arc<[u8]>),
    Cut(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Link(PathBuf, PathBuf),
    Remove(PathBuf),
    Attributes(PathBuf, Attributes),
    Sync(PathBuf),
    SyncAll,
    /// The system said that it could not make it durable: what was written may be lost, and no later sync says so again.
    Lost(PathBuf),
}

/// What a file or folder has beside its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Attributes {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) time: (i64, i64),
}

impl Attributes {
    fn of(path: &Path) -> Self {
        let meta = std::fs::symlink_metadata(path).unwrap();
        Self {
            mode: meta.mode() & 0o7777,
            owner: (meta.uid(), meta.gid()),
            time: (meta.mtime(), meta.mtime_nsec()),
        }
    }
}

/// How a change fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    NoSpace,
    Broken,
    /// A write takes less than it was given.
    Short,
}

#[derive(Default)]
struct State {
    ops: Vec<Op>,
    promises: Vec<(usize, Promise)>,
    /// How many changes were asked for.
    asked: usize,
    /// Which of them were syncs.
    syncs: Vec<usize>,
    /// Which of them fails and how.
    fault: Option<(usize, Fault)>,
    /// What failed.
    met: Option<String>,
    /// Where promises are written to, for another process.
    log: Option<File>,
}

/// The recorder. Changes are made one at a time, so that their order is that of the list.
pub(crate) struct Journal {
    root: PathBuf,
    state: Mutex<State>,
}

static CURRENT: Mutex<Option<Arc<Journal>>> = Mutex::new(None);

impl Journal {
    /// Begins to record what happens below `root`.
    pub(crate) fn begin(root: &Path, fault: Option<(usize, Fault)>) -> Arc<Self> {
        let journal = Arc::new(Self {
            root: root.to_owned(),
            state: Mutex::new(State {
                fault,
                ..State::default()
            }),
        });
        tell(Some(journal.clone()));
        *CURRENT.lock().unwrap() = Some(journal.clone());
        journal
    }

    /// Writes down promises alone.
    pub(crate) fn promises_to(log: File) -> Arc<Self> {
        let state = State {
            log: Some(log),
            ..State::default()
        };
        Arc::new(Self {
            root: PathBuf::new(),
            state: Mutex::new(state),
        })
    }

    /// Ends the recording; gives the changes and the promises, each with the number of changes before it.
    pub(crate) fn end(&self) -> (Vec<Op>, Vec<(usize, Promise)>) {
        tell(None);
        *CURRENT.lock().unwrap() = None;
        let mut state = self.state();
        (
            std::mem::take(&mut state.ops),
            std::mem::take(&mut state.promises),
        )
    }

    pub(crate) fn current() -> Option<Arc<Self>> {
        CURRENT.lock().unwrap().clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Something is promised from now on.
    pub(crate) fn promise(&self, promise: Promise) {
        let mut state = self.state();
        if let Some(log) = &mut state.log {
            log.write_all(promise.line().as_bytes()).unwrap();
        }
        let at = state.ops.len();
        state.promises.push((at, promise));
    }

    /// Which changes were syncs.
    pub(crate) fn syncs(&self) -> Vec<usize> {
        self.state().syncs.clone()
    }

    /// Nothing fails any more.
    pub(crate) fn calm(&self) {
        self.state().fault = None;
    }

    /// All that is promised by now.
    pub(crate) fn promised(&self) -> Promised {
        let mut all = Promised::default();
        self.state()
            .promises
            .iter()
            .for_each(|(_, promise)| all.add(promise));
        all
    }

    /// The change that failed, if it was met.
    pub(crate) fn met(&self) -> Option<String> {
        self.state().met.clone()
    }

    /// See [`Recorder::change`].
    pub(crate) fn told(
        &self,
        path: &Path,
        act: &Act<'_>,
        make: &mut dyn FnMut(usize) -> Option<usize>,
    ) -> Result<(), Errno> {
        if !path.starts_with(&self.root) && path != self.root {
            make(usize::MAX);
            return Ok(());
        }
        let mut state = self.state();
        let fault = state.fault.filter(|(at, _)| *at == state.asked);
        if matches!(act, Act::Sync | Act::SyncAll) {
            let at = state.asked;
            state.syncs.push(at);
        }
        state.asked += 1;
        if let Some((_, fault)) = fault {
            state.met = Some(format!("{fault:?} at {} of {}", name_of(act), path.display()));
        }
        let most = match (fault.map(|(_, fault)| fault), act) {
            (Some(Fault::Short), Act::Write(_, bytes)) if bytes.len() > 1 => bytes.len() / 2,
            // what cannot be done in part is done
            (None | Some(Fault::Short), _) => usize::MAX,
            (Some(fault), _) => {
                if matches!(act, Act::Sync | Act::SyncAll) {
                    state.ops.push(Op::Lost(path.to_owned()));
                }
                return Err(match fault {
                    Fault::NoSpace => Errno::NOSPC,
                    _ => Errno::IO,
                });
            }
        };
        if let Some(count) = make(most) {
            state.ops.push(own(path, act, count));
        }
        // SQLite takes a short write for a full disk
        match most {
            usize::MAX => Ok(()),
            _ if path.to_string_lossy().contains("db.sqlite") => Err(Errno::NOSPC),
            _ => Ok(()),
        }
    }
}

fn name_of(act: &Act<'_>) -> String {
    let text = format!("{act:?}");
    text.split('(').next().unwrap_or_default().to_owned()
}

fn own(path: &Path, act: &Act<'_>, count: usize) -> Op {
    let path = path.to_owned();
    match act {
        Act::Create => Op::Create(path),
        Act::CreateEmpty => Op::CreateEmpty(path),
        Act::Folder => Op::Folder(path),
        Act::Symlink(target) => Op::Symlink(path, target.to_vec()),
        Act::Node(kind, numbers) => Op::Node(path, *kind, *numbers),
        Act::Write(offset, bytes) => Op::Write(path, *offset, bytes[..count].into()),
        Act::Cut(length) => Op::Cut(path, *length),
        Act::Rename(to) => Op::Rename(path, to.path()),
        Act::Link(to) => Op::Link(path, to.path()),
        Act::Unlink | Act::RemoveFolder => Op::Remove(path),
        Act::Attributes => Op::Attributes(path.clone(), Attributes::of(&path)),
        Act::Sync => Op::Sync(path),
        Act::SyncAll => Op::SyncAll,
    }
}

impl Recorder for Journal {
    fn change(
        &self,
        path: &Path,
        act: &Act<'_>,
        make: &mut dyn FnMut(usize) -> Option<usize>,
    ) -> Result<(), Errno> {
        self.told(path, act, make)
    }
}
