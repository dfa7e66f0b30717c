//! A client's session: the services it offers to the daemon on a connection it opened.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use mica_buildkit::message::control::BytesMessage;
use mica_buildkit::message::session::{
    CheckAgentRequest, CheckAgentResponse, CredentialsRequest, CredentialsResponse, GetSecretRequest,
    GetSecretResponse, Packet, PacketKind,
};
use mica_buildkit::{FileKind, Messages, Method, Methods, Stat};
use mica_tests::Daemon;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming};

use crate::client::{Client, dial};
use crate::folder::{Folder, drain, packet, values};
use crate::fresh;

pub(crate) const SYNC: Method = "/moby.filesync.v1.FileSync/DiffCopy";
const SEND: Method = "/moby.filesync.v1.FileSend/DiffCopy";
const CREDENTIALS: Method = "/moby.filesync.v1.Auth/Credentials";
const SECRET: Method = "/moby.buildkit.secrets.v1.Secrets/GetSecret";
const CHECK_AGENT: Method = "/moby.sshforward.v1.SSH/CheckAgent";
const FORWARD_AGENT: Method = "/moby.sshforward.v1.SSH/ForwardAgent";
const UPLOAD: Method = "/moby.upload.v1.Upload/Pull";

/// A session that is not attached yet.
pub(crate) struct Session {
    pub(crate) id: String,
    key: String,
    methods: Methods,
    offered: Vec<Method>,
}

/// An attached session; it is gone when this is dropped.
pub(crate) struct Attached {
    pub(crate) id: String,
    carried: Vec<JoinHandle<()>>,
}

impl Drop for Attached {
    fn drop(&mut self) {
        for task in &self.carried {
            task.abort();
        }
    }
}

/// What came to the client's output, by path; for directories and links there are no bytes.
pub(crate) type Received = Arc<Mutex<BTreeMap<String, (Stat, Vec<u8>)>>>;

impl Session {
    /// A session that offers nothing.
    pub(crate) fn new() -> Self {
        Self {
            id: fresh(),
            key: "a machine's folder".to_owned(),
            methods: Methods::default(),
            offered: Vec::new(),
        }
    }

    /// A session with one folder that is context and Dockerfile at once, as clients have it.
    pub(crate) fn of(folder: &Folder) -> Self {
        Self::new().folders([("context", folder), ("dockerfile", folder)])
    }

    /// What its folders are known by.
    pub(crate) fn key(self, key: &str) -> Self {
        Self {
            key: key.to_owned(),
            ..self
        }
    }

    pub(crate) fn offer(mut self, method: Method, add: impl FnOnce(Methods) -> Methods) -> Self {
        self.offered.push(method);
        Self {
            methods: add(self.methods),
            ..self
        }
    }

    /// Offers folders by name.
    pub(crate) fn folders<const N: usize>(self, folders: [(&str, &Folder); N]) -> Self {
        let folders: HashMap<String, Folder> = folders
            .into_iter()
            .map(|(name, folder)| (name.to_owned(), folder.clone()))
            .collect();
        self.offer(SYNC, |methods| {
            methods.exchange(SYNC, move |request: Request<Streaming<Packet>>| {
                let name = values(&request, "dir-name").concat();
                let found = folders.get(&name).cloned();
                async move {
                    match found {
                        Some(folder) => Ok(folder.answer(request)),
                        None => Err(Status::not_found(format!("no access allowed to dir {name:?}"))),
                    }
                }
            })
        })
    }

    /// Offers secrets.
    pub(crate) fn secrets<const N: usize>(self, secrets: [(&'static str, &'static str); N]) -> Self {
        self.offer(SECRET, |methods| {
            methods.unary(SECRET, move |request: Request<GetSecretRequest>| {
                let id = request.into_inner().id;
                let found = secrets.iter().find(|(name, _)| *name == id);
                let answer = found
                    .map(|(_, value)| GetSecretResponse {
                        data: value.as_bytes().to_vec(),
                    })
                    .ok_or_else(|| Status::not_found(format!("secret {id} not found")));
                async move { answer }
            })
        })
    }

