//! A session against a client whose services are answered by [`Methods`], on a connection that never leaves memory.

use std::time::Duration;

use bytes::Bytes;
use mica_buildkit::message::control::BytesMessage;
use mica_buildkit::message::session::{
    CheckAgentRequest, CheckAgentResponse, CredentialsRequest, CredentialsResponse, GetSecretRequest,
    GetSecretResponse, Packet, PacketKind,
};
use mica_buildkit::{
    ArchiveSend, DirSend, DirSync, MESSAGE_LIMIT, Messages, Method, Methods, Session, SessionError, Stat,
    SyncError, SyncRequest, Wanted,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming};

const SYNC: Method = "/moby.filesync.v1.FileSync/DiffCopy";
const SEND: Method = "/moby.filesync.v1.FileSend/DiffCopy";
const SECRET: Method = "/moby.buildkit.secrets.v1.Secrets/GetSecret";
const CREDENTIALS: Method = "/moby.filesync.v1.Auth/Credentials";
const CHECK_AGENT: Method = "/moby.sshforward.v1.SSH/CheckAgent";

/// A session with a client that answers with these methods; the client goes when the task is stopped.
async fn attach(methods: Methods, offered: &[&str]) -> (Session, JoinHandle<()>) {
    let (near, far) = tokio::io::duplex(64 << 10);
    let client = tokio::spawn(methods.serve(far));
    let offered = offered.iter().map(|method| (*method).to_owned());
    let attached = Session::attach(near, offered).await;
    let (session, attached) = attached.expect("the client speaks HTTP/2");
    tokio::spawn(attached.carry());
    (session, client)
}

fn packet(kind: PacketKind, id: u32, stat: Option<Stat>, data: &[u8]) -> Result<Packet, Status> {
    Ok(Packet {
        kind: kind.into(),
        stat,
        id,
        data: Bytes::copy_from_slice(data),
    })
}

fn named(path: &str) -> Option<Stat> {
    Some(Stat {
        path: path.to_owned(),
        ..Stat::default()
    })
}

/// A client that says these packets whatever it is asked.
fn saying(packets: &[Result<Packet, Status>]) -> Methods {
    let packets = packets.to_vec();
    Methods::default().exchange(SYNC, move |_: Request<Streaming<Packet>>| {
        let packets = packets.clone();
        async move { Ok(Box::pin(tokio_stream::iter(packets)) as Messages<Packet>) }
    })
}

#[tokio::test]
async fn secrets_credentials_and_agents_are_there_or_not() {
    let methods = Methods::default()
        .unary(SECRET, |request: Request<GetSecretRequest>| async move {
            match request.into_inner().id.as_str() {
                "one" => Ok(GetSecretResponse {
                    data: b"value".to_vec(),
                }),
                "broken" => Err(Status::internal("no")),
                "huge" => Ok(GetSecretResponse {
                    data: vec![0; MESSAGE_LIMIT + 1],
                }),
                _ => Err(Status::not_found("none of that name")),
            }
        })
        .unary(CREDENTIALS, |request: Request<CredentialsRequest>| async move {
            let known = request.into_inner().host == "known";
            let text = |text: &str| if known { text.to_owned() } else { String::new() };
            Ok(CredentialsResponse {
                username: text("me"),
                secret: text("mine"),
            })
        })
        .unary(CHECK_AGENT, |request: Request<CheckAgentRequest>| async move {
            match request.into_inner().id.as_str() {
                "default" => Ok(CheckAgentResponse {}),
                _ => Err(Status::not_found("none of that name")),
            }
        });
    let offered = [SECRET, "/MOBY.filesync.v1.auth/credentials", CHECK_AGENT];
    let (session, _client) = attach(methods.clone(), &offered).await;
    assert_eq!(session.secret("one").await.unwrap(), Some(b"value".to_vec()));
    assert_eq!(session.secret("two").await.unwrap(), None);
    assert!(matches!(
        session.secret("broken").await,
        Err(SessionError::Refused(_))
    ));
    assert!(matches!(
        session.secret("huge").await,
        Err(SessionError::Refused(_))
    ));
    let known = session.credentials("known").await.unwrap();
    assert_eq!(known, Some(("me".to_owned(), "mine".to_owned())));
    assert_eq!(session.credentials("other").await.unwrap(), None);
    assert!(session.has_agent("default").await.unwrap() && !session.has_agent("other").await.unwrap());
    assert!(session.offers(CREDENTIALS) && !session.offers(SYNC));

    // what is not offered is not asked for
    let (session, _client) = attach(methods, &[]).await;
    assert_eq!(session.secret("one").await.unwrap(), None);
    assert_eq!(session.credentials("known").await.unwrap(), None);
    assert!(!session.has_agent("default").await.unwrap());
    let begun = DirSync::begin(&session, &SyncRequest::default()).await;
    assert!(matches!(
        begun,
        Err(SyncError::Session(SessionError::NotOffered(SYNC)))
    ));

    // and what is offered and not answered is as good as not there
    let (session, _client) = attach(Methods::default(), &[SECRET]).await;
    assert_eq!(session.secret("one").await.unwrap(), None);
}

