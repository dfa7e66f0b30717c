//! Clients that do not speak gRPC, or speak it to do harm: an error for them and nothing for others.

use std::time::Duration;

use mica_buildkit::message::control::{BytesMessage, SolveRequest, SolveResponse};
use mica_buildkit::message::gateway::{PingRequest, PongResponse};
use mica_tests::{Context, Daemon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tonic::Code;

use crate::build::{Build, PING, SOLVE, Way};
use crate::client::{Client, dial};
use crate::folder::Folder;
use crate::session::Session;
use crate::{LONG, fresh, within};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes that no client sends.
fn garbage() -> Vec<(&'static str, Vec<u8>)> {
    let frame = |kind: u8, flags: u8, stream: u32, length: u32, body: &[u8]| {
        let mut bytes = length.to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(body);
        [PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0], &bytes].concat()
    };
    vec![
        (
            "nothing of HTTP/2",
            b"\0\x01\x02 not a protocol at all\r\n\r\n".to_vec(),
        ),
        ("half a preface", PREFACE[..10].to_vec()),
        ("a preface and noise", [PREFACE, &[0xff; 4096]].concat()),
        ("a frame that is too long", frame(0, 0, 1, 0xff_ffff, b"x")),
        ("bytes of no call", frame(0, 0, 1, 4, b"abcd")),
        ("headers that are none", frame(1, 4, 1, 8, &[0xff; 8])),
        ("headers without end", frame(1, 0, 1, 1, &[0x82])),
        ("a window of nothing", frame(8, 0, 0, 4, &[0; 4])),
        ("an even stream", frame(1, 5, 2, 1, &[0x82])),
        (
            "settings that are none",
            frame(4, 0, 0, 6, &[0, 4, 0xff, 0xff, 0xff, 0xff]),
        ),
    ]
}

#[tokio::test]
async fn noise_hurts_nobody_else() {
    let daemon = Daemon::start();
    let context = Context::with_shell(
        "FROM base\nRUN i=0; while [ $i -lt 40 ]; do echo $i; sleep 0.1; i=$((i+1)); done\n",
    );
    let client = Client::upgraded(&daemon).await;
    let session = Session::of(&Folder::of(context.path())).attach(&daemon).await;
    let building = tokio::spawn({
        let build = Build::new(&session.id);
        async move { build.run(&client, Way::Gateway).await }
    });
    for (what, bytes) in garbage() {
        for path in ["/grpc", "/session", ""] {
            let mut stream = match path {
                "" => UnixStream::connect(daemon.socket()).await.unwrap(),
                path => {
                    let id = ("X-Docker-Expose-Session-Uuid".to_owned(), fresh());
                    dial(&daemon, path, &[id]).await.1
                }
            };
            // the daemon may hang up before it has heard all of it
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
            assert!(read.is_ok(), "{what} at {path:?}: the daemon does not hang up");
        }
    }
    let built = within(LONG, building).await.unwrap().ok();
    assert!(built.told.output().ends_with("38\n39\n"));
}

#[tokio::test]
async fn messages_that_are_none_are_refused_and_the_connection_goes_on() {
    let daemon = Daemon::start();
    let client = Client::upgraded(&daemon).await;
    // a field of another type than the message has, and an end before its end
    for garbage in [&b"\x0a\xff\xff\xff\xff\x0f"[..], b"\x08\x01\x0b", b"\xff\xff\xff"] {
        let raw = crate::client::Raw(garbage.to_vec());
        let refused = client.ask::<_, SolveResponse>(SOLVE, raw).await.unwrap_err();
        assert!(
            matches!(refused.code(), Code::Internal | Code::InvalidArgument),
            "{refused:?}"
        );
    }
    let mut large = SolveRequest {
        reference: fresh(),
        ..SolveRequest::default()
    };
    large
        .frontend_attrs
        .insert("build-arg:X".to_owned(), "x".repeat(17 << 20));
    let refused = within(LONG, client.ask::<_, SolveResponse>(SOLVE, large))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused:?}");
    assert!(daemon.peak_memory() < 120, "{} MiB", daemon.peak_memory());
    let health: mica_buildkit::message::control::HealthResponse = client
        .ask(
            "/grpc.health.v1.Health/Check",
            mica_buildkit::message::control::HealthRequest::default(),
        )
        .await
        .unwrap();
    assert_eq!(health.status, 1);
}

#[tokio::test]
async fn a_hundred_calls_without_a_build_are_answered_in_time() {
    let daemon = Daemon::start();
    let client = Client::upgraded(&daemon).await;
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..400 {
        let client = client.clone();
        calls.spawn(async move {
            client
                .bridge::<_, PongResponse>(PING, &format!("nothing-{number}"), PingRequest {})
                .await
        });
    }
    // no more than 256 of them go on at once; each waits six seconds for its build
    let all = async {
        while let Some(done) = calls.join_next().await {
            assert_eq!(done.unwrap().unwrap_err().code(), Code::NotFound);
        }
    };
    within(Duration::from_secs(30), all).await;
}

#[tokio::test]
async fn a_tunnel_that_carries_noise_ends() {
    let daemon = Daemon::start();
    let client = Client::upgraded(&daemon).await;
    for bytes in [&b"no preface at all"[..], &[0; 100_000]] {
        let data = bytes::Bytes::copy_from_slice(bytes);
        let sent = tokio_stream::iter(vec![BytesMessage { data }; 50]);
        let mut request = tonic::Request::new(sent);
        let metadata = request.metadata_mut();
        metadata.insert("x-docker-expose-session-uuid", fresh().parse().unwrap());
        let mut answers = client
            .exchange::<_, BytesMessage>("/moby.buildkit.v1.Control/Session", request)
            .await
            .unwrap();
        let ended = async { while let Ok(Some(_)) = answers.message().await {} };
        within(Duration::from_secs(10), ended).await;
    }
    let nameless = tonic::Request::new(tokio_stream::empty::<BytesMessage>());
    let refused = client
        .exchange::<_, BytesMessage>("/moby.buildkit.v1.Control/Session", nameless)
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn failures_fit_into_what_clients_take() {
    let daemon = Daemon::start();
    // gRPC tells of them in headers, of which clients take 16 KiB
    let long = format!(
        "FROM base\n{}RUN exit 3 # {}\n{}",
        "# text\n".repeat(9000),
        "y".repeat(60_000),
        "LABEL a=b\n".repeat(4000)
    );
    let context = Context::with_shell(&long);
    let client = Client::upgraded(&daemon).await;
    for way in [Way::Gateway, Way::Direct] {
        let session = Session::of(&Folder::of(context.path())).attach(&daemon).await;
        let built = within(LONG, Build::new(&session.id).run(&client, way)).await;
        let status = built.failure(Code::Unknown);
        assert!(
            status.message().starts_with("process \"/bin/sh -c exit 3"),
            "{}",
            status.message()
        );
    }
}
