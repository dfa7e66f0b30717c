//! `POST /build?version=2`: builds over a session that are asked for without gRPC.

use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mica_buildkit::message::control::StatusResponse;
use mica_tests::{Context, Daemon};
use prost::Message;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::folder::Folder;
use crate::gone::{sleeping, until};
use crate::session::Session;
use crate::{LONG, fresh, within};

/// How long a build may go on that nobody wants.
const STOPPED: Duration = Duration::from_secs(20);

/// How much later the second of two requests comes.
const LATE: Duration = Duration::from_millis(200);

/// Begins a request for a build.
async fn begin(daemon: &Daemon, query: &str, body: &[u8]) -> UnixStream {
    let mut stream = UnixStream::connect(daemon.socket()).await.unwrap();
    let head = format!(
        "POST /v1.41/build?version=2&{query} HTTP/1.1\r\nHost: mica\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    stream
}

/// What was answered: the status and the lines of a stream, in whatever pieces they came.
async fn answer(mut stream: UnixStream) -> (String, Vec<Value>) {
    let mut bytes = Vec::new();
    within(LONG, stream.read_to_end(&mut bytes)).await.unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let status = text.split(' ').nth(1).unwrap_or_default().to_owned();
    let lines = text.lines().filter(|line| line.starts_with('{'));
    let lines = lines.map(|line| serde_json::from_str(line).unwrap());
    (status, lines.collect())
}

async fn ask(daemon: &Daemon, query: &str, body: &[u8]) -> (String, Vec<Value>) {
    answer(begin(daemon, query, body).await).await
}

/// Names of all vertices that were told to have ended.
fn ended(lines: &[Value]) -> Vec<String> {
    let traces = lines.iter().filter(|line| line["id"] == "moby.buildkit.trace");
    let statuses = traces.map(|line| {
        let bytes = STANDARD.decode(line["aux"].as_str().unwrap()).unwrap();
        StatusResponse::decode(&bytes[..]).unwrap()
    });
    let vertices = statuses.flat_map(|status| status.vertexes);
    let ended = vertices.filter(|vertex| vertex.completed.is_some());
    ended.map(|vertex| vertex.name).collect()
}

fn image(lines: &[Value]) -> &str {
    let last = lines.last().unwrap();
    assert_eq!(last["id"], "moby.image.id", "{last}");
    last["aux"]["ID"].as_str().unwrap()
}

fn tar_of(context: &Context) -> Vec<u8> {
    let tar = Command::new("tar")
        .args(["-c", "-C", context.arg(), "."])
        .output();
    tar.unwrap().stdout
}

#[tokio::test]
async fn a_folder_a_body_and_an_upload_come_to_the_same_image() {
    let daemon = Daemon::start();
    let context = Context::with_shell("FROM base\nCOPY f /f\nRUN cat /f\n").file("f", "hello\n");
    let session = Session::of(&Folder::of(context.path())).attach(&daemon).await;
    let query = format!(
        "remote=client-session&session={}&buildid={}&t=app:1",
        session.id,
        fresh()
    );
    let (status, lines) = ask(&daemon, &query, b"").await;
    assert_eq!(status, "200");
    let expected = image(&lines).to_owned();
    let named = daemon.mica(["inspect", "-f", "{{.Id}}", "app:1"]).ok();
    assert_eq!(named.text(), expected);
    for name in ["load build context", "RUN cat /f", "exporting to image"] {
        assert!(ended(&lines).iter().any(|ended| ended.contains(name)), "{name}");
    }
    let tar = tar_of(&context);
    let (_, lines) = ask(&daemon, "", &tar).await;
    assert_eq!(image(&lines), expected);
    for upload_first in [true, false] {
        let name = fresh();
        let upload = format!("buildid=upload-request:{name}");
        let build = format!("remote=upload-request&buildid={name}");
        // what is not read does not fit into the connection, so neither is done before the other
        let uploading = async {
            if !upload_first {
                tokio::time::sleep(LATE).await;
            }
            ask(&daemon, &upload, &tar).await
        };
        let building = async {
            if upload_first {
                tokio::time::sleep(LATE).await;
            }
            ask(&daemon, &build, b"").await
        };
        let (upload, build) = tokio::join!(uploading, building);
        assert_eq!((upload.0.as_str(), upload.1.len()), ("200", 0));
        assert_eq!(image(&build.1), expected);
    }
    // quietly
    let (_, lines) = ask(&daemon, "q=1", &tar).await;
    assert_eq!(lines, [serde_json::json!({"stream": format!("{expected}\n")})]);
}

#[tokio::test]
async fn what_fails_is_the_last_line() {
    let daemon = Daemon::start();
    let context = Context::with_shell("FROM base\nRUN echo before; exit 7\n");
    for quiet in ["q=0", "q=1"] {
        let (status, lines) = ask(&daemon, quiet, &tar_of(&context)).await;
        assert_eq!(status, "200");
        let last = lines.last().unwrap();
        let words = "process \"/bin/sh -c echo before; exit 7\" did not complete successfully: exit code: 7";
        assert_eq!(
            (&last["error"], &last["errorDetail"]["message"]),
            (&words.into(), &words.into())
        );
        // what a quiet build did comes then
        assert!(ended(&lines).iter().any(|ended| ended.contains("RUN echo")));
    }
    let (_, lines) = ask(
        &daemon,
        &format!("remote=upload-request&buildid={}", fresh()),
        b"",
    )
    .await;
    assert!(
        lines[0]["error"].as_str().unwrap().contains("was not"),
        "{lines:?}"
    );
    assert!(daemon.mica(["images", "-q", "-a"]).ok().stdout.is_empty());
}

/// How a build is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Client,
    Session,
    Cancel,
}

#[tokio::test]
async fn a_build_ends_with_its_client_its_session_or_by_its_name() {
    let daemon = Daemon::start();
    for end in [End::Client, End::Session, End::Cancel] {
        let (context, mark) = sleeping(&daemon);
        let session = Session::of(&Folder::of(context.path())).attach(&daemon).await;
        let name = fresh();
        let query = format!("remote=client-session&session={}&buildid={name}", session.id);
        let stream = begin(&daemon, &query, b"").await;
        until(&mark, 2, LONG).await;
        // a second build of that name is none
        let (status, _) = ask(&daemon, &query, b"").await;
        assert_eq!(status, "409");
        let stream = match end {
            End::Client => {
                drop(stream);
                None
            }
            End::Session => {
                drop(session);
                Some(stream)
            }
            End::Cancel => {
                let mut other = UnixStream::connect(daemon.socket()).await.unwrap();
                let head = format!(
                    "POST /build/cancel?id={name} HTTP/1.1\r\nHost: mica\r\nConnection: close\r\n\r\n"
                );
                other.write_all(head.as_bytes()).await.unwrap();
                assert_eq!(answer(other).await.0, "200");
                Some(stream)
            }
        };
        until(&mark, 0, STOPPED).await;
        if let Some(stream) = stream {
            let (_, lines) = answer(stream).await;
            assert!(lines.last().unwrap()["error"].is_string(), "{end:?}");
        }
    }
}
