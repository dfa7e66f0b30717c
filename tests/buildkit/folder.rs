//! A client's folder as a session tells of it: honest, or told by someone who lies.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use mica_buildkit::message::session::{Packet, PacketKind};
use mica_buildkit::{FileKind, Messages, Stat};
use mica_dockerfile::ignore::IgnorePatterns;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// Bytes of a file that are sent at once.
const PIECE: usize = 32 << 10;

/// A folder.
#[derive(Clone, Default)]
pub(crate) struct Folder {
    entries: Vec<Entry>,
    manner: Manner,
    asked: Arc<Mutex<Vec<String>>>,
    excluded: Arc<Mutex<Vec<Vec<String>>>>,
}

#[derive(Clone)]
struct Entry {
    stat: Stat,
    content: Content,
}

/// Where the bytes of a file come from.
#[derive(Clone)]
enum Content {
    Disk(PathBuf),
    Given(Bytes),
}

/// How a client behaves once it has told of its files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As it should.
    #[default]
    Honest,
    /// Tells of nothing, ever.
    NeverTells,
    /// Sends half of a file that is not the Dockerfile, and then nothing more.
    StopsInTheMiddle,
    /// Sends bytes of files nobody asked for.
    SendsUnasked,
    /// Ends the exchange in the middle of its files.
    Leaves,
    /// Says that it cannot go on.
    GivesUp,
    /// Sends requests instead of files.
    Confused,
    /// Leaves nothing out that it was told to leave out.
    TellsAll,
}

impl Folder {
    /// What lies in a folder of this machine.
    pub(crate) fn of(path: &Path) -> Self {
        let mut folder = Self::default();
        folder.walk(path, "");
        folder
    }