    /// Offers secrets and never answers for them; whether one was asked for is told.
    pub(crate) fn silent_secrets(self) -> (Self, Arc<AtomicBool>) {
        let asked: Arc<AtomicBool> = Arc::default();
        let seen = asked.clone();
        let session = self.offer(SECRET, |methods| {
            methods.unary(SECRET, move |_: Request<GetSecretRequest>| {
                seen.store(true, Ordering::SeqCst);
                std::future::pending::<Result<GetSecretResponse, Status>>()
            })
        });
        (session, asked)
    }

    /// Offers the credentials of one registry; who was asked for is remembered.
    pub(crate) fn credentials(self, user: &str, password: &str) -> (Self, Arc<Mutex<Vec<String>>>) {
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (seen, user, password) = (asked.clone(), user.to_owned(), password.to_owned());
        let session = self.offer(CREDENTIALS, |methods| {
            methods.unary(CREDENTIALS, move |request: Request<CredentialsRequest>| {
                seen.lock().unwrap().push(request.into_inner().host);
                let answer = CredentialsResponse {
                    username: user.clone(),
                    secret: password.clone(),
                };
                async move { Ok(answer) }
            })
        });
        (session, asked)
    }

    /// Offers an agent called `id` that says everything back in capitals, and hangs up after a full stop.
    pub(crate) fn agent(self, id: &'static str) -> Self {
        let with_check = self.offer(CHECK_AGENT, |methods| {
            methods.unary(
                CHECK_AGENT,
                move |request: Request<CheckAgentRequest>| async move {
                    match request.into_inner().id == id {
                        true => Ok(CheckAgentResponse {}),
                        false => Err(Status::not_found("unset ssh forward key")),
                    }
                },
            )
        });
        with_check.offer(FORWARD_AGENT, |methods| {
            methods.exchange(
                FORWARD_AGENT,
                move |request: Request<Streaming<BytesMessage>>| async move {
                    assert_eq!(values(&request, "buildkit.ssh.id").concat(), id);
                    let (sender, receiver) = mpsc::channel(4);
                    let mut said = request.into_inner();
                    tokio::spawn(async move {
                        while let Ok(Some(message)) = said.message().await {
                            let data = Bytes::from(message.data.to_ascii_uppercase());
                            let is_last = data.ends_with(b".");
                            if sender.send(Ok(BytesMessage { data })).await.is_err() || is_last {
                                return;
                            }
                        }
                    });
                    Ok(Box::pin(ReceiverStream::new(receiver)) as Messages<BytesMessage>)
                },
            )
        })
    }

    /// Offers an upload at a path.
    pub(crate) fn upload(self, path: &'static str, bytes: &[u8]) -> Self {
        let bytes = Bytes::copy_from_slice(bytes);
        self.offer(UPLOAD, |methods| {
            methods.exchange(UPLOAD, move |request: Request<Streaming<BytesMessage>>| {
                let asked = values(&request, "urlpath").concat();
                let pieces: Vec<_> = bytes
                    .chunks(3000)
                    .map(|piece| {
                        Ok(BytesMessage {
                            data: Bytes::copy_from_slice(piece),
                        })
                    })
                    .collect();
                async move {
                    if asked.trim_start_matches('/') != path {
                        return Err(Status::not_found(format!("no upload {asked}")));
                    }
                    Ok(Box::pin(tokio_stream::iter(pieces)) as Messages<BytesMessage>)
                }
            })
        })
    }

    /// Takes a result that comes as one tar.
    pub(crate) fn takes_tar(self) -> (Self, Arc<Mutex<Vec<u8>>>) {
        let received: Arc<Mutex<Vec<u8>>> = Arc::default();
        let kept = received.clone();
        let session = self.offer(SEND, |methods| {
            methods.exchange(SEND, move |request: Request<Streaming<BytesMessage>>| {
                let kept = kept.clone();
                async move {
                    let (sender, receiver) = mpsc::channel::<Result<BytesMessage, Status>>(1);
                    tokio::spawn(async move {
                        drain(request.into_inner(), |message| {
                            kept.lock().unwrap().extend_from_slice(&message.data);
                        })
                        .await;
                        drop(sender);
                    });
                    Ok(Box::pin(ReceiverStream::new(receiver)) as Messages<BytesMessage>)
                }
            })
        });
        (session, received)
    }

