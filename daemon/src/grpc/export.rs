//! Where the result of a build goes: into the store under names, or to the client as files or as a tar.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use mica_buildkit::message::control::{Exporter, SolveRequest};
use mica_buildkit::{ArchiveSend, DirSend, FileKind, Stat, SyncError, Teller, Wanted};
use mica_engine::{Engine, FileTree, FileType, ImagePath, RootFile, blocking, chunks};
use mica_oci::{Attestation, Attested, ImageId, Reference};
use mica_task::{Cancel, Chore, Event};
use tokio::sync::mpsc;
use tonic::Status;

use crate::daemon::Daemon;
use crate::grpc::content::SessionSink;
use crate::grpc::job::{Job, Returned};
use crate::grpc::{push, refused, several};

/// Bytes of a file that are sent at once.
const PIECE: usize = 32 << 10;
/// How many files that a client wants wait for the one before.
const WANTED: usize = 1024;

/// In what clients are told of a result: the image's ID.
pub(super) const IMAGE: &str = "containerimage.config.digest";
/// Among the attributes of an exporter: the names an image gets.
pub(super) const NAME: &str = "name";

/// Where a result goes.
pub(super) enum Target {
    /// Into the store, under these names; `push` says whether to their registries too.
    Store {
        /// The names.
        names: Vec<Reference>,
        /// Whether they are pushed here.
        push: bool,
    },
    /// To the client's output of this number, as a tar of the image's files.
    Tar {
        /// The number.
        number: u32,
        /// Whether every platform has a folder of its own, where the result is by platform.
        is_split: bool,
    },
    /// To the client's output of this number, as an archive of the image under these names: docker's and OCI's in one.
    Archive {
        /// The number.
        number: u32,
        /// The names.
        names: Vec<Reference>,
        /// Whether docker's is what is asked for.
        is_docker: bool,
    },
    /// To the client's store of blobs; it writes down the names itself.
    Blobs {
        /// The names.
        names: Vec<Reference>,
        /// Whether docker's is what is asked for.
        is_docker: bool,
    },
    /// To the client's output of this number, file by file.
    Files {
        /// The number.
        number: u32,
        /// As for a tar.
        is_split: bool,
    },
}

/// What is told where an image goes without what is said of it.
const LEFT_OUT: &str =
    "attestations travel only with --push or an output of type oci, local or tar: here the image goes alone";

impl Target {
    /// Whether what is said of an image stays behind.
    fn leaves_out(&self) -> bool {
        matches!(
            self,
            Self::Store { push: false, .. }
                | Self::Archive { is_docker: true, .. }
                | Self::Blobs { is_docker: true, .. }
        )
    }
}

/// What is said of an image.
fn said_of(job: &Job, image: &ImageId) -> Arc<[Attestation]> {
    job.attested().remove(image).unwrap_or_default()
}

/// What goes with an image into an archive: docker's own form has no place for more than the image.
fn going_along(job: &Job, is_docker: bool) -> Attested {
    match is_docker {
        true => Attested::new(),
        false => job.attested(),
    }
}

/// All places a result goes to.
pub(super) fn targets(request: &SolveRequest) -> Result<Vec<Target>, Status> {
    let old = Exporter {
        kind: request.exporter.clone(),
        attrs: request.exporter_attrs.clone(),
    };
    let exporters = match request.exporters.is_empty() && !old.kind.is_empty() {
        // as older clients say it
        true => std::slice::from_ref(&old),
        false => &request.exporters[..],
    };
    let numbered = exporters.iter().zip(0..);
    numbered
        .map(|(exporter, number)| target(exporter, number))
        .collect()
}

/// The place that an exporter means; `number` is that of the client's output.
pub(super) fn target(exporter: &Exporter, number: u32) -> Result<Target, Status> {
    let split = exporter.attrs.get("platform-split").map(String::as_str);
    let is_split = !matches!(split, Some("false" | "0"));
    match exporter.kind.as_str() {
        "moby" | "image" => {
            let push = exporter.attrs.get("push").map(String::as_str);
            let push = matches!(push, Some("true" | "1"));
            Ok(Target::Store {
                names: names(exporter)?,
                push,
            })
        }
        "tar" => Ok(Target::Tar { number, is_split }),
        kind @ ("oci" | "docker") => {
            let names = names(exporter)?;
            let is_docker = kind == "docker";
            match exporter.attrs.get("tar").map(String::as_str) {
                // all that Go takes for false
                Some("false" | "FALSE" | "False" | "f" | "F" | "0") => Ok(Target::Blobs { names, is_docker }),
                _ => Ok(Target::Archive {
                    number,
                    names,
                    is_docker,
                }),
            }
        }
        "local" => Ok(Target::Files { number, is_split }),
        other => Err(Status::unimplemented(format!(
            "exporter {other:?} is not supported by micad: use moby, image, tar, local, oci or docker"
        ))),
    }
}

/// The names an exporter gives.
fn names(exporter: &Exporter) -> Result<Vec<Reference>, Status> {
    let list = exporter.attrs.get(NAME).map_or("", String::as_str);
    let names = list.split(',').filter(|name| !name.is_empty());
    let name = |name: &str| {
        let bad = |error| Status::invalid_argument(format!("invalid name {name:?}: {error}"));
        Ok(name.parse::<Reference>().map_err(bad)?.or_latest())
    };
    names.map(name).collect()
}

