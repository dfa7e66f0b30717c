//! Files of a client's folder: what there is first, then the bytes of those that are asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{MetadataMap, MetadataValue};

use crate::message::session::{Packet, PacketKind};
use crate::session::{Answers, SYNC, Session, SessionError};

pub use crate::message::session::Stat;

/// Bits of Go's `fs.FileMode`.
mod mode {
    pub(super) const DIRECTORY: u32 = 1 << 31;
    pub(super) const SYMLINK: u32 = 1 << 27;
    pub(super) const DEVICE: u32 = 1 << 26;
    pub(super) const FIFO: u32 = 1 << 25;
    pub(super) const SOCKET: u32 = 1 << 24;
    pub(super) const SETUID: u32 = 1 << 23;
    pub(super) const SETGID: u32 = 1 << 22;
    pub(super) const CHARACTER: u32 = 1 << 21;
    pub(super) const STICKY: u32 = 1 << 20;
    pub(super) const IRREGULAR: u32 = 1 << 19;
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

impl Stat {
    /// What it is; `None` for sockets and what is stranger.
    pub fn kind(&self) -> Option<FileKind> {
        let is = |bit: u32| self.mode & bit != 0;
        Some(match () {
            () if is(mode::SOCKET) || is(mode::IRREGULAR) => return None,
            () if is(mode::DIRECTORY) => FileKind::Directory,
            () if is(mode::SYMLINK) => FileKind::Symlink,
            () if is(mode::FIFO) => FileKind::Fifo,
            () if is(mode::DEVICE) && is(mode::CHARACTER) => FileKind::CharDevice,
            () if is(mode::DEVICE) => FileKind::BlockDevice,
            () => FileKind::File,
        })
    }

    /// Type and permissions of a file as Go writes them; `permissions` as the system does.
    pub fn mode_of(kind: FileKind, permissions: u32) -> u32 {
        let bit = |own: u32, go: u32| if permissions & own != 0 { go } else { 0 };
        let kind = match kind {
            FileKind::File => 0,
            FileKind::Directory => mode::DIRECTORY,
            FileKind::Symlink => mode::SYMLINK,
            FileKind::Fifo => mode::FIFO,
            FileKind::CharDevice => mode::DEVICE | mode::CHARACTER,
            FileKind::BlockDevice => mode::DEVICE,
        };
        kind | permissions & 0o777
            | bit(0o4000, mode::SETUID)
            | bit(0o2000, mode::SETGID)
            | bit(0o1000, mode::STICKY)
    }

    /// Its permissions as the system writes them, `0o7777` at most.
    pub fn permissions(&self) -> u32 {
        let bit = |go: u32, own: u32| if self.mode & go != 0 { own } else { 0 };
        self.mode & 0o777 | bit(mode::SETUID, 0o4000) | bit(mode::SETGID, 0o2000) | bit(mode::STICKY, 0o1000)
    }
}

/// How many packets wait to be sent.
const WAITING: usize = 64;

/// Why files do not come.
#[derive(Debug, Error)]
pub enum SyncError {
    /// The session does not answer.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The client cannot go on.
    #[error("the client cannot send its files: {0}")]
    Client(String),
    /// The exchange ended before its end.
    #[error("the client stopped sending its files")]
    Broken,
    /// The client sends what was not asked for.
    #[error("the client sends {0}, which makes no sense")]
    Nonsense(&'static str),
}

/// Which files of which folder.
#[derive(Debug, Clone, Default)]
pub struct SyncRequest {
    /// What the client calls the folder: `context`, `dockerfile`, or a name of the user's.
    pub folder: String,
    /// Only these, if there are any.
    pub include: Vec<String>,
    /// Without these.
    pub exclude: Vec<String>,
    /// Only these and what their links lead to, if there are any.
    pub follow: Vec<String>,
}

/// An exchange with a client about the files of one of its folders.
pub struct DirSync {
    sender: mpsc::Sender<Packet>,
    packets: Answers<Packet>,
    told: Arc<AtomicU32>,
}

impl DirSync {
    /// Asks for the files of a folder.
    ///
    /// # Errors
    /// If the client cannot be asked.
    pub async fn begin(session: &Session, request: &SyncRequest) -> Result<Self, SyncError> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let packets = session
            .exchange(SYNC, metadata(request), ReceiverStream::new(receiver))
            .await?;
        Ok(Self {
            sender,
            packets,
            told: Arc::default(),
        })
    }

