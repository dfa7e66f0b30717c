//! Results on their way to a client, and looks into them.

use std::collections::BTreeMap;
use std::process::Command;

use mica_buildkit::Method;
use mica_buildkit::message::control::SolveResponse;
use mica_buildkit::message::gateway::{
    FileRange, ReadDirRequest, ReadDirResponse, ReadFileRequest, ReadFileResponse, ResolveImageConfigRequest,
    ResolveImageConfigResponse, ReturnResponse, StatFileRequest, StatFileResponse,
};
use mica_buildkit::{FileKind, Stat};
use mica_tests::{Context, Daemon, run};
use tonic::Code;

use crate::build::{BRIDGE_SOLVE, Build, RETURN, SOLVE, WAYS, Way, name_of, result_of};
use crate::client::Client;
use crate::folder::Folder;
use crate::session::Session;
use crate::{LONG, within};

const READ_FILE: Method = "/moby.buildkit.v1.frontend.LLBBridge/ReadFile";
const READ_DIR: Method = "/moby.buildkit.v1.frontend.LLBBridge/ReadDir";
const STAT_FILE: Method = "/moby.buildkit.v1.frontend.LLBBridge/StatFile";
const IMAGE_CONFIG: Method = "/moby.buildkit.v1.frontend.LLBBridge/ResolveImageConfig";

/// An image of two layers, the second of which hides something of the first.
fn context() -> Context {
    let context = Context::new(
        "FROM scratch AS a\nCOPY d /d/\nFROM a AS b\nCOPY --chown=3:4 --chmod=4750 tool /bin/tool\nCOPY big /\nFROM b\nCOPY d/new /d/f\n",
    )
    .file("d/f", "old")
    .file("d/new", "new")
    .file("d/e/empty", "")
    .file("tool", "#!")
    .file("big", &"0123456789".repeat(20_000));
    context.link("d/l", "f")
}

#[tokio::test]
async fn files_arrive_as_they_are_in_the_image() {
    let daemon = Daemon::start();
    let context = context();
    for way in WAYS {
        let client = Client::upgraded(&daemon).await;
        let (session, received) = Session::of(&Folder::of(context.path())).takes_files();
        let session = session.attach(&daemon).await;
        let built = within(LONG, Build::new(&session.id).to("local").run(&client, way))
            .await
            .ok();
        assert!(
            built
                .told
                .parts
                .iter()
                .any(|part| part.name.contains("copying files") || part.id.contains("copying files"))
        );
        let received = received.lock().unwrap();
        let text = |path: &str| String::from_utf8(received[path].1.clone()).unwrap();
        assert_eq!(
            (text("d/f"), text("d/new"), text("d/e/empty")),
            ("new".into(), "new".into(), String::new())
        );
        assert_eq!(text("big"), "0123456789".repeat(20_000));
        let tool: &Stat = &received["bin/tool"].0;
        assert_eq!(
            (tool.permissions(), tool.uid, tool.gid, tool.size),
            (0o4750, 3, 4, 2)
        );
        let link = &received["d/l"].0;
        assert_eq!(
            (link.kind(), link.linkname.as_str()),
            (Some(FileKind::Symlink), "f")
        );
        assert_eq!(received["d"].0.kind(), Some(FileKind::Directory));
        let names: Vec<&String> = received.keys().collect();
        assert_eq!(
            names,
            [
                "big",
                "bin",
                "bin/tool",
                "d",
                "d/e",
                "d/e/empty",
                "d/f",
                "d/l",
                "d/new"
            ]
        );
    }
}

