//! Results on their way to a client: an archive, or files that it asks for one by one.

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;

use crate::message::control::BytesMessage;
use crate::message::session::{Packet, PacketKind, Stat};
use crate::session::{Answers, SEND, Session};
use crate::sync::SyncError;

/// How many messages wait to be sent.
const WAITING: usize = 16;

/// In the metadata of a call: which of the client's outputs it is about.
const EXPORTER: &str = "buildkit-attachable-exporter-id";

fn metadata(exporter: u32) -> MetadataMap {
    let mut map = MetadataMap::new();
    map.insert(EXPORTER, exporter.into());
    map
}

/// Sends an archive piece by piece.
pub struct ArchiveSend {
    sender: mpsc::Sender<BytesMessage>,
    answer: Answers<BytesMessage>,
}

impl ArchiveSend {
    /// Begins to send to the client's output of this number.
    ///
    /// # Errors
    /// If the client cannot be asked.
    pub async fn begin(session: &Session, exporter: u32) -> Result<Self, SyncError> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let answer = session
            .exchange(SEND, metadata(exporter), ReceiverStream::new(receiver))
            .await?;
        Ok(Self { sender, answer })
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// If the client takes no more.
    pub async fn send(&mut self, data: Bytes) -> Result<(), SyncError> {
        if self.sender.send(BytesMessage { data }).await.is_ok() {
            return Ok(());
        }
        // the answer says why
        self.answer.next().await?;
        Err(SyncError::Broken)
    }

    /// Says that this was all, and waits until the client has it.
    ///
    /// # Errors
    /// If the client could not keep it.
    pub async fn finish(self) -> Result<(), SyncError> {
        let Self { sender, mut answer } = self;
        drop(sender);
        while answer.next().await?.is_some() {}
        Ok(())
    }
}

/// What a client wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The bytes of the file of this number.
    File(u32),
    /// Nothing more.
    Nothing,
}

/// Sends files: first what there is, then the bytes of those the client asks for.
pub struct DirSend {
    sender: mpsc::Sender<Packet>,
    packets: Answers<Packet>,
}

impl DirSend {
    /// Begins to send to the client's output of this number.
    ///
    /// # Errors
    /// If the client cannot be asked.
    pub async fn begin(session: &Session, exporter: u32) -> Result<Self, SyncError> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let packets = session
            .exchange(SEND, metadata(exporter), ReceiverStream::new(receiver))
            .await?;
        Ok(Self { sender, packets })
    }

    /// Who tells of the files, while [`wanted`](Self::wanted) hears what of them is wanted: the client may ask for the first
    /// before it was told of the last.
    pub fn teller(&self) -> Teller {
        Teller(self.sender.clone())
    }

    /// What the client wants next.
    ///
    /// # Errors
    /// If the exchange breaks.
    pub async fn wanted(&mut self) -> Result<Wanted, SyncError> {
        let packet = self.packets.next().await?;
        let packet = packet.ok_or(SyncError::Broken)?;
        match PacketKind::try_from(packet.kind) {
            Ok(PacketKind::Req) => Ok(Wanted::File(packet.id)),
            Ok(PacketKind::Fin) => Ok(Wanted::Nothing),
            Ok(PacketKind::Err) => Err(SyncError::Client(
                String::from_utf8_lossy(&packet.data).into_owned(),
            )),
            _ => Err(SyncError::Nonsense("something else than requests")),
        }
    }

    /// Says that all was sent, and waits for the client's last word.
    ///
    /// # Errors
    /// If the client could not keep it.
    pub async fn finish(self) -> Result<(), SyncError> {
        let Self { sender, mut packets } = self;
        let packet = Packet {
            kind: PacketKind::Fin.into(),
            ..Packet::default()
        };
        // a client that has gone meanwhile says so below
        let _ = sender.send(packet).await;
        drop(sender);
        while packets.next().await?.is_some() {}
        Ok(())
    }
}

/// Tells of files and sends their bytes.
#[derive(Clone)]
pub struct Teller(mpsc::Sender<Packet>);

impl Teller {
    /// There is this file; none for the end. On a thread that may wait.
    ///
    /// # Errors
    /// If the client takes no more.
    pub fn tell(&self, stat: Option<Stat>) -> Result<(), SyncError> {
        let packet = Packet {
            kind: PacketKind::Stat.into(),
            stat,
            ..Packet::default()
        };
        self.0.blocking_send(packet).map_err(|_| SyncError::Broken)
    }

    /// Bytes of a file; none for its end. On a thread that may wait.
    ///
    /// # Errors
    /// If the client takes no more.
    pub fn send(&self, id: u32, data: Bytes) -> Result<(), SyncError> {
        let packet = Packet {
            kind: PacketKind::Data.into(),
            id,
            data,
            ..Packet::default()
        };
        self.0.blocking_send(packet).map_err(|_| SyncError::Broken)
    }
}
