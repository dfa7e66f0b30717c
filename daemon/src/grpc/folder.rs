//! Folders of a client: single files of one, or one as a build context.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;

use bytes::Bytes;
use mica_buildkit::{DirSync, FileKind, Stat, SyncError, SyncRequest};
use mica_engine::{ClientFile, ClientFolder, FileMeta, FileSender, FileType, Mtime};
use mica_task::Cancel;
use tokio::sync::{mpsc, oneshot};
use tonic::Status;

use crate::grpc::frontend::all_of;
use crate::grpc::job::cancelled;
use crate::grpc::sessions::Named;

/// The longest Dockerfile or ignore file, in bytes.
const TEXT_LIMIT: usize = 4 << 20;
/// How much a client may tell of its files, in bytes of names, links and attributes and a constant for each file.
const TOLD_LIMIT: usize = 1 << 30;
/// What a file takes beside its name, in bytes, roughly.
const FILE_COST: usize = 320;
/// How many files are asked for before the first of them has come.
const AHEAD: usize = 32;
/// How many pieces of files wait for whoever writes them down.
const WAITING: usize = 32;

/// Reads small files of a client's folder by their names; those that are not there are left out.
pub(super) async fn read(
    session: &Named,
    folder: &str,
    wanted: Vec<String>,
) -> Result<HashMap<String, Vec<u8>>, Status> {
    let request = SyncRequest {
        folder: folder.to_owned(),
        follow: wanted.clone(),
        ..SyncRequest::default()
    };
    let mut sync = DirSync::begin(&session.session, &request)
        .await
        .map_err(refused)?;
    let mut there = Vec::new();
    while let Some((number, stat)) = sync.next().await.map_err(refused)? {
        let is_file = stat.kind() == Some(FileKind::File);
        if is_file && wanted.contains(&stat.path) {
            if there.iter().any(|(_, path)| *path == stat.path) {
                return Err(Status::invalid_argument(format!(
                    "the client tells of {} twice",
                    stat.path
                )));
            }
            if stat.size > TEXT_LIMIT as i64 {
                return Err(Status::invalid_argument(format!(
                    "{} is longer than {TEXT_LIMIT} bytes",
                    stat.path
                )));
            }
            there.push((number, stat.path));
        }
    }
    let mut found = HashMap::new();
    for (number, path) in there {
        sync.want(number).await.map_err(refused)?;
        let mut text = Vec::new();
        loop {
            let (of, bytes) = sync.data().await.map_err(refused)?;
            if of != number || text.len() + bytes.len() > TEXT_LIMIT {
                return Err(Status::invalid_argument(format!(
                    "the client sends something else than {path}"
                )));
            }
            if bytes.is_empty() {
                break;
            }
            text.extend_from_slice(&bytes);
        }
        found.insert(path, text);
    }
    sync.finish().await;
    Ok(found)
}

/// Opens a folder as a build context: all that its ignore file leaves of it is told now, its bytes come when they are wanted.
pub(super) async fn open(
    session: &Named,
    folder: &str,
    ignore: Option<(String, Vec<u8>)>,
    cancel: &Cancel,
) -> Result<ClientFolder, Status> {
    let exclude = ignore
        .as_ref()
        .map(|(_, bytes)| patterns(bytes))
        .unwrap_or_default();
    let mut sync = DirSync::begin(&session.session, &all_of(folder, exclude))
        .await
        .map_err(refused)?;
    let mut files = Vec::new();
    let mut cost = 0;
    while let Some((number, stat)) = sync.next().await.map_err(refused)? {
        let xattrs = stat.xattrs.iter().map(|(name, value)| name.len() + value.len());
        cost += stat.path.len() + stat.linkname.len() + xattrs.sum::<usize>() + FILE_COST;
        if cost > TOLD_LIMIT {
            return Err(Status::resource_exhausted("the build context has too many files"));
        }
        files.extend(file(number, stat)?);
    }
    let (asker, asked) = mpsc::channel(1);
    tokio::spawn(carry(sync, asked, cancel.clone()));
    Ok(ClientFolder {
        key: format!("{} {folder}", session.shared_key),
        files,
        ignore,
        sender: Box::new(Sender(asker)),
    })
}

/// The patterns of an ignore file, as a client takes them.
fn patterns(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes)
        .trim_start_matches('\u{feff}')
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

