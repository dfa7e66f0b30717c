//! One cache for both builders: what `/build` made is there for gRPC, and the other way round.

use mica_tests::{Context, Daemon, FakeRegistry};

use crate::build::{Build, Built, WAYS, Way};
use crate::client::Client;
use crate::folder::Folder;
use crate::session::Session;
use crate::{LONG, within};

async fn build(daemon: &Daemon, context: &Context, way: Way, change: impl FnOnce(Build) -> Build) -> Built {
    let client = Client::upgraded(daemon).await;
    let session = Session::of(&Folder::of(context.path())).attach(daemon).await;
    within(LONG, change(Build::new(&session.id)).run(&client, way)).await
}

fn context() -> Context {
    Context::with_shell("FROM base AS work\nARG WHO=nobody\nCOPY d /d/\nRUN echo $WHO > /who\nFROM base\nCOPY --from=work /who /d /srv/\nRUN cat /srv/who\nCMD [\"sh\"]\n")
        .file("d/f", "text")
        .file("d/e/g", "more")
        .link("d/l", "f")
}

#[tokio::test]
async fn what_the_classic_way_built_is_cached_here() {
    let daemon = Daemon::start();
    let context = context();
    let classic = daemon.mica(["build", "-q", context.arg()]).ok();
    for way in WAYS {
        let built = build(&daemon, &context, way, |build| build).await.ok();
        assert_eq!(built.image(), classic.text());
        for step in ["COPY d /d/", "RUN echo $WHO", "COPY --from=work", "RUN cat"] {
            assert!(
                built.told.step(step).cached,
                "{way:?} {:?} {:?}",
                step,
                built.told.cached()
            );
        }
        assert!(built.told.output.is_empty());
    }
}

#[tokio::test]
async fn what_was_built_here_is_cached_for_the_classic_way() {
    let daemon = Daemon::start();
    let context = context();
    let built = build(&daemon, &context, Way::Gateway, |build| build).await.ok();
    let classic = daemon.mica(["build", context.arg()]).ok();
    let id = classic
        .stderr
        .lines()
        .find_map(|line| line.strip_prefix("Successfully built "));
    let image = built.image().trim_start_matches("sha256:");
    assert!(
        image.starts_with(id.expect("it names the image")),
        "{}",
        classic.stderr
    );
    let steps = classic
        .stderr
        .split("\nStep ")
        .filter(|step| step.contains(" : COPY") || step.contains(" : RUN"));
    for step in steps {
        assert!(step.contains("Using cache"), "{step}");
    }
    // a tar of the same files is the same context
    let tar = daemon.docker(["build", "-q", context.arg()]).ok();
    assert_eq!(tar.text(), built.image());
}

#[tokio::test]
async fn attributes_mean_what_they_say() {
    let daemon = Daemon::start();
    let context = context();
    let plain = build(&daemon, &context, Way::Gateway, |build| build).await.ok();
    for way in WAYS {
        let again = build(&daemon, &context, way, |build| build.attr("no-cache", ""))
            .await
            .ok();
        assert_eq!(again.told.output(), "nobody\n");
        assert!(!again.told.step("RUN cat").cached);
        let one = build(&daemon, &context, way, |build| build.attr("no-cache", "work"))
            .await
            .ok();
        assert!(!one.told.step("RUN echo").cached);

        let given = build(&daemon, &context, way, |build| {
            build
                .attr("build-arg:WHO", "me")
                .attr("label:one", "1")
                .attr("label:two", "two words")
                .name("labelled:1,labelled:2")
        })
        .await
        .ok();
        assert_ne!(given.image(), plain.image());
        let shown = daemon
            .mica([
                "inspect",
                "-f",
                "{{.Config.Labels.one}} {{.Config.Labels.two}}",
                "labelled:2",
            ])
            .ok();
        assert_eq!(shown.text(), "1 two words");
        let names = given.answer.as_ref().unwrap()["image.name"].as_str();
        assert_eq!(names, "docker.io/library/labelled:1,docker.io/library/labelled:2");

        let target = build(&daemon, &context, way, |build| {
            build.attr("target", "work").name("target:1")
        })
        .await
        .ok();
        assert!(!target.told.names().iter().any(|name| name.contains("RUN cat")));
        let missing = build(&daemon, &context, way, |build| build.attr("target", "nowhere")).await;
        assert!(missing.answer.unwrap_err().message().contains("nowhere"));
    }
}

