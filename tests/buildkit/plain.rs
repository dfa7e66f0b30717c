//! Builds as they mostly are, by both ways and on every kind of connection.

use std::path::Path;

use mica_buildkit::message::control::SolveResponse;
use mica_buildkit::message::gateway::{PingRequest, PongResponse, ReturnResponse};
use mica_tests::{Context, Daemon};
use tonic::Code;

use crate::build::{Build, PING, RETURN, SOLVE, WAYS, Way, result_of};
use crate::client::Client;
use crate::folder::Folder;
use crate::session::Session;
use crate::{LONG, within};

/// A build of `context`.
async fn build(
    daemon: &Daemon,
    context: &Context,
    way: Way,
    change: impl FnOnce(Build) -> Build,
) -> crate::build::Built {
    let client = Client::upgraded(daemon).await;
    let session = Session::of(&Folder::of(context.path())).attach(daemon).await;
    let build = change(Build::new(&session.id));
    within(LONG, build.run(&client, way)).await
}

#[tokio::test]
async fn both_ways_come_to_the_same_image() {
    let daemon = Daemon::start();
    let context = Context::with_shell("FROM base\nCOPY f /f\nRUN cat /f && echo done >&2\nCMD [\"sh\"]\n")
        .file("f", "hello\n");
    let mut images = Vec::new();
    for way in WAYS {
        let built = build(&daemon, &context, way, |build| build.name("app:1"))
            .await
            .ok();
        images.push(built.image().to_owned());
        let answer = built.answer.as_ref().unwrap();
        assert_eq!(answer["image.name"], "docker.io/library/app:1");
        let named = daemon.mica(["inspect", "-f", "{{.Id}}", "app:1"]).ok();
        assert_eq!(named.text(), built.image());
        for name in [
            "[internal] load build definition from Dockerfile",
            "[internal] load build context",
            "RUN cat /f",
            "exporting to image",
        ] {
            assert!(built.told.step(name).completed.is_some());
        }
        let run = built.told.step("RUN cat /f");
        match way {
            Way::Gateway => assert_eq!(built.told.output(), "hello\ndone\n"),
            Way::Direct => assert!(run.cached, "{run:?}"),
        }
    }
    assert_eq!(images[0], images[1]);
}

#[tokio::test]
async fn a_probe_builds_nothing() {
    let daemon = Daemon::start();
    let client = Client::plain(&daemon).await;
    let mut build = Build::new("");
    build.request.internal = true;
    build.request.exporters.clear();
    let name = build.request.reference.clone();
    let probing = async {
        let _: PongResponse = client.bridge(PING, &name, PingRequest {}).await.unwrap();
        let _: ReturnResponse = client.bridge(RETURN, &name, result_of("")).await.unwrap();
    };
    let solving = client.ask::<_, SolveResponse>(SOLVE, build.request);
    let (answer, ()) = within(LONG, async { tokio::join!(solving, probing) }).await;
    assert!(answer.unwrap().exporter_response.is_empty());
    assert!(daemon.mica(["images", "-aq"]).ok().stdout.is_empty());
}

#[tokio::test]
async fn a_failing_run_is_told_with_its_lines() {
    let daemon = Daemon::start();
    let context = Context::with_shell("FROM base\nRUN echo before; exit 7\n");
    for way in WAYS {
        let built = build(&daemon, &context, way, |build| build.name("broken")).await;
        let status = built.failure(Code::Unknown);
        assert!(
            status.message().contains(
                "process \"/bin/sh -c echo before; exit 7\" did not complete successfully: exit code: 7"
            ),
            "{status:?}"
        );
        let details = String::from_utf8_lossy(status.details());
        assert!(
            details.contains("errdefs.Source") && details.contains("exit 7"),
            "{details}"
        );
        assert!(built.told.ended && built.told.output().contains("before\n"));
        assert!(!built.told.step("RUN echo before").error.is_empty());
        assert!(daemon.mica(["images", "-q", "-a"]).ok().stdout.is_empty());
    }
}

/// BuildKit has no limits but those of a parent group.
#[tokio::test]
async fn a_parent_group_limits_what_is_built() {
    let name = format!("mica-test-{}", std::process::id());
    // of version 1, or else of version 2
    let legacy = Path::new("/sys/fs/cgroup/memory");
    let (top, limits) = match legacy.is_dir() {
        true => (legacy, ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]),
        false => (Path::new("/sys/fs/cgroup"), ["memory.max", "memory.swap.max"]),
    };
    let group = top.join(&name);
    std::fs::create_dir(&group).unwrap();
    for limit in limits {
        std::fs::write(group.join(limit), (32 << 20).to_string()).unwrap();
    }
    let daemon = Daemon::start();
    let context = Context::with_shell("FROM base\nRUN dd if=/dev/zero of=/dev/null bs=200M count=1\n");
    for way in WAYS {
        let built = build(&daemon, &context, way, |build| {
            build.attr("cgroup-parent", &format!("/{name}"))
        })
        .await;
        let status = built.failure(Code::Unknown);
        let words = "count=1\" did not complete successfully: cannot allocate memory";
        assert!(status.message().contains(words), "{status:?}");
        let bad = build(&daemon, &context, way, |build| {
            build.attr("cgroup-parent", "a/..")
        })
        .await;
        bad.failure(Code::InvalidArgument);
    }
    // it is in all hierarchies by now, and empty again
    let below = std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
    let all = below.map(|entry| entry.path().join(&name)).chain([group]);
    for group in all.filter(|group| group.is_dir()) {
        std::fs::remove_dir(&group).unwrap();
    }
}