#[tokio::test]
async fn a_tar_holds_what_the_image_holds() {
    let daemon = Daemon::start();
    let context = context();
    for way in WAYS {
        let client = Client::upgraded(&daemon).await;
        let (session, received) = Session::of(&Folder::of(context.path())).takes_tar();
        let session = session.attach(&daemon).await;
        let built = within(LONG, Build::new(&session.id).to("tar").run(&client, way))
            .await
            .ok();
        assert!(
            built
                .told
                .parts
                .iter()
                .any(|part| part.name.contains("sending tarball") || part.id.contains("sending tarball"))
        );
        let tar = daemon.folder().join("out.tar");
        fs_err::write(&tar, &*received.lock().unwrap()).unwrap();
        let listed = run(Command::new("tar").args(["--numeric-owner", "-tvf"]).arg(&tar)).ok();
        let mut modes = BTreeMap::new();
        for line in listed.stdout.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            modes.insert(
                words[5].trim_end_matches('/').to_owned(),
                format!("{} {} {}", words[0], words[1], words[2]),
            );
        }
        assert_eq!(modes["bin/tool"], "-rwsr-x--- 3/4 2");
        assert_eq!(modes["big"], "-rw-r--r-- 0/0 200000");
        assert_eq!(modes.len(), 9, "{modes:?}");
        let read = |path: &str| {
            run(Command::new("tar").arg("-xOf").arg(&tar).arg(path))
                .ok()
                .stdout
        };
        assert_eq!((read("d/f"), read("d/new")), ("new".to_owned(), "new".to_owned()));
        assert!(listed.stdout.contains("d/l -> f"), "{}", listed.stdout);
    }
}

#[tokio::test]
async fn results_that_nobody_takes_are_an_error() {
    let daemon = Daemon::start();
    let folder = Folder::with("FROM scratch\nCOPY Dockerfile /\n");
    for kind in ["local", "tar"] {
        let client = Client::upgraded(&daemon).await;
        let session = Session::of(&folder).attach(&daemon).await;
        let built = within(LONG, Build::new(&session.id).to(kind).run(&client, Way::Gateway)).await;
        let status = built.answer.unwrap_err();
        assert!(status.message().contains("FileSend"), "{status:?}");
        assert!(built.told.ended);
    }
}

#[tokio::test]
async fn results_and_base_images_can_be_looked_into() {
    let daemon = Daemon::start();
    let client = Client::upgraded(&daemon).await;
    let context = context();
    let session = Session::of(&Folder::of(context.path())).attach(&daemon).await;
    let build = Build::new(&session.id);
    let name = build.request.reference.clone();
    let solving = tokio::spawn({
        let (client, request) = (client.clone(), build.request.clone());
        async move { client.ask::<_, SolveResponse>(SOLVE, request).await }
    });
    let reference = name_of(
        within(LONG, client.bridge(BRIDGE_SOLVE, &name, build.bridged()))
            .await
            .unwrap(),
    );
    let read = |path: &str, range: Option<(i64, i64)>| {
        let request = ReadFileRequest {
            reference: reference.clone(),
            path: path.to_owned(),
            range: range.map(|(offset, length)| FileRange { offset, length }),
        };
        client.bridge::<_, ReadFileResponse>(READ_FILE, &name, request)
    };
    assert_eq!(read("/d/f", None).await.unwrap().data, b"new");
    assert_eq!(
        read("d/l", None).await.unwrap().data,
        b"new",
        "links are followed"
    );
    assert_eq!(read("big", None).await.unwrap().data.len(), 200_000);
    assert_eq!(read("big", Some((199_995, 100))).await.unwrap().data, b"56789");
    assert_eq!(read("big", Some((5, 3))).await.unwrap().data, b"567");
    assert!(read("big", Some((1 << 40, 3))).await.unwrap().data.is_empty());
    assert_eq!(
        read("big", Some((-1, 3))).await.unwrap_err().code(),
        Code::InvalidArgument
    );
    assert_eq!(read("/nowhere", None).await.unwrap_err().code(), Code::NotFound);
    assert!(read("/d", None).await.is_err());
    assert_eq!(read("../../../d/f", None).await.unwrap().data, b"new");

    let list = |path: &str, pattern: &str| {
        let request = ReadDirRequest {
            reference: reference.clone(),
            path: path.to_owned(),
            include_pattern: pattern.to_owned(),
        };
        client.bridge::<_, ReadDirResponse>(READ_DIR, &name, request)
    };
    let names = |answer: ReadDirResponse| -> Vec<String> {
        answer.entries.into_iter().map(|entry| entry.path).collect()
    };
    assert_eq!(names(list("/", "").await.unwrap()), ["big", "bin", "d"]);
    assert_eq!(names(list("d", "[fn]*").await.unwrap()), ["f", "new"]);
    assert!(list("/nowhere", "").await.is_err());

    let stat = |path: &str| {
        let request = StatFileRequest {
            reference: reference.clone(),
            path: path.to_owned(),
        };
        client.bridge::<_, StatFileResponse>(STAT_FILE, &name, request)
    };
    let tool = stat("/bin/tool").await.unwrap().stat.unwrap();
    assert_eq!(
        (tool.path.as_str(), tool.permissions(), tool.size),
        ("tool", 0o4750, 2)
    );
    assert_eq!(
        stat("/").await.unwrap().stat.unwrap().kind(),
        Some(FileKind::Directory)
    );
    assert_eq!(stat("/no").await.unwrap_err().code(), Code::NotFound);

    let image = Context::new("FROM scratch\nENV A=b\n");
    daemon.mica(["build", "-q", "-t", "look:1", image.arg()]).ok();
    let config = |reference: &str| {
        let request = ResolveImageConfigRequest {
            reference: reference.to_owned(),
            ..ResolveImageConfigRequest::default()
        };
        client.bridge::<_, ResolveImageConfigResponse>(IMAGE_CONFIG, &name, request)
    };
    let found = config("docker.io/library/look:1").await.unwrap();
    let parsed: serde_json::Value = serde_json::from_slice(&found.config).unwrap();
    assert!(parsed["config"]["Env"].to_string().contains("A=b"), "{parsed}");
    assert!(config("127.0.0.1:1/nosuch:1").await.is_err());
    assert_eq!(
        config("Not A Name").await.unwrap_err().code(),
        Code::InvalidArgument
    );

    // once more of the same name, which is returned twice
    let again = name_of(client.bridge(BRIDGE_SOLVE, &name, build.bridged()).await.unwrap());
    assert_eq!(again, reference);
    let _: ReturnResponse = client.bridge(RETURN, &name, result_of(&reference)).await.unwrap();
    let solved = within(LONG, solving).await.unwrap().unwrap();
    assert!(solved.exporter_response["containerimage.config.digest"].contains(&reference));
}

