//! Results for several platforms on their way to a client: archives, tars and files.

use std::collections::HashMap;
use std::process::Command;

use mica_tests::{Context, Daemon, run};
use serde_json::Value;
use tonic::Code;

use crate::build::{Build, WAYS, Way};
use crate::client::Client;
use crate::folder::Folder;
use crate::platforms::{build, list, platforms, platforms_of, skopeo};
use crate::session::Session;
use crate::{LONG, within};

#[tokio::test]
async fn an_oci_archive_holds_all_and_a_docker_archive_cannot() {
    let daemon = Daemon::start();
    let context =
        Context::new("FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /arch\nCOPY same /\n").file("same", "x");
    for platform in platforms() {
        let arch = platform.rsplit('/').next().unwrap().to_owned();
        context.write(&arch, &arch);
    }
    for way in WAYS {
        let client = Client::upgraded(&daemon).await;
        let (session, received) = Session::of(&Folder::of(context.path())).takes_tar();
        let session = session.attach(&daemon).await;
        let asked = Build::new(&session.id)
            .attr("platform", &list())
            .to("oci")
            .name("docker.io/library/x:1");
        let built = within(LONG, asked.run(&client, way)).await.ok();
        let (archive, folder) = (
            daemon.folder().join("all.tar"),
            daemon.folder().join(format!("{way:?}")),
        );
        fs_err::write(&archive, &*received.lock().unwrap()).unwrap();
        let (from, to) = (
            format!("oci-archive:{}:1", archive.display()),
            format!("oci:{}:1", folder.display()),
        );
        skopeo(&["copy", "--all", &from, &to]);
        let raw = skopeo(&["inspect", "--raw", &to]);
        let index: Value = serde_json::from_str(&raw.stdout).unwrap();
        assert_eq!(platforms_of(&index), platforms());
        let listed = run(Command::new("tar").arg("-xOf").arg(&archive).arg("index.json")).ok();
        let top: Value = serde_json::from_str(&listed.stdout).unwrap();
        let own = &top["manifests"][0];
        assert_eq!(
            built.answer.unwrap()["containerimage.digest"],
            own["digest"].as_str().unwrap()
        );
        assert_eq!(
            own["annotations"]["io.containerd.image.name"],
            "docker.io/library/x:1"
        );
    }
    let refused = build(&daemon, &context, Way::Direct, |build| build.to("docker")).await;
    let status = refused.failure(Code::InvalidArgument);
    assert_eq!(
        status.message(),
        "docker exporter does not currently support exporting manifest lists"
    );
}

/// What arrives of a build of `dockerfile` for both platforms as files, by path.
async fn files(
    daemon: &Daemon,
    context: &Context,
    split: Option<&str>,
) -> Result<HashMap<String, String>, tonic::Status> {
    let client = Client::upgraded(daemon).await;
    let (session, received) = Session::of(&Folder::of(context.path())).takes_files();
    let session = session.attach(daemon).await;
    let mut asked = Build::new(&session.id).attr("platform", &list()).to("local");
    if let Some(split) = split {
        let attrs = &mut asked.request.exporters[0].attrs;
        attrs.insert("platform-split".to_owned(), split.to_owned());
    }
    within(LONG, asked.run(&client, Way::Gateway)).await.answer?;
    let received = received.lock().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(received
        .iter()
        .map(|(path, (_, bytes))| (path.clone(), text(bytes)))
        .collect())
}

#[tokio::test]
async fn files_lie_in_a_folder_for_each_platform() {
    let daemon = Daemon::start();
    let context =
        Context::new("FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /d/$TARGETARCH\n").file("same", "x");
    let folder = |platform: &str| platform.replace('/', "_");
    for platform in platforms() {
        let arch = platform.rsplit('/').next().unwrap().to_owned();
        context.write(&arch, &platform);
    }
    let split = files(&daemon, &context, None).await.unwrap();
    let merged = files(&daemon, &context, Some("false")).await.unwrap();
    for platform in platforms() {
        let arch = platform.rsplit('/').next().unwrap();
        assert_eq!(split[&format!("{}/d/{arch}", folder(&platform))], platform);
        assert_eq!(merged[&format!("d/{arch}")], platform);
    }
    assert_eq!((split.len(), merged.len()), (6, 3));
    let clash = Context::new("FROM scratch\nCOPY Dockerfile /d/f\n");
    let refused = files(&daemon, &clash, Some("false")).await.unwrap_err();
    let [first, second] = platforms();
    let words = format!("cannot overwrite d/f from {first} with {second} when split option is disabled");
    assert!(
        refused.message().replace("/d/f", "d/f").contains(&words),
        "{refused:?}"
    );

    let client = Client::upgraded(&daemon).await;
    let (session, received) = Session::of(&Folder::of(context.path())).takes_tar();
    let session = session.attach(&daemon).await;
    let asked = Build::new(&session.id).attr("platform", &list()).to("tar");
    within(LONG, asked.run(&client, Way::Direct)).await.ok();
    let tar = daemon.folder().join("out.tar");
    fs_err::write(&tar, &*received.lock().unwrap()).unwrap();
    let listed = run(Command::new("tar").arg("-tf").arg(&tar)).ok();
    let mut paths: Vec<&str> = listed
        .stdout
        .lines()
        .map(|path| path.trim_end_matches('/'))
        .collect();
    paths.sort_unstable();
    let mut expected: Vec<&String> = split.keys().collect();
    expected.sort_unstable();
    assert_eq!(paths, expected);
}