    fn walk(&mut self, directory: &Path, prefix: &str) {
        let entries = fs_err::read_dir(directory).unwrap();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let meta = fs_err::symlink_metadata(&path).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            let name = format!("{prefix}{name}");
            let kind = match meta.file_type() {
                kind if kind.is_dir() => FileKind::Directory,
                kind if kind.is_symlink() => FileKind::Symlink,
                _ => FileKind::File,
            };
            let mut stat = Stat {
                path: name.clone(),
                mode: Stat::mode_of(kind, meta.permissions().mode()),
                mod_time: meta.mtime() * 1_000_000_000 + meta.mtime_nsec(),
                ..Stat::default()
            };
            match kind {
                FileKind::File => stat.size = i64::try_from(meta.len()).unwrap(),
                FileKind::Symlink => {
                    stat.linkname = fs_err::read_link(&path).unwrap().to_str().unwrap().to_owned();
                }
                _ => {}
            }
            self.entries.push(Entry {
                stat,
                content: Content::Disk(path.clone()),
            });
            if kind == FileKind::Directory {
                self.walk(&path, &format!("{name}/"));
            }
        }
    }

    /// A Dockerfile and nothing else.
    pub(crate) fn with(dockerfile: &str) -> Self {
        Self::default().file("Dockerfile", dockerfile)
    }

    /// A file that is told as it is.
    pub(crate) fn file(self, path: &str, text: &str) -> Self {
        let size = i64::try_from(text.len()).unwrap();
        self.told(entry(path, FileKind::File, size), text.as_bytes())
    }

    /// A file that is told like this, whatever its bytes are.
    pub(crate) fn told(mut self, stat: Stat, bytes: &[u8]) -> Self {
        self.entries.push(Entry {
            stat,
            content: Content::Given(Bytes::copy_from_slice(bytes)),
        });
        self
    }

    /// The same folder of a client that behaves like this.
    pub(crate) fn manner(self, manner: Manner) -> Self {
        Self { manner, ..self }
    }

    /// Whose bytes were asked for, and forgets it.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The patterns that came with each exchange, and forgets them.
    pub(crate) fn excluded(&self) -> Vec<Vec<String>> {
        std::mem::take(&mut self.excluded.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Answers one exchange.
    pub(crate) fn answer(&self, request: tonic::Request<Streaming<Packet>>) -> Messages<Packet> {
        let follow = values(&request, "followpaths");
        let exclude = values(&request, "exclude-patterns");
        self.excluded.lock().unwrap().push(exclude.clone());
        let (sender, receiver) = mpsc::channel(16);
        let (folder, packets) = (self.clone(), request.into_inner());
        tokio::spawn(async move {
            // a daemon that hangs up has seen enough
            let _ = folder.talk(&follow, &exclude, packets, &sender).await;
        });
        Box::pin(ReceiverStream::new(receiver))
    }

    /// What patterns leave: files they do not name, and the directories those are in.
    fn left(&self, exclude: &[String]) -> impl Iterator<Item = &Entry> {
        let patterns = IgnorePatterns::parse(exclude.join("\n").as_bytes()).unwrap();
        self.entries.iter().filter(move |entry| {
            let path = &entry.stat.path;
            let inside = format!("{path}/");
            let is_directory = entry.stat.kind() == Some(FileKind::Directory);
            let mut below = self
                .entries
                .iter()
                .filter(|other| other.stat.path.starts_with(&inside));
            !patterns.excludes(path)
                || is_directory && below.any(|other| !patterns.excludes(&other.stat.path))
        })
    }

    async fn talk(
        &self,
        follow: &[String],
        exclude: &[String],
        mut packets: Streaming<Packet>,
        sender: &mpsc::Sender<Result<Packet, Status>>,
    ) -> Option<()> {
        let exclude = match self.manner {
            Manner::TellsAll => &[],
            _ => exclude,
        };
        let entries: Vec<&Entry> = self
            .left(exclude)
            .filter(|entry| is_followed(&entry.stat.path, follow))
            .collect();
        // the files read by name come first, and of those nobody is cheated
        let manner = if follow.is_empty() {
            self.manner
        } else {
            Manner::Honest
        };
        if manner == Manner::NeverTells {
            while packets.message().await.ok()?.is_some() {}
            return None;
        }
        for entry in &entries {
            sender
                .send(Ok(packet(PacketKind::Stat, 0, Some(entry.stat.clone()), b"")))
                .await
                .ok()?;
        }
        match manner {
            Manner::Leaves => return None,
            Manner::GivesUp => {
                let text = packet(PacketKind::Err, 0, None, b"the disk is on fire");
                sender.send(Ok(text)).await.ok()?;
            }
            Manner::Confused => sender
                .send(Ok(packet(PacketKind::Req, 0, None, b"")))
                .await
                .ok()?,
            _ => {}
        }
        sender
            .send(Ok(packet(PacketKind::Stat, 0, None, b"")))
            .await
            .ok()?;
        if manner == Manner::SendsUnasked {
            let id = u32::try_from(entries.len()).unwrap() + 7;
            sender
                .send(Ok(packet(PacketKind::Data, id, None, b"unasked")))
                .await
                .ok()?;
        }
        while let Some(wanted) = packets.message().await.ok()? {
            match wanted.kind() {
                PacketKind::Req => {
                    let entry = entries.get(wanted.id as usize)?;
                    self.send(wanted.id, entry, manner, sender).await?;
                }
                PacketKind::Fin => {
                    sender
                        .send(Ok(packet(PacketKind::Fin, 0, None, b"")))
                        .await
                        .ok()?;
                    return Some(());
                }
                other => panic!("the daemon sends {other:?}"),
            }
        }
        None
    }

    /// Sends the bytes of a file, or half of them.
    async fn send(
        &self,
        id: u32,
        entry: &Entry,
        manner: Manner,
        sender: &mpsc::Sender<Result<Packet, Status>>,
    ) -> Option<()> {
        self.asked.lock().unwrap().push(entry.stat.path.clone());
        let bytes = match &entry.content {
            Content::Disk(path) => Bytes::from(fs_err::read(path).unwrap()),
            Content::Given(bytes) => bytes.clone(),
        };
        let stops = manner == Manner::StopsInTheMiddle;
        let bytes = match stops {
            true => bytes.slice(..bytes.len() / 2),
            false => bytes,
        };
        for piece in bytes.chunks(PIECE) {
            let piece = packet(PacketKind::Data, id, None, piece);
            sender.send(Ok(piece)).await.ok()?;
        }
        if stops {
            tokio::time::sleep(Duration::from_secs(600)).await;
        }
        let end = packet(PacketKind::Data, id, None, b"");
        sender.send(Ok(end)).await.ok()
    }
}

/// A file as it is told.
pub(crate) fn entry(path: &str, kind: FileKind, size: i64) -> Stat {
    let permissions = if kind == FileKind::Directory { 0o755 } else { 0o644 };
    Stat {
        path: path.to_owned(),
        mode: Stat::mode_of(kind, permissions),
        size,
        mod_time: 1_700_000_000_000_000_000,
        ..Stat::default()
    }
}

pub(crate) fn packet(kind: PacketKind, id: u32, stat: Option<Stat>, data: &[u8]) -> Packet {
    Packet {
        kind: kind.into(),
        stat,
        id,
        data: Bytes::copy_from_slice(data),
    }
}

fn is_followed(path: &str, follow: &[String]) -> bool {
    let leads = |wanted: &String| wanted == path || wanted.starts_with(&format!("{path}/"));
    follow.is_empty() || follow.iter().any(leads)
}

/// The values of a repeated header, decoded if it says that they are encoded.
pub(crate) fn values<T>(request: &tonic::Request<T>, key: &str) -> Vec<String> {
    let metadata = request.metadata();
    let encoded = metadata.get(format!("{key}-encoded").as_str()).is_some();
    let all = metadata.get_all(key).iter();
    all.map(|value| {
        let text = value.to_str().unwrap();
        if encoded { decode(text) } else { text.to_owned() }
    })
    .collect()
}

/// What Go's `url.QueryUnescape` makes of a text.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).unwrap()
}

/// All messages of a stream, until it ends or breaks.
pub(crate) async fn drain<T>(mut messages: Streaming<T>, mut take: impl FnMut(T)) {
    while let Some(Ok(message)) = messages.next().await {
        take(message);
    }
}
