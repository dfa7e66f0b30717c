//! A result on its way to the client: as a tar, blob by blob, or file by file.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use mica_buildkit::{ArchiveSend, DirSend, FileKind, Stat, SyncError, Teller, Wanted};
use mica_engine::{Engine, FileTree, FileType, ImagePath, RootFile, blocking, chunks};
use mica_oci::{Attested, ImageId, Reference};
use mica_task::{Cancel, Chore, Event};
use tokio::sync::mpsc;
use tonic::Status;

use crate::daemon::Daemon;
use crate::grpc::content::SessionSink;
use crate::grpc::job::Job;
use crate::grpc::refused;

/// Bytes of a file that are sent at once.
const PIECE: usize = 32 << 10;
/// How many files that a client wants wait for the one before.
const WANTED: usize = 1024;

/// Tells of what is sent while it is.
pub(super) async fn tell<T>(
    job: &Job,
    tar: bool,
    work: impl Future<Output = Result<(u64, T), Status>>,
) -> Result<T, Status> {
    let chore = Chore::Deliver { tar };
    let moved = |current| Event::Moved {
        chore: chore.clone(),
        // BuildKit's words
        what: if tar { "sending tarball" } else { "copying files" }.to_owned(),
        current,
        total: None,
    };
    job.tell(Event::Begun { chore: chore.clone() }).await;
    job.tell(moved(0)).await;
    let done = work.await;
    if let Ok((bytes, _)) = &done {
        job.tell(moved(*bytes)).await;
    }
    let failure = done.as_ref().err().map(|status| status.message().to_owned());
    job.tell(Event::Ended { chore, failure }).await;
    done.map(|(_, made)| made)
}

fn session(job: &Job) -> Result<&mica_buildkit::Session, Status> {
    let session = job.session.as_ref().map(|named| &named.session);
    session.ok_or_else(|| Status::invalid_argument("the build names no session that could take its result"))
}

fn broken(error: SyncError) -> Status {
    Status::unavailable(error.to_string())
}

/// What an archive is written to.
pub(super) type Out<'a> = dyn Write + Send + 'a;

/// Sends what `write` writes; how many bytes that is, and what it gives.
pub(super) async fn send_archive<T: Send + 'static>(
    daemon: &Arc<Daemon>,
    job: &Job,
    number: u32,
    write: impl FnOnce(&Engine, &mut Out<'_>, &Cancel) -> Result<T, mica_engine::Error> + Send + 'static,
) -> Result<(u64, T), Status> {
    let mut send = ArchiveSend::begin(session(job)?, number).await.map_err(broken)?;
    let (engine, cancel) = (daemon.engine.clone(), job.cancel.clone());
    let (mut writer, mut pieces) = chunks();
    let writing = tokio::spawn(blocking(move || {
        let made = write(&engine, &mut writer, &cancel)?;
        writer.flush().map_err(mica_engine::Error::sending)?;
        Ok(made)
    }));
    let mut bytes = 0;
    while let Some(piece) = pieces.recv().await {
        bytes += piece.len() as u64;
        send.send(piece).await.map_err(broken)?;
    }
    let written = writing
        .await
        .map_err(|_| Status::internal("the export broke down"))?;
    let made = written.map_err(|error| refused(&error, None))?;
    send.finish().await.map_err(broken)?;
    Ok((bytes, made))
}

/// Sends the blobs of an image; how many bytes that is.
pub(super) async fn send_blobs(
    daemon: &Arc<Daemon>,
    job: &Job,
    image: ImageId,
    (names, said): (Vec<Reference>, Attested),
) -> Result<(u64, ()), Status> {
    let (engine, cancel) = (daemon.engine.clone(), job.cancel.clone());
    // no other build of this daemon has its number, and no other daemon this image's name at this time
    let name = format!("mica-{}-{}", std::process::id(), job.number);
    let mut sink = SessionSink::new(session(job)?.clone(), &name, cancel);
    let sending = tokio::spawn(blocking(move || {
        engine.save_blobs(&engine.prepare_image(&image, names, said)?, &mut sink)?;
        Ok(sink.sent)
    }));
    let sent = sending
        .await
        .map_err(|_| Status::internal("the export broke down"))?;
    let bytes = sent.map_err(|error| refused(&error, None))?;
    Ok((bytes, ()))
}