    /// The next file there is, directories before what is in them; `None` after the last. Its number is how many came before.
    ///
    /// # Errors
    /// If the exchange breaks.
    pub async fn next(&mut self) -> Result<Option<(u32, Stat)>, SyncError> {
        let packet = self.receive().await?;
        match packet.kind() {
            PacketKind::Stat => Ok(packet
                .stat
                .map(|stat| (self.told.fetch_add(1, Ordering::Relaxed), stat))),
            _ => Err(SyncError::Nonsense("something else than files")),
        }
    }

    /// Asks for the bytes of file number `id`; they come by [`data`](Self::data).
    ///
    /// # Errors
    /// If the exchange is over.
    pub async fn want(&self, id: u32) -> Result<(), SyncError> {
        let packet = Packet {
            kind: PacketKind::Req.into(),
            id,
            ..Packet::default()
        };
        self.sender.send(packet).await.map_err(|_| SyncError::Broken)
    }

    /// The next bytes of files that were asked for, and which file they are of; no bytes are its end.
    ///
    /// # Errors
    /// If the exchange breaks.
    pub async fn data(&mut self) -> Result<(u32, Bytes), SyncError> {
        let packet = self.receive().await?;
        match packet.kind() {
            PacketKind::Data => Ok((packet.id, packet.data)),
            _ => Err(SyncError::Nonsense("something else than bytes")),
        }
    }

    /// Says that nothing more is wanted.
    pub async fn finish(mut self) {
        let packet = Packet {
            kind: PacketKind::Fin.into(),
            ..Packet::default()
        };
        // the client that is gone already needs not be told
        if self.sender.send(packet).await.is_ok() {
            let _ = self.packets.next().await;
        }
    }

