//! Stores of blobs that a session offers: images of OCI layouts come from there, results go there. Honest ones and others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use mica_buildkit::message::content::{
    AbortRequest, AbortResponse, ReadContentRequest, ReadContentResponse, WriteAction, WriteContentRequest,
    WriteContentResponse,
};
use mica_buildkit::{Messages, Method};
use mica_tests::{Context, Daemon};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, Streaming};

use crate::build::{Build, Built, WAYS, Way};
use crate::client::Client;
use crate::folder::{Folder, values};
use crate::session::Session;
use crate::{LONG, within};

const READ: Method = "/containerd.services.content.v1.Content/Read";
const WRITE: Method = "/containerd.services.content.v1.Content/Write";
const ABORT: Method = "/containerd.services.content.v1.Content/Abort";
const STORE_ID: &str = "buildkit-attachable-store-id";

/// Blobs by digest.
type Blobs = HashMap<String, Vec<u8>>;

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}

/// The blobs of an image with the file `f`, and the digest of its manifest.
fn image(text: &str) -> (Blobs, String) {
    let daemon = Daemon::start();
    let context = Context::new("FROM scratch\nCOPY f /f\nENV LAID=yes\n").file("f", text);
    daemon.mica(["build", "-q", "-t", "laid", context.arg()]).ok();
    let (archive, folder) = (daemon.folder().join("a.tar"), daemon.folder().join("layout"));
    daemon
        .mica(["save", "-o", archive.to_str().unwrap(), "laid"])
        .ok();
    fs_err::create_dir(&folder).unwrap();
    let mut tar = std::process::Command::new("tar");
    mica_tests::run(tar.arg("-C").arg(&folder).arg("-xf").arg(archive)).ok();
    let index: Value = serde_json::from_slice(&fs_err::read(folder.join("index.json")).unwrap()).unwrap();
    let blobs = fs_err::read_dir(folder.join("blobs/sha256")).unwrap();
    let blobs = blobs.map(|entry| {
        let bytes = fs_err::read(entry.unwrap().path()).unwrap();
        (digest(&bytes), bytes)
    });
    let top = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
    (blobs.collect(), top)
}

/// Puts a document among the blobs; its digest.
fn put(blobs: &mut Blobs, document: &Value) -> String {
    let bytes = serde_json::to_vec(document).unwrap();
    let name = digest(&bytes);
    blobs.insert(name.clone(), bytes);
    name
}

/// What was asked for.
type Asked = Arc<Mutex<Vec<String>>>;

/// What a store sends for a blob.
type Sent = Messages<ReadContentResponse>;

fn pieces(bytes: &[u8]) -> Sent {
    let pieces: Vec<_> = bytes
        .chunks(1000)
        .map(|piece| {
            Ok(ReadContentResponse {
                offset: 0,
                data: Bytes::copy_from_slice(piece),
            })
        })
        .collect();
    Box::pin(tokio_stream::iter(pieces))
}

/// A session with a layout called `here`, whose blobs are sent as `lie` says or else as they are.
fn with_layout(
    session: Session,
    blobs: &Blobs,
    lie: impl Fn(&str, &[u8]) -> Option<Sent> + Send + Sync + Clone + 'static,
) -> (Session, Asked) {
    let (blobs, asked) = (Arc::new(blobs.clone()), Asked::default());
    let seen = asked.clone();
    let session = session.offer(READ, |methods| {
        methods.stream(READ, move |request: Request<ReadContentRequest>| {
            let store = values(&request, STORE_ID).concat();
            let wanted = request.into_inner().digest;
            let sent = match blobs.get(&wanted) {
                _ if store != "oci:here" => Err(Status::not_found(format!("unknown store {store}"))),
                Some(bytes) => Ok(lie(&wanted, bytes).unwrap_or_else(|| pieces(bytes))),
                None => Err(Status::not_found(format!("content {wanted}: not found"))),
            };
            seen.lock().unwrap().push(wanted);
            async move { sent }
        })
    });
    (session, asked)
}