/// Sends the files that `open` gives; how many bytes that is.
pub(super) async fn send_files<F: FileTree>(
    daemon: &Arc<Daemon>,
    job: &Job,
    number: u32,
    open: impl FnOnce(&Engine, &Cancel) -> Result<F, mica_engine::Error> + Send + 'static,
) -> Result<(u64, ()), Status> {
    let mut send = DirSend::begin(session(job)?, number).await.map_err(broken)?;
    let (engine, cancel) = (daemon.engine.clone(), job.cancel.clone());
    let teller = send.teller();
    let (wants, wanted) = mpsc::channel(WANTED);
    let mut sending = tokio::spawn(blocking(move || {
        let root = open(&engine, &cancel)?;
        send_root(&root, &teller, wanted, &cancel)
    }));
    let asked = async {
        while let Wanted::File(number) = send.wanted().await? {
            // who sends has failed: the reason comes from there
            if wants.send(number).await.is_err() {
                break;
            }
        }
        drop(wants);
        Ok(())
    };
    let sent = tokio::select! {
        biased;
        asked = asked => match asked {
            Ok(()) => (&mut sending).await,
            Err(error) => return Err(broken(error)),
        },
        // it ends first only if it fails, and then there is nothing that the client could ask for
        sent = &mut sending => sent,
    };
    let sent = sent.map_err(|_| Status::internal("the export broke down"))?;
    let bytes = sent.map_err(|error| refused(&error, None))?;
    send.finish().await.map_err(broken)?;
    Ok((bytes, ()))
}

/// Tells of all files, then sends those that are wanted.
fn send_root(
    root: &impl FileTree,
    teller: &Teller,
    mut wanted: mpsc::Receiver<u32>,
    cancel: &Cancel,
) -> Result<u64, mica_engine::Error> {
    let mut bytes = 0;
    let gone = |error: SyncError| mica_engine::Error::sending(std::io::Error::other(error));
    let mut regular: HashMap<u32, ImagePath> = HashMap::new();
    let mut number = 0;
    root.files(cancel, &mut |file| {
        if matches!(file.meta.kind, FileType::File { .. }) && file.link.is_none() {
            regular.insert(number, file.path.clone());
        }
        number += 1;
        teller.tell(Some(stat(&file))).map_err(gone)
    })?;
    teller.tell(None).map_err(gone)?;
    while let Some(number) = wanted.blocking_recv() {
        cancel.check()?;
        if let Some(path) = regular.get(&number) {
            let mut reader = root.open(path)?;
            let mut buffer = vec![0; PIECE];
            loop {
                match reader.read(&mut buffer).map_err(mica_engine::Error::sending)? {
                    0 => break,
                    count => {
                        bytes += count as u64;
                        let piece = Bytes::copy_from_slice(&buffer[..count]);
                        teller.send(number, piece).map_err(gone)?;
                    }
                }
            }
        }
        teller.send(number, Bytes::new()).map_err(gone)?;
    }
    Ok(bytes)
}

/// A file as clients are told of it.
pub(super) fn stat(file: &RootFile) -> Stat {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut stat = Stat {
        path: text(file.path.as_bytes()),
        uid: file.meta.uid,
        gid: file.meta.gid,
        size: i64::try_from(file.meta.size()).unwrap_or(i64::MAX),
        mod_time: file
            .meta
            .mtime
            .seconds
            .saturating_mul(1_000_000_000)
            .saturating_add(file.meta.mtime.nanoseconds.into()),
        linkname: file
            .link
            .as_ref()
            .map(|link| text(link.as_bytes()))
            .unwrap_or_default(),
        xattrs: file
            .meta
            .xattrs
            .iter()
            .map(|(name, value)| (text(name), value.clone()))
            .collect(),
        ..Stat::default()
    };
    let kind = match &file.meta.kind {
        FileType::File { .. } => FileKind::File,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink { target } => {
            stat.linkname = text(target);
            FileKind::Symlink
        }
        FileType::Fifo => FileKind::Fifo,
        FileType::CharDevice { major, minor } => {
            (stat.devmajor, stat.devminor) = ((*major).into(), (*minor).into());
            FileKind::CharDevice
        }
        FileType::BlockDevice { major, minor } => {
            (stat.devmajor, stat.devminor) = ((*major).into(), (*minor).into());
            FileKind::BlockDevice
        }
    };
    stat.mode = Stat::mode_of(kind, file.meta.mode);
    stat
}
