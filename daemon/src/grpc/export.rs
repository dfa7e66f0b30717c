//! Where the result of a build goes: into the store under names, or to the client as files or as a tar.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use mica_buildkit::message::control::{Exporter, SolveRequest};
use mica_buildkit::{ArchiveSend, DirSend, FileKind, Stat, SyncError, Teller, Wanted};
use mica_engine::{Engine, FileType, ImagePath, ImageRoot, PushRequest, RootFile, blocking, chunks, sink};
use mica_oci::{Attestation, Attested, ImageId, Reference};
use mica_task::{Cancel, Chore, Event};
use tokio::sync::mpsc;
use tonic::Status;

use crate::daemon::Daemon;
use crate::grpc::job::{Job, Returned};
use crate::grpc::{lender, refused};

/// Bytes of a file that are sent at once.
const PIECE: usize = 32 << 10;
/// How many files that a client wants wait for the one before.
const WANTED: usize = 1024;

/// Where a result goes.
pub(super) enum Target {
    /// Into the store, under these names; `push` says whether to their registries too.
    Store {
        /// The names.
        names: Vec<Reference>,
        /// Whether they are pushed.
        push: bool,
    },
    /// To the client's output of this number, as a tar of the image's files.
    Tar(u32),
    /// To the client's output of this number, as an archive of the image under these names: docker's and OCI's in one.
    Archive {
        /// The number.
        number: u32,
        /// The names.
        names: Vec<Reference>,
        /// Whether what is said of the image goes with it.
        attested: bool,
    },
    /// To the client's output of this number, file by file.
    Files(u32),
}

/// What is told where an image goes without what is said of it.
const LEFT_OUT: &str =
    "attestations travel only with --push or an output of type oci, local or tar: here the image goes alone";

impl Target {
    /// Whether what is said of an image stays behind.
    fn leaves_out(&self) -> bool {
        matches!(
            self,
            Self::Store { push: false, .. } | Self::Archive { attested: false, .. }
        )
    }
}

/// What is said of an image.
fn said_of(job: &Job, image: &ImageId) -> Arc<[Attestation]> {
    job.attested().remove(image).unwrap_or_default()
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

fn target(exporter: &Exporter, number: u32) -> Result<Target, Status> {
    match exporter.kind.as_str() {
        kind @ ("moby" | "image") => {
            let push = exporter.attrs.get("push").map(String::as_str);
            Ok(Target::Store {
                names: names(exporter)?,
                // with docker's own exporter the client pushes what was built, by the other API
                push: kind == "image" && matches!(push, Some("true" | "1")),
            })
        }
        "tar" => Ok(Target::Tar(number)),
        kind @ ("oci" | "docker") => match exporter.attrs.get("tar").map(String::as_str) {
            Some("false" | "0") => Err(Status::unimplemented(format!(
                "exporter {kind:?} with tar=false is not supported by micad"
            ))),
            _ => Ok(Target::Archive {
                number,
                names: names(exporter)?,
                // docker's own form has no place for more than an image
                attested: kind == "oci",
            }),
        },
        "local" => Ok(Target::Files(number)),
        other => Err(Status::unimplemented(format!(
            "exporter {other:?} is not supported by micad: use moby, image, tar, local, oci or docker"
        ))),
    }
}

/// The names an exporter gives.
fn names(exporter: &Exporter) -> Result<Vec<Reference>, Status> {
    let list = exporter.attrs.get("name").map_or("", String::as_str);
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
    image: Returned,
    targets: Vec<Target>,
) -> Result<HashMap<String, String>, Status> {
    let Some(image) = image else {
        return Ok(HashMap::new());
    };
    let mut answer = HashMap::new();
    if !job.attested().is_empty() && targets.iter().any(Target::leaves_out) {
        job.tell(Event::Note {
            step: None,
            text: LEFT_OUT.to_owned(),
        })
        .await;
    }
    for target in targets {
        match target {
            Target::Store { names, push } => {
                job.tell(Event::Begun { chore: Chore::Export }).await;
                let stored = store(daemon, job, image, &names, push).await;
                let failure = stored.as_ref().err().map(|status| status.message().to_owned());
                let chore = Chore::Export;
                job.tell(Event::Ended { chore, failure }).await;
                answer.extend(stored?);
            }
            Target::Tar(number) => {
                let said = said_of(job, &image);
                let write = move |engine: &Engine, out: &mut Out<'_>, cancel: &Cancel| {
                    let root = engine.root_of(&image)?.with_statements(&said, cancel)?;
                    root.write_tar(out, cancel)
                };
                tell(job, true, send_archive(daemon, job, number, write)).await?;
            }
            Target::Archive {
                number,
                names,
                attested,
            } => {
                let said = if attested { job.attested() } else { Attested::new() };
                let write = move |engine: &Engine, out: &mut Out<'_>, cancel: &Cancel| {
                    let saving = engine.prepare_image(&image, names, said)?;
                    engine.save(&saving, &mut cancel.guard(out))
                };
                tell(job, true, send_archive(daemon, job, number, write)).await?;
                answer.extend(described(&image, &[]));
            }
            Target::Files(number) => tell(job, false, send_files(daemon, job, image, number)).await?,
        }
    }
    Ok(answer)
}