async fn build(daemon: &Daemon, session: Session, way: Way, place: &str) -> Built {
    let client = Client::upgraded(daemon).await;
    let session = session.attach(daemon).await;
    let build = Build::new(&session.id).attr("context:base", place).name("made");
    within(LONG, build.run(&client, way)).await
}

fn folder() -> Folder {
    Folder::with("FROM base\nCOPY --from=base f /copy\n")
}

#[tokio::test]
async fn an_image_of_a_layout_is_taken_in_once_and_without_its_name() {
    let (mut blobs, top) = image("of the layout");
    let size = blobs[&top].len();
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let gone = digest(b"gone");
    let index = put(
        &mut blobs,
        &json!({"schemaVersion": 2, "manifests": [
            {"mediaType": kind, "digest": gone, "size": 1, "platform": {"os": "linux", "architecture": "s390x"}},
            {"mediaType": kind, "digest": top, "size": size, "platform": {"os": "linux", "architecture": "amd64"}},
        ]}),
    );
    for (way, name) in WAYS.into_iter().zip([&top, &index]) {
        let daemon = Daemon::start();
        for (round, place) in [format!("here@{name}"), format!("here:latest@{name}")]
            .into_iter()
            .enumerate()
        {
            let (session, asked) = with_layout(Session::of(&folder()), &blobs, |_, _| None);
            let session = session.key("other");
            let built = build(&daemon, session, way, &format!("oci-layout://{place}"))
                .await
                .ok();
            assert_eq!(
                daemon
                    .mica(["inspect", "-f", "{{.Config.Env}}", built.image()])
                    .ok()
                    .text(),
                "[PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LAID=yes]"
            );
            let layers: Vec<String> = asked.lock().unwrap().clone();
            if round > 0 {
                let large = layers.iter().filter(|digest| blobs[*digest].len() > 1024);
                assert_eq!(large.count(), 0, "what is here is not asked for: {layers:?}");
            }
            assert_eq!(daemon.mica(["images", "-q", "laid"]).ok().text(), "");
        }
    }
}