#[tokio::test]
async fn files_are_told_of_and_sent() {
    let methods = Methods::default().exchange(SYNC, |request: Request<Streaming<Packet>>| async move {
        let folder = request
            .metadata()
            .get("dir-name")
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let (sender, receiver) = mpsc::channel(8);
        let mut asked = request.into_inner();
        tokio::spawn(async move {
            for path in [&folder[..], "b"] {
                sender
                    .send(packet(PacketKind::Stat, 0, named(path), b""))
                    .await
                    .unwrap();
            }
            sender.send(packet(PacketKind::Stat, 0, None, b"")).await.unwrap();
            while let Some(wanted) = asked.message().await.unwrap() {
                let (kind, id) = (wanted.kind(), wanted.id);
                if kind == PacketKind::Fin {
                    sender.send(packet(PacketKind::Fin, 0, None, b"")).await.unwrap();
                    return;
                }
                for piece in [&b"some"[..], b"thing", b""] {
                    sender
                        .send(packet(PacketKind::Data, id, None, piece))
                        .await
                        .unwrap();
                }
            }
        });
        Ok(Box::pin(ReceiverStream::new(receiver)) as Messages<Packet>)
    });
    let (session, _client) = attach(methods, &[SYNC]).await;
    let request = SyncRequest {
        folder: "context".to_owned(),
        ..SyncRequest::default()
    };
    let mut sync = DirSync::begin(&session, &request).await.unwrap();
    let first = sync.next().await.unwrap().unwrap();
    assert_eq!((first.0, first.1.path.as_str()), (0, "context"));
    assert_eq!(sync.next().await.unwrap().unwrap().0, 1);
    assert!(sync.next().await.unwrap().is_none());
    sync.want(1).await.unwrap();
    let mut bytes = Vec::new();
    loop {
        let (id, piece) = sync.data().await.unwrap();
        assert_eq!(id, 1);
        if piece.is_empty() {
            break;
        }
        bytes.extend_from_slice(&piece);
    }
    assert_eq!(bytes, b"something");
    sync.finish().await;
}

#[tokio::test]
async fn exchanges_that_go_wrong_say_how() {
    let begin = async |packets: &[Result<Packet, Status>]| {
        let (session, client) = attach(saying(packets), &[SYNC]).await;
        let sync = DirSync::begin(&session, &SyncRequest::default()).await.unwrap();
        (sync, client)
    };
    let (mut sync, _client) = begin(&[]).await;
    assert!(matches!(sync.next().await, Err(SyncError::Broken)));
    let (mut sync, _client) = begin(&[packet(PacketKind::Err, 0, None, b"on fire")]).await;
    assert!(matches!(sync.next().await, Err(SyncError::Client(text)) if text == "on fire"));
    for kind in [PacketKind::Req, PacketKind::Data, PacketKind::Fin] {
        let (mut sync, _client) = begin(&[packet(kind, 0, None, b"x")]).await;
        assert!(
            matches!(sync.next().await, Err(SyncError::Nonsense(_))),
            "{kind:?}"
        );
    }
    let (mut sync, _client) = begin(&[packet(PacketKind::Stat, 0, None, b"")]).await;
    assert!(sync.next().await.unwrap().is_none());
    assert!(matches!(sync.data().await, Err(SyncError::Broken)));
    let (mut sync, _client) = begin(&[packet(PacketKind::Stat, 0, named("x"), b"")]).await;
    assert!(matches!(sync.data().await, Err(SyncError::Nonsense(_))));
    let strange = Ok(Packet {
        kind: 77,
        ..Packet::default()
    });
    let (mut sync, _client) = begin(&[strange]).await;
    assert!(matches!(sync.next().await, Err(SyncError::Nonsense(_))));
    let (mut sync, _client) = begin(&[Err(Status::permission_denied("not yours"))]).await;
    let error = sync.next().await.unwrap_err();
    assert!(error.to_string().contains("not yours"), "{error}");
}