/// Brings a result to all its places; what clients are told of it.
pub(super) async fn export(
    daemon: &Arc<Daemon>,
    job: &Arc<Job>,
    returned: Returned,
    targets: Vec<Target>,
) -> Result<HashMap<String, String>, Status> {
    let mut answer = HashMap::new();
    if !job.attested().is_empty() && targets.iter().any(Target::leaves_out) {
        job.tell(Event::Note {
            step: None,
            text: LEFT_OUT.to_owned(),
        })
        .await;
    }
    for target in targets {
        answer.extend(match &returned {
            Returned::Nothing => HashMap::new(),
            Returned::Image(image) => export_image(daemon, job, *image, target).await?,
            Returned::Images(images) => several::export(daemon, job, images, target).await?,
        });
    }
    Ok(answer)
}

async fn export_image(
    daemon: &Arc<Daemon>,
    job: &Arc<Job>,
    image: ImageId,
    target: Target,
) -> Result<HashMap<String, String>, Status> {
    match target {
        Target::Store { names, push } => {
            job.tell(Event::Begun { chore: Chore::Export }).await;
            let stored = store(daemon, job, image, &names, push).await;
            let failure = stored.as_ref().err().map(|status| status.message().to_owned());
            let chore = Chore::Export;
            job.tell(Event::Ended { chore, failure }).await;
            stored
        }
        Target::Tar { number, .. } => {
            let said = said_of(job, &image);
            let write = move |engine: &Engine, out: &mut Out<'_>, cancel: &Cancel| {
                let root = engine.root_of(&image)?.with_statements(&said, cancel)?;
                root.write_tar(out, cancel)
            };
            tell(job, true, send_archive(daemon, job, number, write)).await?;
            Ok(HashMap::new())
        }
        Target::Archive {
            number,
            names,
            is_docker,
        } => {
            let said = going_along(job, is_docker);
            let told = archived(daemon, image, &names, &said).await?;
            let write = move |engine: &Engine, out: &mut Out<'_>, cancel: &Cancel| {
                let saving = engine.prepare_image(&image, names, said)?;
                engine.save(&saving, &mut cancel.guard(out))
            };
            tell(job, true, send_archive(daemon, job, number, write)).await?;
            Ok(told)
        }
        Target::Blobs { names, is_docker } => {
            let said = going_along(job, is_docker);
            let sending = send_blobs(daemon, job, image, (names.clone(), said.clone()));
            tell(job, false, sending).await?;
            archived(daemon, image, &names, &said).await
        }
        Target::Files { number, .. } => {
            let said = said_of(job, &image);
            let root = move |engine: &Engine, cancel: &Cancel| {
                engine.root_of(&image)?.with_statements(&said, cancel)
            };
            tell(job, false, send_files(daemon, job, number, root)).await?;
            Ok(HashMap::new())
        }
    }
}

/// Gives the image its names, and brings it to their registries if it is to be pushed.
async fn store(
    daemon: &Arc<Daemon>,
    job: &Job,
    image: ImageId,
    names: &[Reference],
    push: bool,
) -> Result<HashMap<String, String>, Status> {
    name_image(daemon, job, image, names).await?;
    let mut answer = described(&image, names);
    for name in names.iter().filter(|_| push) {
        let digest = push::image(daemon, job, name).await?;
        answer.insert("containerimage.digest".to_owned(), digest.to_string());
    }
    Ok(answer)
}

/// Gives an image that was built its names.
pub(super) async fn name_image(
    daemon: &Arc<Daemon>,
    job: &Job,
    image: ImageId,
    names: &[Reference],
) -> Result<(), Status> {
    job.tell(Event::Built { image }).await;
    let (engine, tags, held) = (daemon.engine.clone(), names.to_vec(), job.held(&image)?);
    blocking(move || engine.name(&held, &tags))
        .await
        .map_err(|error| refused(&error, None))?;
    for reference in names {
        if let Some(user) = job.user {
            daemon.names.given(user, reference);
        }
        let reference = reference.clone();
        job.tell(Event::Tagged { reference }).await;
    }
    Ok(())
}

/// What clients are told of an image (engine API contract, section 6.4). Here an image is its config; it has a manifest once
/// it is pushed.
pub(super) fn described(image: &ImageId, names: &[Reference]) -> HashMap<String, String> {
    let mut found = HashMap::from([
        (IMAGE.to_owned(), image.to_string()),
        ("containerimage.digest".to_owned(), image.to_string()),
    ]);
    if !names.is_empty() {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        found.insert("image.name".to_owned(), names.join(","));
    }
    found
}

/// What clients are told of an image in an archive, or blob by blob: it has a manifest there.
async fn archived(
    daemon: &Arc<Daemon>,
    image: ImageId,
    names: &[Reference],
    said: &Attested,
) -> Result<HashMap<String, String>, Status> {
    let (engine, listed, said) = (daemon.engine.clone(), names.to_vec(), said.clone());
    let descriptor = blocking(move || engine.describe(&engine.prepare_image(&image, listed, said)?))
        .await
        .map_err(|error| refused(&error, None))?;
    let json = serde_json::to_vec(&descriptor).map_err(|error| Status::internal(error.to_string()))?;
    let mut found = described(&image, names);
    found.extend([
        ("containerimage.digest".to_owned(), descriptor.digest.to_string()),
        ("containerimage.descriptor".to_owned(), STANDARD.encode(json)),
    ]);
    Ok(found)
}

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
async fn send_blobs(
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