#[tokio::test]
async fn a_prune_between_a_build_and_its_name_takes_nothing() {
    let daemon = Daemon::start();
    let context = context();
    let client = Client::upgraded(&daemon).await;
    let session = Session::of(&Folder::of(context.path())).attach(&daemon).await;
    let build = Build::new(&session.id).name("kept:1");
    let name = build.request.reference.clone();
    let solving = tokio::spawn({
        let (client, request) = (client.clone(), build.request.clone());
        async move { client.ask::<_, SolveResponse>(SOLVE, request).await }
    });
    let image = name_of(client.bridge(BRIDGE_SOLVE, &name, build.bridged()).await.unwrap());
    daemon.mica(["image", "prune", "-f"]).ok();
    daemon.mica(["builder", "prune", "-af"]).ok();
    let _: ReturnResponse = client.bridge(RETURN, &name, result_of(&image)).await.unwrap();
    within(LONG, solving).await.unwrap().unwrap();
    let listed = daemon.mica(["images", "-q", "--no-trunc", "kept"]).ok();
    assert_eq!(listed.text(), format!("sha256:{image}"));
    let archive = daemon.folder().join("kept.tar");
    daemon
        .mica(["save", "-o", archive.to_str().unwrap(), "kept:1"])
        .ok();
}

#[tokio::test]
async fn an_archive_is_the_image_under_its_names() {
    let daemon = Daemon::start();
    let context = context();
    let other = Daemon::start();
    for (way, kind) in WAYS.into_iter().zip(["oci", "docker"]) {
        let client = Client::upgraded(&daemon).await;
        let (session, received) = Session::of(&Folder::of(context.path())).takes_tar();
        let session = session.attach(&daemon).await;
        let name = format!("out-{kind}:1");
        let build = Build::new(&session.id).to(kind).name(&name);
        within(LONG, build.run(&client, way)).await.ok();
        let archive = daemon.folder().join("out.tar");
        fs_err::write(&archive, &*received.lock().unwrap()).unwrap();
        assert_eq!(
            daemon.mica(["images", "-q", &name]).ok().text(),
            "",
            "it is the client's"
        );
        let loaded = other.mica(["load", "-i", archive.to_str().unwrap()]).ok();
        assert_eq!(loaded.text(), format!("Loaded image: {name}"));
        let listed = run(Command::new("tar").arg("-tf").arg(&archive)).ok();
        assert!(listed.stdout.contains("oci-layout\n") && listed.stdout.contains("manifest.json\n"));
    }
}