#[tokio::test]
async fn a_client_that_is_gone_is_noticed_by_all_who_wait() {
    let methods = Methods::default()
        .unary(SECRET, |_: Request<GetSecretRequest>| {
            std::future::pending::<Result<GetSecretResponse, Status>>()
        })
        .exchange(SYNC, |_: Request<Streaming<Packet>>| async {
            Ok(Box::pin(tokio_stream::pending()) as Messages<Packet>)
        });
    let (session, client) = attach(methods, &[SYNC, SECRET]).await;
    let mut sync = DirSync::begin(&session, &SyncRequest::default()).await.unwrap();
    let waiting = async {
        let (secret, file, ()) = tokio::join!(session.secret("x"), sync.next(), session.gone());
        assert!(secret.is_err() && file.is_err());
    };
    let leaving = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        client.abort();
    };
    let both = async { tokio::join!(waiting, leaving) };
    tokio::time::timeout(Duration::from_secs(60), both).await.unwrap();
    assert!(session.secret("x").await.is_err());
}

#[tokio::test]
async fn who_speaks_no_http_2_is_no_session() {
    use tokio::io::AsyncWriteExt as _;

    let (near, mut far) = tokio::io::duplex(4096);
    far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    match Session::attach(near, [SECRET.to_owned()]).await {
        Err(_) => {}
        Ok((session, attached)) => {
            tokio::spawn(attached.carry());
            let asked = tokio::time::timeout(Duration::from_secs(60), session.secret("x"));
            assert!(asked.await.unwrap().is_err());
        }
    }
}

#[tokio::test]
async fn archives_and_folders_are_sent() {
    let methods = Methods::default().exchange(SEND, |request: Request<Streaming<BytesMessage>>| async move {
        let number = request.metadata().get("buildkit-attachable-exporter-id").unwrap();
        assert_eq!(number, "3");
        let mut all = Vec::new();
        let mut pieces = request.into_inner();
        while let Some(piece) = pieces.message().await? {
            all.extend_from_slice(&piece.data);
        }
        match all == b"onetwo" {
            true => Ok(Box::pin(tokio_stream::empty()) as Messages<BytesMessage>),
            false => Err(Status::data_loss("not what was sent")),
        }
    });
    let (session, _client) = attach(methods, &[SEND]).await;
    for (pieces, fits) in [(["one", "two"], true), (["one", "three"], false)] {
        let mut send = ArchiveSend::begin(&session, 3).await.unwrap();
        for piece in pieces {
            send.send(Bytes::from_static(piece.as_bytes())).await.unwrap();
        }
        assert_eq!(send.finish().await.is_ok(), fits);
    }

    let methods = Methods::default().exchange(SEND, |request: Request<Streaming<Packet>>| async move {
        let said = vec![
            packet(PacketKind::Req, 1, None, b""),
            packet(PacketKind::Fin, 0, None, b""),
        ];
        // it asks before it was told of all, and hears the rest
        let rest = request.into_inner().filter_map(|_| None);
        Ok(Box::pin(tokio_stream::iter(said).chain(rest)) as Messages<Packet>)
    });
    let (session, _client) = attach(methods, &[SEND]).await;
    let mut send = DirSend::begin(&session, 0).await.unwrap();
    let teller = send.teller();
    let telling = tokio::task::spawn_blocking(move || {
        teller.tell(named("a"))?;
        teller.tell(named("b"))?;
        teller.tell(None)?;
        teller.send(1, Bytes::from_static(b"b"))?;
        teller.send(1, Bytes::new())
    });
    assert_eq!(send.wanted().await.unwrap(), Wanted::File(1));
    assert_eq!(send.wanted().await.unwrap(), Wanted::Nothing);
    telling.await.unwrap().unwrap();
    send.finish().await.unwrap();
}
