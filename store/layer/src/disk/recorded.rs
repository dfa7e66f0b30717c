//! Tells a test of every change of the disk, and lets it fail.

use std::ffi::OsStr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustix::fs::{Dev, FileType};
use rustix::io::Errno;

/// What is told of every change, in the thread that makes it.
pub trait Recorder: Send + Sync {
    /// A change of `path` is to be made. `make` makes it, with at most so many bytes of a write, and gives how many bytes were
    /// written (0 for what is no write), or nothing if the system refused. Without a call of `make` nothing happens.
    ///
    /// # Errors
    /// What the caller is to be told instead of how it went.
    fn change(
        &self,
        path: &Path,
        act: &Act<'_>,
        make: &mut dyn FnMut(usize) -> Option<usize>,
    ) -> Result<(), Errno>;
}

/// One change.
#[derive(Debug)]
pub enum Act<'a> {
    /// A file is made, or opened for writing if it is there and that is fine.
    Create,
    /// As [`Create`](Self::Create), and it becomes empty.
    CreateEmpty,
    /// A directory is made.
    Folder,
    /// A symbolic link to this target is made.
    Symlink(&'a [u8]),
    /// A device or pipe is made.
    Node(FileType, Dev),
    /// Bytes are written at an offset.
    Write(u64, &'a [u8]),
    /// The length is set.
    Cut(u64),
    /// It gets this path instead of its own.
    Rename(Place<'a>),
    /// It gets this path, too.
    Link(Place<'a>),
    /// The name goes.
    Unlink,
    /// The empty directory goes.
    RemoveFolder,
    /// Owner, mode, times or extended attributes are set.
    Attributes,
    /// A file's bytes or a directory's names are made durable.
    Sync,
    /// Everything on the file system is made durable.
    SyncAll,
}

/// How a call names what it changes.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// By its path.
    Path(&'a Path),
    /// As what is open.
    Open(BorrowedFd<'a>),
    /// By a name in an open directory.
    At(BorrowedFd<'a>, &'a [u8]),
    /// By a path in `/proc/self/fd`.
    Proc(&'a str),
}

impl Place<'_> {
    /// Its path at this moment.
    pub fn path(&self) -> PathBuf {
        let open = |fd: i32| std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default();
        match self {
            Self::Path(path) => path.to_path_buf(),
            Self::Open(fd) => open(fd.as_raw_fd()),
            // of no directory, but of the process: a whole path
            Self::At(fd, name) if fd.as_raw_fd() < 0 => PathBuf::from(OsStr::from_bytes(name)),
            Self::At(fd, b".") => open(fd.as_raw_fd()),
            Self::At(fd, name) => open(fd.as_raw_fd()).join(OsStr::from_bytes(name)),
            Self::Proc(path) => std::fs::read_link(path).unwrap_or_default(),
        }
    }
}

static RECORDER: RwLock<Option<Arc<dyn Recorder>>> = RwLock::new(None);
static BOOT: Mutex<Option<String>> = Mutex::new(None);

/// Has `recorder` told of all changes of this process from now on, or nobody.
pub fn tell(recorder: Option<Arc<dyn Recorder>>) {
    *RECORDER.write().unwrap_or_else(PoisonError::into_inner) = recorder;
}

/// Has the kernel's boot id be taken for `boot` from now on.
pub fn set_boot(boot: String) {
    *BOOT.lock().unwrap_or_else(PoisonError::into_inner) = Some(boot);
}

pub(super) fn boot() -> Option<String> {
    BOOT.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// What a call gives, as far as it matters here.
pub(super) trait Outcome {
    /// How many bytes were written.
    fn bytes(&self) -> usize {
        0
    }
}

impl Outcome for () {}
impl Outcome for fs_err::File {}
impl Outcome for std::os::fd::OwnedFd {}
impl Outcome for usize {
    fn bytes(&self) -> usize {
        *self
    }
}

/// What a call fails with.
pub(super) trait Failure {
    /// The failure of a change of `path`.
    fn of(errno: Errno, act: &Act<'_>, path: &Path) -> Self;
}

impl Failure for Errno {
    fn of(errno: Errno, _: &Act<'_>, _: &Path) -> Self {
        errno
    }
}

impl Failure for std::io::Error {
    fn of(errno: Errno, act: &Act<'_>, path: &Path) -> Self {
        let error = Self::from(errno);
        let text = format!("{act:?}");
        let act = text.split('(').next().unwrap_or_default();
        Self::new(error.kind(), format!("{act} `{}`: {error}", path.display()))
    }
}

/// Has the recorder make the change, or makes it if there is none.
pub(super) fn told<'a, T: Outcome, E: Failure>(
    place: impl FnOnce() -> Place<'a>,
    act: impl FnOnce() -> Act<'a>,
    make: impl FnOnce(usize) -> Result<T, E>,
) -> Result<T, E> {
    let recorder = RECORDER.read().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(recorder) = recorder else {
        return make(usize::MAX);
    };
    let (path, act) = (place().path(), act());
    let (mut make, mut made) = (Some(make), None);
    let verdict = recorder.change(&path, &act, &mut |most| {
        let result = make.take()?(most);
        let bytes = result.as_ref().ok().map(Outcome::bytes);
        made = Some(result);
        bytes
    });
    match (verdict, made) {
        (Ok(()), Some(result)) => result,
        (Ok(()), None) => Err(E::of(Errno::IO, &act, &path)),
        (Err(errno), _) => Err(E::of(errno, &act, &path)),
    }
}