    /// Takes a result that comes file by file.
    pub(crate) fn takes_files(self) -> (Self, Received) {
        let received = Received::default();
        let kept = received.clone();
        let session = self.offer(SEND, |methods| {
            methods.exchange(SEND, move |request: Request<Streaming<Packet>>| {
                let kept = kept.clone();
                async move {
                    let (sender, receiver) = mpsc::channel(4096);
                    tokio::spawn(async move {
                        // a daemon that breaks off is what the test sees
                        let _ = receive(request.into_inner(), &sender, &kept).await;
                    });
                    Ok(Box::pin(ReceiverStream::new(receiver)) as Messages<Packet>)
                }
            })
        });
        (session, received)
    }

    fn headers(&self) -> Vec<(String, String)> {
        let header = |name: &str, value: &str| (format!("X-Docker-Expose-Session-{name}"), value.to_owned());
        let mut headers = vec![
            header("Uuid", &self.id),
            header("Name", "context"),
            header("Sharedkey", &self.key),
        ];
        headers.extend(self.offered.iter().map(|method| header("Grpc-Method", method)));
        headers
    }

    /// Attaches it by `POST /session`.
    pub(crate) async fn attach(self, daemon: &Daemon) -> Attached {
        let (answer, stream) = dial(daemon, "/session", &self.headers()).await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        Attached {
            id: self.id.clone(),
            carried: vec![tokio::spawn(self.methods.serve(stream))],
        }
    }

    /// Attaches it inside the connection of a client.
    pub(crate) async fn tunnel(self, client: &Client) -> Attached {
        let (sender, receiver) = mpsc::channel(4);
        let mut request = Request::new(ReceiverStream::new(receiver));
        for (name, value) in self.headers() {
            let name: tonic::metadata::AsciiMetadataKey = name.to_ascii_lowercase().parse().unwrap();
            request.metadata_mut().append(name, value.parse().unwrap());
        }
        let (inner, outer) = tokio::io::duplex(64 << 10);
        let (mut from, mut to) = tokio::io::split(outer);
        let mut messages = client
            .exchange::<BytesMessage, BytesMessage>("/moby.buildkit.v1.Control/Session", request)
            .await
            .unwrap();
        let incoming = tokio::spawn(async move {
            while let Ok(Some(message)) = messages.message().await {
                if to.write_all(&message.data).await.is_err() {
                    return;
                }
            }
        });
        let outgoing = tokio::spawn(async move {
            let mut buffer = vec![0; 16 << 10];
            while let Ok(count @ 1..) = from.read(&mut buffer).await {
                let data = Bytes::copy_from_slice(&buffer[..count]);
                if sender.send(BytesMessage { data }).await.is_err() {
                    return;
                }
            }
        });
        let serving = tokio::spawn(self.methods.serve(inner));
        Attached {
            id: self.id,
            carried: vec![incoming, outgoing, serving],
        }
    }
}

/// The receiving side of an exchange of files: hears of all, wants all, says when it has them.
async fn receive(
    mut packets: Streaming<Packet>,
    sender: &mpsc::Sender<Result<Packet, Status>>,
    kept: &Received,
) -> Option<()> {
    let mut told: Vec<Stat> = Vec::new();
    let mut waiting = 0;
    while let Some(stat) = packets.message().await.ok()??.stat {
        if stat.kind() == Some(FileKind::File) && stat.linkname.is_empty() {
            let id = u32::try_from(told.len()).unwrap();
            let wanted = packet(PacketKind::Req, id, None, b"");
            sender.send(Ok(wanted)).await.ok()?;
            waiting += 1;
        }
        let mut kept = kept.lock().unwrap();
        kept.insert(stat.path.clone(), (stat.clone(), Vec::new()));
        told.push(stat);
    }
    while waiting > 0 {
        let piece = packets.message().await.ok()??;
        assert_eq!(piece.kind(), PacketKind::Data);
        if piece.data.is_empty() {
            waiting -= 1;
            continue;
        }
        let path = &told[piece.id as usize].path;
        let mut kept = kept.lock().unwrap();
        kept.get_mut(path).unwrap().1.extend_from_slice(&piece.data);
    }
    sender
        .send(Ok(packet(PacketKind::Fin, 0, None, b"")))
        .await
        .ok()?;
    let last = packets.message().await.ok()??;
    assert_eq!(last.kind(), PacketKind::Fin);
    Some(())
}