/// Gives the image its names, and brings it to their registries if it is to be pushed.
async fn store(
    daemon: &Arc<Daemon>,
    job: &Job,
    image: ImageId,
    names: &[Reference],
    push: bool,
) -> Result<HashMap<String, String>, Status> {
    job.tell(Event::Built { image }).await;
    let (engine, tags, held) = (daemon.engine.clone(), names.to_vec(), job.held(&image)?);
    blocking(move || engine.name(&held, &tags))
        .await
        .map_err(|error| refused(&error, None))?;
    let mut answer = described(&image, names);
    for reference in names {
        let reference = reference.clone();
        job.tell(Event::Tagged { reference }).await;
    }
    for name in names.iter().filter(|_| push) {
        let digest = pushed(daemon, job, name).await?;
        answer.insert("containerimage.digest".to_owned(), digest);
    }
    Ok(answer)
}

/// Pushes a name; the digest of its manifest.
async fn pushed(daemon: &Arc<Daemon>, job: &Job, name: &Reference) -> Result<String, Status> {
    let keyring = job
        .session
        .as_ref()
        .map(|named| lender::keyring(named.session.clone(), job.cancel.clone()));
    let registry = name.repository.registry().to_owned();
    let credential = blocking(move || Ok(keyring.unwrap_or_default().of(&registry)))
        .await
        .map_err(|error| refused(&error, None))?;
    let request = PushRequest {
        repository: name.repository.clone(),
        tag: name.tag.clone(),
        platform: None,
        credential,
        compression: None,
        attested: job.attested(),
    };
    let told = |current| Event::Moved {
        chore: Chore::Export,
        // BuildKit's words
        what: format!("pushing manifest for {name}"),
        current,
        total: None,
    };
    job.tell(told(0)).await;
    let (sink, mut events) = sink();
    let unheard = async { while events.recv().await.is_some() {} };
    let pushing = async {
        let pushed = daemon.engine.push(&request, &sink).await;
        drop(sink);
        pushed
    };
    let (pushed, ()) = tokio::join!(pushing, unheard);
    let pushed = pushed.map_err(|error| refused(&error, None))?;
    let last = pushed
        .last()
        .ok_or_else(|| Status::internal("nothing was pushed"))?;
    job.tell(told(last.size)).await;
    Ok(last.digest.to_string())
}

/// What clients are told of an image (engine API contract, section 6.4). Here an image is its config; it has a manifest once
/// it is pushed.
fn described(image: &ImageId, names: &[Reference]) -> HashMap<String, String> {
    let mut found = HashMap::from([
        ("containerimage.config.digest".to_owned(), image.to_string()),
        ("containerimage.digest".to_owned(), image.to_string()),
    ]);
    if !names.is_empty() {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        found.insert("image.name".to_owned(), names.join(","));
    }
    found
}

/// Tells of what is sent while it is.
async fn tell(job: &Job, tar: bool, work: impl Future<Output = Result<u64, Status>>) -> Result<(), Status> {
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
    if let Ok(bytes) = done {
        job.tell(moved(bytes)).await;
    }
    let failure = done.as_ref().err().map(|status| status.message().to_owned());
    job.tell(Event::Ended { chore, failure }).await;
    done.map(|_| ())
}

fn session(job: &Job) -> Result<&mica_buildkit::Session, Status> {
    let session = job.session.as_ref().map(|named| &named.session);
    session.ok_or_else(|| Status::invalid_argument("the build names no session that could take its result"))
}

fn broken(error: SyncError) -> Status {
    Status::unavailable(error.to_string())
}

/// What an archive is written to.
type Out<'a> = dyn Write + Send + 'a;

/// Sends what `write` writes; how many bytes that is.
async fn send_archive(
    daemon: &Arc<Daemon>,
    job: &Job,
    number: u32,
    write: impl FnOnce(&Engine, &mut Out<'_>, &Cancel) -> Result<(), mica_engine::Error> + Send + 'static,
) -> Result<u64, Status> {
    let mut send = ArchiveSend::begin(session(job)?, number).await.map_err(broken)?;
    let (engine, cancel) = (daemon.engine.clone(), job.cancel.clone());
    let (mut writer, mut pieces) = chunks();
    let writing = tokio::spawn(blocking(move || {
        write(&engine, &mut writer, &cancel)?;
        writer.flush().map_err(mica_engine::Error::sending)
    }));
    let mut bytes = 0;
    while let Some(piece) = pieces.recv().await {
        bytes += piece.len() as u64;
        send.send(piece).await.map_err(broken)?;
    }
    let written = writing
        .await
        .map_err(|_| Status::internal("the export broke down"))?;
    written.map_err(|error| refused(&error, None))?;
    send.finish().await.map_err(broken)?;
    Ok(bytes)
}

async fn send_files(daemon: &Arc<Daemon>, job: &Job, image: ImageId, number: u32) -> Result<u64, Status> {
    let mut send = DirSend::begin(session(job)?, number).await.map_err(broken)?;
    let (engine, cancel) = (daemon.engine.clone(), job.cancel.clone());
    let (teller, said) = (send.teller(), said_of(job, &image));
    let (wants, wanted) = mpsc::channel(WANTED);
    let sending = tokio::spawn(blocking(move || {
        let root = engine.root_of(&image)?.with_statements(&said, &cancel)?;
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
    let asked = asked.await;
    let sent = sending
        .await
        .map_err(|_| Status::internal("the export broke down"))?;
    asked.map_err(broken)?;
    let bytes = sent.map_err(|error| refused(&error, None))?;
    send.finish().await.map_err(broken)?;
    Ok(bytes)
}

/// Tells of all files, then sends those that are wanted.
fn send_root(
    root: &ImageRoot,
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