#[tokio::test]
async fn a_layout_that_is_not_used_is_not_read() {
    let daemon = Daemon::start();
    let (blobs, top) = image("unused");
    let folder = Folder::with("FROM scratch\nCOPY Dockerfile /\n");
    let (session, asked) = with_layout(Session::of(&folder), &blobs, |_, _| None);
    build(
        &daemon,
        session,
        Way::Gateway,
        &format!("oci-layout://here@{top}"),
    )
    .await
    .ok();
    assert!(asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn stores_that_lie_are_refused_by_digest_and_size() {
    let daemon = Daemon::start();
    let (blobs, top) = image(&"long enough to have several pieces ".repeat(200));
    let place = format!("oci-layout://here@{top}");
    type Lie = fn(&[u8]) -> Sent;
    let lies: [(&str, Lie); 5] = [
        ("other bytes", |bytes| {
            let mut bytes = bytes.to_vec();
            *bytes.last_mut().unwrap() ^= 1;
            pieces(&bytes)
        }),
        ("short", |bytes| pieces(&bytes[..bytes.len() - 1])),
        ("nothing", |_| pieces(&[])),
        ("endless", |_| {
            let piece = Bytes::from(vec![b' '; 64 << 10]);
            let piece = ReadContentResponse {
                offset: 0,
                data: piece,
            };
            Box::pin(tokio_stream::iter(std::iter::repeat_with(move || {
                Ok(piece.clone())
            })))
        }),
        ("breaks off", |bytes| {
            let end = tokio_stream::once(Err(Status::data_loss("the disk is gone")));
            Box::pin(pieces(&bytes[..bytes.len() / 2]).chain(end))
        }),
    ];
    for liar in blobs.keys() {
        for (what, lie) in lies {
            let about = liar.clone();
            let (session, _) = with_layout(Session::of(&folder()), &blobs, move |digest, bytes| {
                (digest == about).then(|| lie(bytes))
            });
            let built = build(&daemon, session, Way::Gateway, &place).await;
            let Err(status) = &built.answer else {
                panic!("{what} for {liar} made an image");
            };
            assert!(status.message().contains("base"), "{what} for {liar}: {status:?}");
            assert!(built.told.ended);
        }
    }
    for place in [
        "oci-layout://here",
        "oci-layout://elsewhere@",
        "oci-layout://here@sha256:12",
    ] {
        let (session, _) = with_layout(Session::of(&folder()), &blobs, |_, _| None);
        build(&daemon, session, Way::Direct, place)
            .await
            .failure(Code::InvalidArgument);
    }
    let (session, _) = with_layout(Session::of(&folder()), &blobs, |_, _| None);
    let missing = build(
        &daemon,
        session,
        Way::Direct,
        &format!("oci-layout://elsewhere@{top}"),
    )
    .await;
    let status = missing.answer.unwrap_err();
    assert!(
        status.message().contains("unknown store oci:elsewhere"),
        "{status:?}"
    );
    let built = build(&daemon, Session::of(&folder()), Way::Direct, &place).await;
    let status = built.answer.unwrap_err();
    assert!(status.message().contains("does not offer"), "{status:?}");
    assert!(daemon.peak_memory() < 150, "{} MiB", daemon.peak_memory());
    // an honest one still works
    let (session, _) = with_layout(Session::of(&folder()), &blobs, |_, _| None);
    build(&daemon, session, Way::Direct, &place).await.ok();
}

#[tokio::test]
async fn a_store_that_does_not_answer_can_be_left() {
    let daemon = Daemon::start();
    let (blobs, top) = image("never comes");
    let (session, asked) = with_layout(Session::of(&folder()), &blobs, |_, _| {
        Some(Box::pin(tokio_stream::pending()))
    });
    let client = Client::upgraded(&daemon).await;
    let session = session.attach(&daemon).await;
    let build = Build::new(&session.id).attr("context:base", &format!("oci-layout://here@{top}"));
    let name = build.request.reference.clone();
    let building = tokio::spawn(async move { build.run(&client, Way::Direct).await });
    let began = Instant::now();
    while asked.lock().unwrap().is_empty() {
        assert!(began.elapsed() < LONG, "nothing is asked for");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    crate::client::dial_plain(&daemon, &format!("/build/cancel?id={name}")).await;
    within(LONG, building).await.unwrap().failure(Code::Cancelled);
}

/// What was written to a client's store.
#[derive(Default)]
struct Written {
    kept: Blobs,
    begun: HashMap<String, Vec<u8>>,
    aborted: usize,
}

/// A session that takes results as blobs, unless they are longer than `limit`.
fn takes_blobs(session: Session, limit: usize) -> (Session, Arc<Mutex<Written>>) {
    let written: Arc<Mutex<Written>> = Arc::default();
    let (writing, aborting) = (written.clone(), written.clone());
    let session = session.offer(WRITE, |methods| {
        methods.exchange(WRITE, move |request: Request<Streaming<WriteContentRequest>>| {
            assert_eq!(values(&request, STORE_ID).concat(), "export");
            let (sender, receiver) = mpsc::channel(1);
            let written = writing.clone();
            tokio::spawn(async move {
                let mut steps = request.into_inner();
                let mut name = String::new();
                while let Ok(Some(step)) = steps.message().await {
                    let answer = written.lock().unwrap().step(&mut name, step, limit);
                    if sender.send(answer).await.is_err() {
                        return;
                    }
                }
            });
            async move { Ok(Box::pin(ReceiverStream::new(receiver)) as Messages<WriteContentResponse>) }
        })
    });
    let session = session.offer(ABORT, |methods| {
        methods.unary(ABORT, move |request: Request<AbortRequest>| {
            let mut written = aborting.lock().unwrap();
            written.begun.remove(&request.into_inner().reference);
            written.aborted += 1;
            async { Ok(AbortResponse {}) }
        })
    });
    (session, written)
}

impl Written {
    fn step(
        &mut self,
        name: &mut String,
        step: WriteContentRequest,
        limit: usize,
    ) -> Result<WriteContentResponse, Status> {
        if !step.reference.is_empty() {
            name.clone_from(&step.reference);
        }
        if self.kept.contains_key(&step.expected) {
            return Err(Status::already_exists("blob exists"));
        }
        let begun = self.begun.entry(name.clone()).or_default();
        assert_eq!(usize::try_from(step.offset).unwrap(), begun.len());
        begun.extend_from_slice(&step.data);
        if begun.len() > limit {
            return Err(Status::resource_exhausted("no space left"));
        }
        let answer = WriteContentResponse {
            action: step.action,
            offset: i64::try_from(begun.len()).unwrap(),
            total: step.total,
            digest: digest(begun),
        };
        if step.action() == WriteAction::Commit {
            assert_eq!(answer.digest, step.expected);
            assert_eq!(step.total, answer.offset);
            let bytes = self.begun.remove(name).unwrap();
            self.kept.insert(step.expected, bytes);
        }
        Ok(answer)
    }
}

fn result() -> Build {
    let mut build = Build::new("").to("oci").name("docker.io/library/x:1");
    let attrs = &mut build.request.exporters[0].attrs;
    attrs.insert("tar".to_owned(), "false".to_owned());
    build
}

#[tokio::test]
async fn a_result_goes_into_a_store_of_blobs() {
    let daemon = Daemon::start();
    let folder = Folder::with("FROM scratch\nCOPY big /\n").file("big", &"0123456789".repeat(100_000));
    for way in WAYS {
        let (session, written) = takes_blobs(Session::of(&folder), usize::MAX);
        let session = session.attach(&daemon).await;
        for _ in 0..2 {
            let client = Client::upgraded(&daemon).await;
            let mut build = result();
            build.request.session.clone_from(&session.id);
            let built = within(LONG, build.run(&client, way)).await.ok();
            let answer = built.answer.unwrap();
            let descriptor = STANDARD.decode(&answer["containerimage.descriptor"]).unwrap();
            let descriptor: Value = serde_json::from_slice(&descriptor).unwrap();
            assert_eq!(descriptor["digest"], answer["containerimage.digest"].as_str());
            assert_eq!(answer["image.name"], "docker.io/library/x:1");
            let written = written.lock().unwrap();
            let manifest = &written.kept[descriptor["digest"].as_str().unwrap()];
            assert_eq!(descriptor["size"], manifest.len());
            let manifest: Value = serde_json::from_slice(manifest).unwrap();
            assert_eq!(
                manifest["config"]["digest"],
                answer["containerimage.config.digest"].as_str()
            );
            for part in [&manifest["config"], &manifest["layers"][0]] {
                let blob = &written.kept[part["digest"].as_str().unwrap()];
                assert_eq!(part["size"], blob.len());
            }
            assert_eq!(
                (written.kept.len(), written.begun.len(), written.aborted),
                (3, 0, 0)
            );
        }
    }
    assert_eq!(
        daemon.mica(["images", "-q", "x:1"]).ok().text(),
        "",
        "it is the client's"
    );
}

#[tokio::test]
async fn a_store_that_is_full_is_an_error_and_is_tidied_up() {
    let daemon = Daemon::start();
    let folder = Folder::with("FROM scratch\nCOPY big /\n").file("big", &"0123456789".repeat(100_000));
    let (session, written) = takes_blobs(Session::of(&folder), 500_000);
    let session = session.attach(&daemon).await;
    let client = Client::upgraded(&daemon).await;
    let mut build = result();
    build.request.session.clone_from(&session.id);
    let built = within(LONG, build.run(&client, Way::Direct)).await;
    let status = built.answer.unwrap_err();
    assert!(status.message().contains("no space left"), "{status:?}");
    assert!(built.told.ended);
    let began = Instant::now();
    while written.lock().unwrap().aborted == 0 {
        assert!(began.elapsed() < LONG, "nothing is given up");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(written.lock().unwrap().begun.is_empty());
}
