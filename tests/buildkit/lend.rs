//! What a session lends to a build: secrets, agents, credentials, uploads, folders by name.

use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mica_tests::registry::{Action, Door, Options as RegistryOptions, User};
use mica_tests::{Context, Daemon, FakeRegistry, run};
use tonic::Code;

use crate::build::{Build, Built, WAYS, Way};
use crate::client::Client;
use crate::folder::Folder;
use crate::session::Session;
use crate::{LONG, within};

async fn build(daemon: &Daemon, session: Session, way: Way, change: impl FnOnce(Build) -> Build) -> Built {
    let client = Client::upgraded(daemon).await;
    let session = session.attach(daemon).await;
    let build = change(Build::new(&session.id));
    within(LONG, build.run(&client, way)).await
}

#[tokio::test]
async fn secrets_reach_the_step_that_wants_them() {
    let daemon = Daemon::start();
    let context = Context::with_shell(
        "FROM base\nRUN --mount=type=secret,id=one,required cat /run/secrets/one\n\
         RUN --mount=type=secret,id=two test ! -e /run/secrets/two\n\
         RUN --mount=type=secret,id=one,env=ONE echo \"${#ONE}\"\n",
    );
    let folder = Folder::of(context.path());
    for way in WAYS {
        let session = Session::of(&folder).secrets([("one", "hush-hush\n")]);
        let built = build(&daemon, session, way, |build| build.attr("no-cache", ""))
            .await
            .ok();
        assert!(
            built.told.output().contains("hush-hush\n10\n"),
            "{}",
            built.told.output()
        );
    }
    // it is in nothing that is kept
    let found = run(Command::new("grep")
        .arg("-rl")
        .arg("hush-hush")
        .arg(daemon.root()));
    let logs = daemon.root().join("mica").to_str().unwrap().to_owned();
    let in_layers: Vec<&str> = found
        .stdout
        .lines()
        .filter(|path| !path.starts_with(&format!("{logs}/logs")) && !path.contains("-log"))
        .collect();
    println!(
        "the output of `cat` is kept at {:?}",
        found.stdout.lines().collect::<Vec<_>>()
    );
    assert!(
        in_layers.iter().all(|path| !path.contains("blobs")),
        "{in_layers:?}"
    );

    let context = Context::with_shell("FROM base\nRUN --mount=type=secret,id=two,required true\n");
    let folder = Folder::of(context.path());
    for session in [
        Session::of(&folder).secrets([("one", "x")]),
        // one that offers no secrets at all
        Session::of(&folder),
    ] {
        let built = build(&daemon, session, Way::Gateway, |build| build).await;
        let status = built.answer.unwrap_err();
        assert!(status.message().contains("two"), "{status:?}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_answer_for_its_secrets_can_be_left() {
    let daemon = Daemon::start();
    let context = Context::with_shell("FROM base\nRUN --mount=type=secret,id=never,required true\n");
    let client = Client::upgraded(&daemon).await;
    let (session, asked) = Session::of(&Folder::of(context.path())).silent_secrets();
    let session = session.attach(&daemon).await;
    let build = Build::new(&session.id);
    let name = build.request.reference.clone();
    let building = tokio::spawn({
        let client = client.clone();
        async move { build.run(&client, Way::Direct).await }
    });
    let began = Instant::now();
    while !asked.load(Ordering::SeqCst) {
        assert!(began.elapsed() < LONG, "nobody asks for the secret");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let work = || fs_err::read_dir(daemon.root().join("mica/work")).unwrap().count();
    assert!(work() > 0, "the build has begun");
    crate::client::dial_plain(&daemon, &format!("/build/cancel?id={name}")).await;
    let built = within(LONG, building).await.unwrap();
    built.failure(Code::Cancelled);
    let began = Instant::now();
    while work() > 0 {
        assert!(began.elapsed() < LONG, "it still waits");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Copies a program of this machine with all it needs to run.
fn put_program(context: &Context, program: &str) {
    let listed = run(Command::new("ldd").arg(program)).ok().stdout;
    let libraries = listed.split_whitespace().filter(|word| word.starts_with('/'));
    for path in libraries.chain([program]) {
        let to = context.path().join("root").join(&path[1..]);
        fs_err::create_dir_all(to.parent().unwrap()).unwrap();
        fs_err::copy(path, to).unwrap();
    }
}

#[tokio::test]
async fn an_agent_answers_in_a_step() {
    let daemon = Daemon::start();
    // Debian's busybox does not speak to Unix sockets; Perl does so without any module
    let script = r#"socket(S,1,1,0) or die; connect(S,pack("S a*",1,$ENV{SSH_AUTH_SOCK})) or die "$!";
syswrite(S,"$ARGV[0]."); my $all=""; while(sysread(S,my $b,99)){ $all.=$b } print "$all\n""#;
    let context = Context::with_shell(
        "FROM base\nCOPY root /\nCOPY ask.pl /ask.pl\n\
         RUN --mount=type=ssh,required /usr/bin/perl /ask.pl first && /usr/bin/perl /ask.pl second\n\
         RUN --mount=type=ssh,id=other test -z \"$SSH_AUTH_SOCK\" -o ! -S \"$SSH_AUTH_SOCK\"\n",
    )
    .file("ask.pl", script);
    put_program(&context, "/usr/bin/perl");
    let folder = Folder::of(context.path());
    let session = Session::of(&folder).agent("default");
    let built = build(&daemon, session, Way::Gateway, |build| build).await.ok();
    assert_eq!(built.told.output(), "FIRST.\nSECOND.\n");

    let without = Session::of(&folder);
    let built = build(&daemon, without, Way::Direct, |build| build.attr("no-cache", "")).await;
    let status = built.answer.unwrap_err();
    assert!(
        status.message().contains("ssh") || status.message().contains("agent"),
        "{status:?}"
    );
}

#[tokio::test]
async fn credentials_are_asked_for_the_registry_that_wants_them() {
    let registry = FakeRegistry::with(RegistryOptions {
        door: Some(Door::Basic),
        users: vec![User::new("me", "mine").may("private", &[Action::Pull, Action::Push])],
        ..RegistryOptions::default()
    });
    let daemon = Daemon::start();
    let name = format!("{}/private:1", registry.host());
    let source = Context::new("FROM scratch\nLABEL from=registry\n");
    daemon.mica(["build", "-q", "-t", &name, source.arg()]).ok();
    let (user, password) = ("me", "mine");
    daemon
        .mica_fed(
            ["login", "-u", user, "--password-stdin", &registry.host()],
            password,
        )
        .ok();
    daemon.mica(["push", "-q", &name]).ok();

    let other = Daemon::start();
    let folder = Folder::with(&format!("FROM {name}\nLABEL more=1\n"));
    let (session, asked) = Session::of(&folder).credentials(user, password);
    build(&other, session, Way::Gateway, |build| build.name("got:1"))
        .await
        .ok();
    assert_eq!(asked.lock().unwrap().first(), Some(&registry.host()));
    let third = Daemon::start();
    let (session, _) = Session::of(&folder).credentials(user, "wrong");
    let built = build(&third, session, Way::Gateway, |build| build).await;
    assert!(built.answer.is_err());
    let built = build(&third, Session::of(&folder), Way::Direct, |build| build).await;
    assert!(built.answer.is_err());
}

#[tokio::test]
async fn a_base_image_that_is_nowhere_is_not_found() {
    let registry = FakeRegistry::with(RegistryOptions::default());
    let daemon = Daemon::start();
    let missing = format!("{}/nowhere:1", registry.host());
    for way in WAYS {
        let folder = Folder::with(&format!("FROM {missing}\n"));
        let built = build(&daemon, Session::of(&folder), way, |build| build).await;
        built.failure(Code::NotFound);
        let folder = Folder::with(&format!("FROM scratch\nCOPY --from={missing} a /\n"));
        let built = build(&daemon, Session::of(&folder), way, |build| build).await;
        built.failure(Code::NotFound);
        let folder = Folder::with("FROM other\n");
        let built = build(&daemon, Session::of(&folder), way, |build| {
            build.attr("context:other", &format!("docker-image://{missing}"))
        });
        built.await.failure(Code::NotFound);
        // what is wrong with the Dockerfile is not that
        let folder = Folder::with("FROM scratch\nCOPY nothing /\n");
        let built = build(&daemon, Session::of(&folder), way, |build| build).await;
        built.failure(Code::InvalidArgument);
    }
}

#[tokio::test]
async fn a_dockerfile_or_an_archive_may_be_uploaded() {
    let daemon = Daemon::start();
    for way in WAYS {
        // from standard input, without a context
        let session = Session::new().upload("one", b"FROM scratch\nLABEL by=upload\n");
        let built = build(&daemon, session, way, |build| {
            build.attr("context", "http://buildkit-session/one").name("up:1")
        })
        .await;
        built.ok();
        let label = daemon
            .mica(["inspect", "-f", "{{.Config.Labels.by}}", "up:1"])
            .ok();
        assert_eq!(label.text(), "upload");

        // an archive with its Dockerfile in it
        let context = Context::new("FROM scratch\nCOPY f /\n").file("f", &"text ".repeat(5000));
        for compress in ["--gzip", "--no-same-owner"] {
            let tar = std::process::Command::new("tar")
                .args(["-C", context.arg(), compress, "-c", "."])
                .output()
                .unwrap();
            let session = Session::new().upload("two", &tar.stdout);
            let built = build(&daemon, session, way, |build| {
                build.attr("context", "http://buildkit-session/two")
            })
            .await;
            built.ok();
        }
        // and one without, whose Dockerfile is in a folder
        let tar = std::process::Command::new("tar")
            .args(["-C", context.arg(), "-c", "f"])
            .output()
            .unwrap();
        let folder = Folder::with("FROM scratch\nCOPY f /elsewhere\n");
        let session = Session::new()
            .folders([("dockerfile", &folder)])
            .upload("three", &tar.stdout);
        let built = build(&daemon, session, way, |build| {
            build
                .attr("context", "http://buildkit-session/three")
                .attr("dockerfilekey", "dockerfile")
        })
        .await;
        built.ok();

        // what is not there, what is empty, and what is neither
        for (path, bytes) in [
            ("other", &b"FROM scratch\n"[..]),
            ("four", b""),
            ("four", b"\x1f\x8bnot gzip"),
        ] {
            let session = Session::new().upload("four", bytes);
            let built = build(&daemon, session, way, |build| {
                build.attr("context", &format!("http://buildkit-session/{path}"))
            })
            .await;
            assert!(built.answer.is_err(), "{path} {bytes:?}");
        }
    }
}

#[tokio::test]
async fn folders_and_images_take_the_place_of_names() {
    let daemon = Daemon::start();
    let image = Context::new("FROM scratch\nCOPY f /f\n").file("f", "of the image\n");
    daemon.mica(["build", "-q", "-t", "given:1", image.arg()]).ok();
    let context = Context::with_shell(
        "FROM base\nCOPY --from=folder f /a\nCOPY --from=picture f /b\nRUN cat /a /b; ls /\nCOPY --from=folder . /all/\nRUN ls /all\n",
    );
    let folder = Folder::of(context.path());
    let other = Folder::default()
        .file(".dockerignore", "left*\n")
        .file("f", "of the folder\n")
        .file("left-out", "");
    for way in WAYS {
        let session =
            Session::new().folders([("context", &folder), ("dockerfile", &folder), ("folder", &other)]);
        let built = build(&daemon, session, way, |build| {
            build
                .attr("context:folder", "local:folder")
                .attr("context:picture", "docker-image://given:1")
                .attr("no-cache", "")
        })
        .await
        .ok();
        let said = built.told.output();
        assert!(said.starts_with("of the folder\nof the image\n"), "{said}");
        assert!(said.contains("\nf\n") && !said.contains("left-out"), "{said}");
    }
    let session = Session::of(&folder);
    let built = build(&daemon, session, Way::Gateway, |build| {
        build
            .attr("context:folder", "local:nowhere")
            .attr("context:picture", "docker-image://given:1")
    })
    .await;
    let status = built.answer.unwrap_err();
    assert!(status.message().contains("nowhere"), "{status:?}");
}