#[tokio::test]
async fn hosts_and_networks_reach_the_step() {
    let daemon = Daemon::start();
    let context = Context::with_shell("FROM base\nRUN cat /etc/hosts; ls /sys/class/net; ulimit -n\n");
    let built = build(&daemon, &context, Way::Gateway, |build| {
        build
            .attr("add-hosts", "other=10.9.8.7,more=10.9.8.6")
            .attr("force-network-mode", "none")
            .attr("ulimit", "nofile=77:99")
    })
    .await
    .ok();
    let said = built.told.output();
    assert!(
        said.contains("10.9.8.7\tother\n") && said.contains("10.9.8.6\tmore\n"),
        "{said}"
    );
    assert!(said.contains("\nlo\n") && said.ends_with("77\n"), "{said}");
}

#[tokio::test]
async fn an_image_s_cache_may_come_from_a_registry() {
    let registry = FakeRegistry::start();
    let name = format!("{}/cached:1", registry.host());
    let context = Context::with_shell("FROM base\nCOPY d /d/\nRUN cat /d/f\n").file("d/f", "text");
    let daemon = Daemon::start();
    build(&daemon, &context, Way::Gateway, |build| {
        build.name(&name).cache_to_inline()
    })
    .await
    .ok();
    daemon.mica(["push", "-q", &name]).ok();
    for way in WAYS {
        // each on a machine that has never seen the steps
        let other = Daemon::start();
        let again = build(&other, &context, way, |build| build.cache_from("registry", &name))
            .await
            .ok();
        let names = again.told.names();
        assert!(
            names.iter().any(|name| name.ends_with("knows 4 steps")),
            "{names:?}"
        );
        for step in ["COPY d", "RUN cat"] {
            assert!(again.told.step(step).cached, "{:?}", again.told.cached());
        }
    }
    let other = Daemon::start();
    let refused = build(&other, &context, Way::Direct, |build| build.cache_from("s3", "x")).await;
    assert!(refused.answer.unwrap_err().message().contains("s3"));
}

#[tokio::test]
async fn a_registry_keeps_a_cache_and_gives_what_is_needed_of_it() {
    let registry = FakeRegistry::start();
    let name = format!("{}/cache/all:1", registry.host());
    let context = Context::with_shell(
        "FROM base AS work\nRUN head -c 100000 /dev/urandom > /big; echo made > /made\nFROM base\nCOPY --from=work /made /\n\
         RUN cat /made > /again\n",
    );
    let attrs = [("ref", name.as_str()), ("mode", "max")];
    let daemon = Daemon::start();
    let built = build(&daemon, &context, Way::Gateway, |build| {
        build.cache_to("registry", &attrs)
    })
    .await
    .ok();
    let names = built.told.names();
    assert!(names.contains(&"exporting cache to registry"), "{names:?}");
    for way in WAYS {
        let other = Daemon::start();
        let before = registry.requests_like("GET /v2/cache/all/blobs").len();
        let again = build(&other, &context, way, |build| {
            build.cache_from("registry", &name).cache_to("registry", &attrs)
        })
        .await
        .ok();
        assert_eq!(again.image(), built.image());
        assert!(again.told.output.is_empty());
        let names = again.told.names();
        let import = format!("importing cache manifest from {name}");
        assert!(names.contains(&import.as_str()), "{names:?}");
        // the document, and the layers of the image: two of the base and two on top, not that of the other stage
        let asked = registry.requests_like("GET /v2/cache/all/blobs").len() - before;
        assert_eq!(asked, 5, "{way:?}");
    }

    let sent = |kind: &'static str, attrs: Vec<(&'static str, &'static str)>| {
        let (daemon, context) = (&daemon, &context);
        async move {
            let refused = build(daemon, context, Way::Gateway, |build| {
                build.cache_to(kind, &attrs)
            })
            .await;
            refused.answer.unwrap_err().message().to_owned()
        }
    };
    assert!(sent("gha", vec![]).await.contains("type=gha is not supported"));
    assert!(sent("registry", vec![]).await.contains("invalid ref"));
    let nobody = "127.0.0.1:1/nowhere";
    let failed = sent("registry", vec![("ref", nobody)]).await;
    assert!(failed.contains("127.0.0.1:1"), "{failed}");
    let ignored = build(&daemon, &context, Way::Direct, |build| {
        build.cache_to("registry", &[("ref", nobody), ("ignore-error", "true")])
    })
    .await
    .ok();
    assert_eq!(ignored.image(), built.image());
}
