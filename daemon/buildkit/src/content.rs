//! Blobs in the stores of a client, by their digests: read from there, and written there.

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::metadata::MetadataMap;

use crate::message::content::{
    AbortRequest, AbortResponse, ReadContentRequest, ReadContentResponse, WriteAction, WriteContentRequest,
    WriteContentResponse,
};
use crate::service::Method;
use crate::session::{Answers, Session, SessionError, plain};
use crate::sync::SyncError;

const READ: Method = "/containerd.services.content.v1.Content/Read";
const WRITE: Method = "/containerd.services.content.v1.Content/Write";
const ABORT: Method = "/containerd.services.content.v1.Content/Abort";

/// In the metadata of a call: which of the client's stores it is about.
const STORE_ID: &str = "buildkit-attachable-store-id";

/// One of a client's stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentStore {
    /// An OCI layout, by what the client calls it.
    Layout(String),
    /// A folder with a build cache.
    Cache(String),
    /// Where results go.
    Export,
}

impl ContentStore {
    /// As BuildKit writes it (`session/content`, `client/solve.go`).
    fn metadata(&self) -> Result<MetadataMap, SessionError> {
        plain(
            STORE_ID,
            &match self {
                Self::Layout(name) => format!("oci:{name}"),
                Self::Cache(folder) => format!("local:{folder}"),
                Self::Export => "export".to_owned(),
            },
        )
    }
}

/// A blob on its way here. Nothing of it is checked: who reads it knows its digest.
pub struct BlobRead(Answers<ReadContentResponse>);

impl BlobRead {
    /// Asks for a blob by the text of its digest.
    ///
    /// # Errors
    /// If the client cannot be asked.
    pub async fn begin(session: &Session, store: &ContentStore, digest: &str) -> Result<Self, SessionError> {
        let request = ReadContentRequest {
            digest: digest.to_owned(),
            ..ReadContentRequest::default()
        };
        let answers = session.exchange(READ, store.metadata()?, tokio_stream::once(request));
        Ok(Self(answers.await?))
    }

    /// The next bytes; `None` after the last.
    ///
    /// # Errors
    /// If the client has no such blob, fails or is gone.
    pub async fn next(&mut self) -> Result<Option<Bytes>, SessionError> {
        Ok(self.0.next().await?.map(|piece| piece.data))
    }
}

/// A blob on its way to a client.
pub struct BlobWrite {
    session: Session,
    store: ContentStore,
    reference: String,
    digest: String,
    size: i64,
    sent: i64,
    sender: mpsc::Sender<WriteContentRequest>,
    answers: Answers<WriteContentResponse>,
}

impl BlobWrite {
    /// Begins to write a blob of `size` bytes. `reference` names the writing: no two at the same time may have the same.
    /// `None` if the client has the blob.
    ///
    /// # Errors
    /// If the client cannot be asked, or refuses.
    pub async fn begin(
        session: &Session,
        store: ContentStore,
        reference: String,
        digest: &str,
        size: u64,
    ) -> Result<Option<Self>, SyncError> {
        // each step waits for its answer
        let (sender, receiver) = mpsc::channel(1);
        let answers = session
            .exchange(WRITE, store.metadata()?, ReceiverStream::new(receiver))
            .await?;
        let mut write = Self {
            session: session.clone(),
            store,
            reference: reference.clone(),
            digest: digest.to_owned(),
            size: i64::try_from(size).map_err(|_| SyncError::Nonsense("a blob of so many bytes"))?,
            sent: 0,
            sender,
            answers,
        };
        let first = WriteContentRequest {
            reference,
            ..write.step(WriteAction::Stat, Bytes::new())
        };
        match write.ask(first).await {
            Ok(_) => Ok(Some(write)),
            Err(error) if is_there(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// If the client takes no more.
    pub async fn send(&mut self, data: Bytes) -> Result<(), SyncError> {
        let length = i64::try_from(data.len()).unwrap_or(i64::MAX);
        let step = WriteContentRequest {
            // said once: it makes the client look for the blob every time
            expected: String::new(),
            ..self.step(WriteAction::Write, data)
        };
        let answer = self.ask(step).await?;
        self.sent += length;
        match answer.offset == self.sent {
            true => Ok(()),
            false => Err(SyncError::Nonsense("that it took another number of bytes")),
        }
    }

    /// Says that this was all, and waits until the client has kept it under its digest.
    ///
    /// # Errors
    /// If the client could not keep it.
    pub async fn finish(mut self) -> Result<(), SyncError> {
        let step = self.step(WriteAction::Commit, Bytes::new());
        match self.ask(step).await {
            Ok(answer) if answer.digest == self.digest => Ok(()),
            Ok(_) => Err(SyncError::Nonsense("that it keeps a blob of another digest")),
            // somebody else was faster
            Err(error) if is_there(&error) => Ok(()),
            Err(error) => {
                self.abandon().await;
                Err(error)
            }
        }
    }

    /// Gives it up, and lets the client remove what it has of it.
    pub async fn abandon(self) {
        let request = AbortRequest {
            reference: self.reference,
        };
        drop((self.sender, self.answers));
        if let Ok(metadata) = self.store.metadata() {
            // a client that is gone, or keeps it, is left alone
            let _: Result<AbortResponse, _> = self.session.ask_with(ABORT, metadata, request).await;
        }
    }

    fn step(&self, action: WriteAction, data: Bytes) -> WriteContentRequest {
        WriteContentRequest {
            action: action.into(),
            total: self.size,
            expected: self.digest.clone(),
            offset: self.sent,
            data,
            ..WriteContentRequest::default()
        }
    }

    async fn ask(&mut self, step: WriteContentRequest) -> Result<WriteContentResponse, SyncError> {
        // a client that takes no more says why by its answer
        let _ = self.sender.send(step).await;
        self.answers.next().await?.ok_or(SyncError::Broken)
    }
}

fn is_there(error: &SyncError) -> bool {
    matches!(error, SyncError::Session(SessionError::Refused(status)) if status.code() == Code::AlreadyExists)
}