    async fn receive(&mut self) -> Result<Packet, SyncError> {
        let packet = self.packets.next().await?;
        let packet = packet.ok_or(SyncError::Broken)?;
        match PacketKind::try_from(packet.kind) {
            Ok(PacketKind::Err) => Err(SyncError::Client(
                String::from_utf8_lossy(&packet.data).into_owned(),
            )),
            Ok(_) => Ok(packet),
            Err(_) => Err(SyncError::Nonsense("a packet of no known kind")),
        }
    }
}

/// The request as headers, spelled so that nothing in a name can hurt them (BuildKit `session/filesync`).
fn metadata(request: &SyncRequest) -> MetadataMap {
    let mut map = MetadataMap::new();
    let folder = [request.folder.clone()];
    for (key, values) in [
        ("dir-name", &folder[..]),
        ("include-patterns", &request.include),
        ("exclude-patterns", &request.exclude),
        ("followpaths", &request.follow),
    ] {
        let is_plain = |value: &String| {
            value
                .bytes()
                .all(|byte| (b' '..=b'~').contains(&byte) && byte != b'%')
        };
        let encoded = !values.iter().all(is_plain);
        for value in values {
            let text = if encoded { escape(value) } else { value.clone() };
            // nothing but printable ASCII is left
            if let Ok(value) = MetadataValue::try_from(text) {
                map.append(key, value);
            }
        }
        if encoded && let Ok(name) = format!("{key}-encoded").parse::<tonic::metadata::AsciiMetadataKey>() {
            map.insert(name, MetadataValue::from_static("1"));
        }
    }
    map
}

/// Go's `url.QueryEscape`.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KINDS: [FileKind; 6] = [
        FileKind::File,
        FileKind::Directory,
        FileKind::Symlink,
        FileKind::Fifo,
        FileKind::CharDevice,
        FileKind::BlockDevice,
    ];

    fn of_mode(mode: u32) -> Stat {
        Stat {
            mode,
            ..Stat::default()
        }
    }

    /// Go's `url.QueryUnescape`.
    fn unescape(text: &str) -> Vec<u8> {
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
        bytes
    }

    #[test]
    fn go_s_bits_are_known() {
        for (mode, kind, permissions) in [
            (0o644, Some(FileKind::File), 0o644),
            (1 << 31 | 0o755, Some(FileKind::Directory), 0o755),
            (1 << 31 | 1 << 20 | 0o777, Some(FileKind::Directory), 0o1777),
            (1 << 27 | 0o777, Some(FileKind::Symlink), 0o777),
            (1 << 23 | 0o755, Some(FileKind::File), 0o4755),
            (1 << 22 | 0o755, Some(FileKind::File), 0o2755),
            (1 << 26 | 0o660, Some(FileKind::BlockDevice), 0o660),
            (1 << 26 | 1 << 21 | 0o660, Some(FileKind::CharDevice), 0o660),
            (1 << 25 | 0o600, Some(FileKind::Fifo), 0o600),
            (1 << 24 | 0o600, None, 0o600),
            (1 << 19 | 0o600, None, 0o600),
        ] {
            let stat = of_mode(mode);
            assert_eq!(
                (stat.kind(), stat.permissions()),
                (kind, permissions),
                "{mode:#o}"
            );
        }
    }

    #[test]
    fn what_is_plain_is_written_as_it_is() {
        let request = SyncRequest {
            folder: "context".to_owned(),
            include: Vec::new(),
            exclude: vec!["*.o".to_owned(), "!keep me".to_owned()],
            follow: vec!["a%".to_owned(), "é".to_owned()],
        };
        let map = metadata(&request);
        let all = |key: &str| -> Vec<&str> {
            let values = map.get_all(key).iter();
            values.map(|value| value.to_str().unwrap()).collect()
        };
        assert_eq!(all("dir-name"), ["context"]);
        assert_eq!(all("exclude-patterns"), ["*.o", "!keep me"]);
        assert!(map.get("exclude-patterns-encoded").is_none());
        assert_eq!(all("followpaths"), ["a%25", "%C3%A9"]);
        assert_eq!(all("followpaths-encoded"), ["1"]);
        assert!(map.get("include-patterns").is_none());
    }

    proptest! {
        #[test]
        fn modes_come_back(kind in 0..KINDS.len(), permissions in 0_u32..0o10000) {
            let stat = of_mode(Stat::mode_of(KINDS[kind], permissions));
            prop_assert_eq!(stat.kind(), Some(KINDS[kind]));
            prop_assert_eq!(stat.permissions(), permissions);
        }

        #[test]
        fn no_mode_is_more_than_a_mode(mode: u32) {
            prop_assert!(of_mode(mode).permissions() <= 0o7777);
        }

        #[test]
        fn texts_come_back(text in "\\PC*|.*") {
            let written = escape(&text);
            prop_assert!(written.bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assert_eq!(unescape(&written), text.as_bytes());
        }

        #[test]
        fn every_pattern_reaches_the_client(patterns in prop::collection::vec("\\PC*|.*", 0..5)) {
            let request = SyncRequest { exclude: patterns.clone(), ..SyncRequest::default() };
            let map = metadata(&request);
            let encoded = map.get("exclude-patterns-encoded").is_some();
            let told: Vec<Vec<u8>> = map
                .get_all("exclude-patterns")
                .iter()
                .map(|value| match encoded {
                    true => unescape(value.to_str().unwrap()),
                    false => value.as_bytes().to_vec(),
                })
                .collect();
            let wanted: Vec<Vec<u8>> = patterns.into_iter().map(String::into_bytes).collect();
            prop_assert_eq!(told, wanted);
        }
    }
}