fn file(number: u32, stat: Stat) -> Result<Option<ClientFile>, Status> {
    let size = u64::try_from(stat.size)
        .map_err(|_| Status::invalid_argument(format!("{} has a size below 0", stat.path)))?;
    let device = |number: i64| u32::try_from(number).unwrap_or_default();
    let mut link = None;
    let kind = match stat.kind() {
        Some(FileKind::File) => {
            link = Some(stat.linkname.clone().into_bytes()).filter(|link| !link.is_empty());
            FileType::File { size }
        }
        Some(FileKind::Directory) => FileType::Directory,
        Some(FileKind::Symlink) => FileType::Symlink {
            target: stat.linkname.clone().into_bytes(),
        },
        Some(FileKind::Fifo) => FileType::Fifo,
        Some(FileKind::CharDevice) => FileType::CharDevice {
            major: device(stat.devmajor),
            minor: device(stat.devminor),
        },
        Some(FileKind::BlockDevice) => FileType::BlockDevice {
            major: device(stat.devmajor),
            minor: device(stat.devminor),
        },
        // sockets mean nothing elsewhere
        None => return Ok(None),
    };
    let seconds = stat.mod_time.div_euclid(1_000_000_000);
    let meta = FileMeta {
        kind,
        mode: stat.permissions(),
        uid: 0,
        gid: 0,
        mtime: Mtime {
            seconds,
            nanoseconds: u32::try_from(stat.mod_time.rem_euclid(1_000_000_000)).unwrap_or_default(),
        },
        xattrs: stat
            .xattrs
            .into_iter()
            .filter(|(name, _)| name.starts_with("user."))
            .map(|(name, value)| (name.into_bytes(), value))
            .collect::<BTreeMap<_, _>>(),
    };
    Ok(Some(ClientFile {
        number,
        path: stat.path.into_bytes(),
        meta,
        link,
    }))
}

/// Files that are wanted, and where their bytes go.
struct Order {
    numbers: Vec<u32>,
    pieces: mpsc::Sender<(u32, Bytes)>,
    end: oneshot::Sender<Result<(), SyncError>>,
}

/// Asks for files on a thread.
struct Sender(mpsc::Sender<Order>);

impl FileSender for Sender {
    fn send(
        &mut self,
        numbers: &[u32],
        take: &mut dyn FnMut(u32, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "the client went away");
        let (pieces, mut coming) = mpsc::channel(WAITING);
        let (end, ended) = oneshot::channel();
        let order = Order {
            numbers: numbers.to_vec(),
            pieces,
            end,
        };
        self.0.blocking_send(order).map_err(|_| gone())?;
        while let Some((number, bytes)) = coming.blocking_recv() {
            take(number, &bytes)?;
        }
        match ended.blocking_recv() {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(io::Error::other(error)),
            Err(_) => Err(gone()),
        }
    }
}

/// Carries orders to the client until nobody has any more, or the build is to stop.
async fn carry(mut sync: DirSync, mut orders: mpsc::Receiver<Order>, cancel: Cancel) {
    while let Some(order) = orders.recv().await {
        let Order { numbers, pieces, end } = order;
        let done = tokio::select! {
            done = fill(&mut sync, &numbers, &pieces) => done,
            () = cancelled(&cancel) => Err(SyncError::Broken),
        };
        let broke = done.is_err();
        drop(pieces);
        // whoever asked may be gone
        let _ = end.send(done);
        if broke {
            return;
        }
    }
    sync.finish().await;
}

async fn fill(
    sync: &mut DirSync,
    numbers: &[u32],
    pieces: &mpsc::Sender<(u32, Bytes)>,
) -> Result<(), SyncError> {
    let mut rest = numbers.iter().copied();
    let mut open = HashSet::new();
    for number in rest.by_ref().take(AHEAD) {
        sync.want(number).await?;
        open.insert(number);
    }
    while !open.is_empty() {
        let (number, bytes) = sync.data().await?;
        let is_end = bytes.is_empty();
        if !open.contains(&number) {
            return Err(SyncError::Nonsense("a file that was not asked for"));
        }
        pieces
            .send((number, bytes))
            .await
            .map_err(|_| SyncError::Broken)?;
        if is_end {
            open.remove(&number);
            if let Some(next) = rest.next() {
                sync.want(next).await?;
                open.insert(next);
            }
        }
    }
    Ok(())
}

fn refused(error: SyncError) -> Status {
    Status::unavailable(error.to_string())
}
