//! Builds for several platforms: one build, one result for each, pushed and sent as an index or side by side.

use std::process::Command;

use mica_buildkit::message::control::{ListWorkersRequest, ListWorkersResponse, SolveResponse};
use mica_buildkit::message::gateway::{self, BuildResult, NameMap, ResultRef, ReturnRequest, ReturnResponse};
use mica_tests::servers::DockerRegistry;
use mica_tests::{Context, Daemon, Ran, run};
use serde_json::Value;

use crate::build::{BRIDGE_SOLVE, Build, Built, RETURN, SOLVE, WAYS, Way};
use crate::client::Client;
use crate::folder::Folder;
use crate::session::Session;
use crate::{LONG, within};

/// What this machine's architecture is called in Go.
fn host_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The platform this machine is and one that it is not, in the order in which they are asked for.
pub(crate) fn platforms() -> [String; 2] {
    let host = format!("linux/{}", host_arch());
    let other = match host.as_str() {
        "linux/s390x" => "linux/amd64",
        _ => "linux/s390x",
    };
    [other.to_owned(), host]
}

pub(crate) fn list() -> String {
    platforms().join(",")
}

/// What a stage is called that is for this machine while its image is for the other.
fn cross() -> String {
    let [other, host] = platforms();
    format!("[{host}->{} ", other.strip_prefix("linux/").unwrap())
}

/// A cross-compiled program, in BuildKit's usual way, and what is copied for each platform alone.
fn cross_compiled(base: &str) -> Context {
    let context = Context::new(&format!(
        "FROM --platform=$BUILDPLATFORM {base} AS tools\n\
         RUN echo once >> /count; cat /proc/sys/kernel/random/uuid > /id\n\
         FROM tools AS compiled\n\
         ARG TARGETPLATFORM TARGETARCH TARGETVARIANT BUILDPLATFORM\n\
         RUN echo \"$TARGETPLATFORM $TARGETARCH ($TARGETVARIANT) on $BUILDPLATFORM\" > /out\n\
         FROM {base}\n\
         COPY --from=compiled /out /id /\n\
         COPY same /same\n"
    ));
    context.file("same", "the same\n")
}

/// A registry with a base for both platforms, and a daemon that made it.
fn world() -> (Daemon, DockerRegistry, String) {
    let (daemon, registry) = (Daemon::start(), DockerRegistry::plain());
    let name = registry.name("base:1");
    let context = Context::with_shell("");
    context.write(
        "Dockerfile",
        "FROM scratch\nCOPY busybox /bin/sh\nCOPY busybox /bin/cat\nENV from=base\nARG TARGETARCH\nLABEL arch=$TARGETARCH\n",
    );
    daemon
        .mica([
            "build",
            "--platform",
            &list(),
            "--push",
            "-t",
            &name,
            context.arg(),
        ])
        .ok();
    (daemon, registry, name)
}

pub(crate) async fn build(
    daemon: &Daemon,
    context: &Context,
    way: Way,
    change: impl FnOnce(Build) -> Build,
) -> Built {
    let client = Client::upgraded(daemon).await;
    let session = Session::of(&Folder::of(context.path())).attach(daemon).await;
    let build = change(Build::new(&session.id).attr("platform", &list()));
    within(LONG, build.run(&client, way)).await
}

/// To a registry.
fn pushed(mut build: Build, name: &str) -> Build {
    build = build.to("image").name(name);
    let attrs = &mut build.request.exporters[0].attrs;
    attrs.insert("push".to_owned(), "true".to_owned());
    build
}

pub(crate) fn skopeo(args: &[&str]) -> Ran {
    run(Command::new("skopeo").args(args)).ok()
}

/// What a registry has under a name, as it is.
fn raw(name: &str) -> Value {
    let image = format!("docker://{name}");
    let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &image]);
    serde_json::from_str(&raw.stdout).unwrap()
}

/// The platforms of an index, as they are written, in their order.
pub(crate) fn platforms_of(index: &Value) -> Vec<String> {
    let manifests = index["manifests"].as_array().unwrap();
    let platform = |manifest: &Value| {
        let part = |key: &str| manifest["platform"][key].as_str().unwrap().to_owned();
        format!("{}/{}", part("os"), part("architecture"))
    };
    manifests.iter().map(platform).collect()
}

#[tokio::test]
async fn an_index_is_pushed_and_what_is_the_same_for_all_is_done_once() {
    let (_, registry, base) = world();
    for way in WAYS {
        // a daemon that has nothing of it yet
        let daemon = Daemon::start();
        let (name, context) = (
            registry.name(&format!("app:{way:?}").to_lowercase()),
            cross_compiled(&base),
        );
        let built = build(&daemon, &context, way, |build| pushed(build, &name))
            .await
            .ok();
        let answer = built.answer.as_ref().unwrap();
        assert!(answer.contains_key("containerimage.descriptor"), "{answer:?}");
        assert!(!answer.contains_key("containerimage.config.digest"), "{answer:?}");
        let image = format!("docker://{name}");
        let index = raw(&name);
        assert_eq!(index["mediaType"], "application/vnd.oci.image.index.v1+json");
        assert_eq!(platforms_of(&index), platforms());
        let told = skopeo(&["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &image]);
        assert_eq!(answer["containerimage.digest"], told.text());

        let folder = daemon.folder();
        let mut ids = Vec::new();
        for platform in platforms() {
            let arch = platform.rsplit('/').next().unwrap();
            let config = skopeo(&[
                "inspect",
                "--config",
                "--tls-verify=false",
                "--override-arch",
                arch,
                &image,
            ]);
            let config: Value = serde_json::from_str(&config.stdout).unwrap();
            assert_eq!(config["architecture"], arch);
            assert_eq!(config["config"]["Labels"]["arch"], arch, "its own base");
            let layout = folder.join(arch);
            let target = format!("dir:{}", layout.display());
            skopeo(&[
                "copy",
                "--src-tls-verify=false",
                "--override-arch",
                arch,
                &image,
                &target,
            ]);
            let manifest: Value =
                serde_json::from_slice(&fs_err::read(layout.join("manifest.json")).unwrap()).unwrap();
            let layers = manifest["layers"].as_array().unwrap();
            let of = |layer: &Value| {
                let hex = layer["digest"]
                    .as_str()
                    .unwrap()
                    .split_once(':')
                    .unwrap()
                    .1
                    .to_owned();
                layout.join(hex)
            };
            let copied = of(&layers[layers.len() - 2]);
            let text = |file: &str| {
                run(Command::new("tar").arg("-xzOf").arg(&copied).arg(file))
                    .ok()
                    .stdout
            };
            assert_eq!(
                text("out"),
                format!("{platform} {arch} () on {}\n", platforms()[1])
            );
            ids.push(text("id"));
        }
        assert_eq!(ids[0], ids[1], "the stage for this machine was carried out once");
        let [other, _] = platforms();
        let counted = built
            .told
            .vertices
            .values()
            .filter(|vertex| vertex.name.contains("RUN echo once"));
        assert_eq!(counted.filter(|vertex| !vertex.cached).count(), 1);
        for name in [
            format!("[{other} stage-2 3/3] COPY same /same"),
            format!("{}compiled 1/1] RUN echo", cross()),
        ] {
            assert!(built.told.step(&name).completed.is_some());
        }

        // the name means one of them here, and again nothing has to be done
        let inspected = daemon.mica(["inspect", "-f", "{{.Architecture}}", &name]).ok();
        assert_eq!(inspected.text(), host_arch());
        let again = build(&daemon, &context, way, |build| pushed(build, &name))
            .await
            .ok();
        assert_eq!(
            again.answer.unwrap()["containerimage.digest"],
            answer["containerimage.digest"]
        );
        let steps = again
            .told
            .vertices
            .values()
            .filter(|vertex| vertex.name.starts_with('['));
        let steps = steps.filter(|vertex| !vertex.name.contains("internal"));
        assert_eq!(
            steps
                .filter(|vertex| !vertex.cached)
                .map(|vertex| &vertex.name)
                .collect::<Vec<_>>(),
            Vec::<&String>::new()
        );
    }
}

#[tokio::test]
async fn bases_of_other_platforms_are_found_again_without_their_registry() {
    let (_, registry, base) = world();
    let daemon = Daemon::start();
    let context = Context::new(&format!("FROM {base}\nCOPY Dockerfile /\n"));
    build(&daemon, &context, Way::Direct, |build| build).await.ok();
    let named = daemon.mica(["inspect", "-f", "{{.Architecture}}", &base]).ok();
    assert_eq!(named.text(), host_arch(), "the name means what it should");
    drop(registry);
    context.write("new", "");
    let context = Context::new(&format!("FROM {base}\nCOPY Dockerfile /again\n"));
    build(&daemon, &context, Way::Direct, |build| build).await.ok();
}

#[tokio::test]
async fn a_run_that_this_machine_cannot_do_is_refused_by_name() {
    let (daemon, _registry, base) = world();
    let context = Context::new(&format!(
        "FROM {base}\nCOPY Dockerfile /\nRUN echo never > /made\n"
    ));
    let [other, host] = platforms();
    if daemon_runs(&daemon, &other).await {
        println!("skipped: this machine has an emulator for {other}");
        return;
    }
    for way in WAYS {
        let built = build(&daemon, &context, way, |build| build).await;
        let status = built.answer.as_ref().unwrap_err();
        for words in [
            "line 3",
            &format!("no program for {other} runs on this machine, which is {host}"),
            "binfmt",
            "FROM --platform=$BUILDPLATFORM",
        ] {
            assert!(status.message().contains(words), "{words}: {status:?}");
        }
    }
    // what only copies is for any platform
    let context = Context::new(&format!("FROM {base}\nCOPY Dockerfile /\nWORKDIR /new\n"));
    build(&daemon, &context, Way::Direct, |build| build).await.ok();
}

async fn daemon_runs(daemon: &Daemon, platform: &str) -> bool {
    let client = Client::plain(daemon).await;
    let workers: ListWorkersResponse = client
        .ask(
            "/moby.buildkit.v1.Control/ListWorkers",
            ListWorkersRequest::default(),
        )
        .await
        .unwrap();
    let worker = &workers.record[0];
    let first = &worker.platforms[0];
    assert_eq!(format!("{}/{}", first.os, first.architecture), platforms()[1]);
    let mut names = worker
        .platforms
        .iter()
        .map(|own| format!("{}/{}", own.os, own.architecture));
    names.any(|name| name == platform)
}

#[tokio::test]
async fn one_platform_is_a_plain_image_unless_an_index_is_asked_for() {
    let (daemon, registry) = (Daemon::start(), DockerRegistry::plain());
    let context = Context::new("FROM scratch\nCOPY Dockerfile /\n");
    let [other, _] = platforms();
    for (name, multi, key) in [("plain:1", "false", "config"), ("index:1", "true", "manifests")] {
        let name = registry.name(name);
        let one = |build: Build| {
            pushed(
                build.attr("platform", &other).attr("multi-platform", multi),
                &name,
            )
        };
        let built = build(&daemon, &context, Way::Gateway, one).await.ok();
        assert!(!raw(&name)[key].is_null(), "{}", raw(&name));
        let plain = built.answer.unwrap().contains_key("containerimage.config.digest");
        assert_eq!(plain, multi == "false");
        assert!(
            !built
                .told
                .names()
                .iter()
                .any(|name| name.starts_with(&format!("[{other}")))
        );
    }
}

#[tokio::test]
async fn a_result_that_does_not_say_which_is_for_what_is_refused() {
    let daemon = Daemon::start();
    let context = Context::new("FROM scratch\nCOPY Dockerfile /\n");
    let client = Client::upgraded(&daemon).await;
    let session = Session::of(&Folder::of(context.path())).attach(&daemon).await;
    for (metadata, words) in [
        (None, "missing platforms mapping"),
        (Some("x"), "refs.platforms"),
        (
            Some(r#"{"Platforms":[{"ID":"a","Platform":{}},{"ID":"b","Platform":{}}]}"#),
            "no result \"a\"",
        ),
    ] {
        let asked = Build::new(&session.id)
            .attr("platform", &list())
            .attr("no-cache", "");
        let name = asked.request.reference.clone();
        let bridging = async {
            let answer: gateway::SolveResponse =
                client.bridge(BRIDGE_SOLVE, &name, asked.bridged()).await.unwrap();
            let result = answer.result.unwrap();
            assert!(result.metadata.contains_key("refs.platforms"));
            let Some(ResultRef::Refs(refs)) = result.result else {
                panic!("no results by platform")
            };
            let names = refs.refs.into_iter().map(|(key, reference)| (key, reference.id));
            let metadata = metadata.map(|text| ("refs.platforms".to_owned(), text.as_bytes().to_vec()));
            let returned = ReturnRequest {
                result: Some(BuildResult {
                    result: Some(ResultRef::Names(NameMap {
                        refs: names.collect(),
                    })),
                    metadata: metadata.into_iter().collect(),
                }),
                error: None,
            };
            let _: ReturnResponse = client.bridge(RETURN, &name, returned).await.unwrap();
        };
        let solving = client.ask::<_, SolveResponse>(SOLVE, asked.request.clone());
        let (answer, ()) = within(LONG, async { tokio::join!(solving, bridging) }).await;
        let status = answer.unwrap_err();
        assert!(status.message().contains(words), "{status:?}");
    }
}

#[test]
fn mica_builds_for_several_platforms_and_pushes_them_all() {
    let (daemon, registry, base) = world();
    let (name, context) = (registry.name("cli:1"), cross_compiled(&base));
    let [other, host] = platforms();
    let folder = daemon.folder();
    let metadata = folder.join("told.json");
    let told = metadata.to_str().unwrap();
    let built = daemon
        .mica([
            "build",
            "--platform",
            &other,
            "--platform",
            &host,
            "-t",
            &name,
            context.arg(),
        ])
        .ok();
    assert!(
        built
            .stderr
            .contains(&format!("those for {other} are in the store without a name")),
        "{}",
        built.stderr
    );
    for quiet in [&[][..], &["-q"]] {
        let args = [
            "build",
            "--platform",
            &list(),
            "--push",
            "--metadata-file",
            told,
            "-t",
            &name,
        ];
        let built = daemon
            .mica(args.iter().chain(quiet).copied().chain([context.arg()]))
            .ok();
        let index = raw(&name);
        assert_eq!(platforms_of(&index), platforms());
        let known: Value = serde_json::from_slice(&fs_err::read(&metadata).unwrap()).unwrap();
        let image = format!("docker://{name}");
        let digest = skopeo(&["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &image]);
        assert_eq!(known["containerimage.digest"], digest.text());
        if !quiet.is_empty() {
            assert_eq!(built.text(), digest.text());
        }
    }
    let inspected = daemon
        .mica(["inspect", "-f", "{{.Os}}/{{.Architecture}}", &name])
        .ok();
    assert_eq!(inspected.text(), host);
}
