//! Images to registries and from them: real registries, the real programs, other people's tools.

use std::process::Command;

use hyper::Method;
use mica_tests::registry::{Act, Fault, Kind};
use mica_tests::servers::{ConnectProxy, DockerRegistry, NAMED, TokenService};
use mica_tests::{Context, Daemon, FakeRegistry, FaultyPushes, Options, run};

/// An image of two layers, one of which a process made.
fn build(daemon: &Daemon, name: &str) -> String {
    let context = Context::with_shell("FROM base\nRUN echo made > /made\nCMD [\"sh\"]\n");
    daemon
        .mica(["build", "-q", "-t", name, context.arg()])
        .ok()
        .text()
        .to_owned()
}

/// The digest behind a `repo@sha256:…`.
fn repo_digest(daemon: &Daemon, name: &str) -> String {
    let digests = daemon
        .mica(["inspect", "-f", "{{index .RepoDigests 0}}", name])
        .ok();
    digests.text().split_once('@').expect("a digest").1.to_owned()
}

fn skopeo<const N: usize>(args: [&str; N]) -> mica_tests::Ran {
    run(Command::new("skopeo").args(args))
}

#[test]
fn what_is_pushed_is_what_is_pulled() {
    let registry = DockerRegistry::plain();
    let daemon = Daemon::start();
    let name = registry.name("team/app:1");
    let id = build(&daemon, &name);
    let pushed = daemon.mica(["push", &name]).ok();
    assert!(pushed.stderr.contains(": Pushed"), "{}", pushed.stderr);
    let digest = repo_digest(&daemon, &name);
    assert!(
        pushed.stdout.contains(&format!("1: digest: {digest} size: ")),
        "{}",
        pushed.stdout
    );

    // a second push has nothing to send and nothing to compress
    let before = registry.blob_bytes();
    let again = daemon.mica(["push", &name]).ok();
    assert!(
        !again.stderr.contains(": Pushed") && again.stderr.contains("Layer already exists"),
        "{}",
        again.stderr
    );
    assert_eq!(registry.blob_bytes(), before);

    // another repository of the registry takes the blobs over, and the manifest is the same
    let other = registry.name("team/other:2");
    daemon.mica(["tag", &name, &other]).ok();
    let mounted = daemon.mica(["push", &other]).ok();
    assert!(
        mounted.stderr.contains("Mounted from team/app"),
        "{}",
        mounted.stderr
    );
    assert!(mounted.stdout.contains(&digest), "{}", mounted.stdout);

    // others read the same
    let inspected = skopeo([
        "inspect",
        "--tls-verify=false",
        "--format",
        "{{.Digest}}",
        &format!("docker://{name}"),
    ])
    .ok();
    assert_eq!(inspected.text(), digest);
    let config = skopeo([
        "inspect",
        "--config",
        "--raw",
        "--tls-verify=false",
        &format!("docker://{name}"),
    ])
    .ok();
    assert!(config.stdout.contains("echo made"), "{}", config.stdout);

    // an empty store gets the same image, by tag and by digest
    let empty = Daemon::start();
    let pulled = empty.mica(["pull", &name]).ok();
    assert_eq!(pulled.text(), name);
    assert!(
        pulled.stderr.contains(&format!("Digest: {digest}")),
        "{}",
        pulled.stderr
    );
    assert!(
        pulled
            .stderr
            .contains(&format!("Status: Downloaded newer image for {name}")),
        "{}",
        pulled.stderr
    );
    assert_eq!(empty.mica(["inspect", "-f", "{{.Id}}", &name]).ok().text(), id);
    let same = empty.mica(["pull", &name]).ok();
    assert!(same.stderr.contains("Image is up to date"), "{}", same.stderr);
    let by_digest = format!("{}@{digest}", registry.name("team/other"));
    empty.mica(["pull", &by_digest]).ok();
    assert_eq!(
        empty.mica(["inspect", "-f", "{{.Id}}", &by_digest]).ok().text(),
        id
    );

    // from there it goes on as it came
    let third = registry.name("third:3");
    empty.mica(["tag", &name, &third]).ok();
    assert!(empty.mica(["push", &third]).ok().stdout.contains(&digest));
    let archive = empty.folder().join("x.tar");
    empty.mica(["save", "-o", archive.to_str().unwrap(), &name]).ok();
    let last = Daemon::start();
    last.mica(["load", "-i", archive.to_str().unwrap()]).ok();
    assert_eq!(last.mica(["inspect", "-f", "{{.Id}}", &name]).ok().text(), id);
}

#[test]
fn docker_s_command_line_does_the_same() {
    let registry = DockerRegistry::plain();
    let daemon = Daemon::start();
    let name = registry.name("team/app:1");
    let id = build(&daemon, &name);
    daemon.mica(["tag", &name, &registry.name("team/app:2")]).ok();
    let pushed = daemon.docker(["push", &name]).ok();
    let digest = repo_digest(&daemon, &name);
    assert!(
        pushed.stdout.contains(&format!("1: digest: {digest} size: ")),
        "{}",
        pushed.stdout
    );
    let all = daemon.docker(["push", "-a", &registry.name("team/app")]).ok();
    assert!(
        all.stdout.contains("2: digest: ") && all.stdout.contains("Layer already exists"),
        "{}",
        all.stdout
    );

    let empty = Daemon::start();
    assert_eq!(empty.docker(["pull", "-q", &name]).ok().text(), name);
    assert_eq!(empty.docker(["inspect", "-f", "{{.Id}}", &name]).ok().text(), id);
    let all = empty.docker(["pull", "-a", &registry.name("team/app")]).ok();
    assert!(all.stdout.contains("2: Pulling from team/app"), "{}", all.stdout);
    let images = empty
        .docker([
            "images",
            "--digests",
            "--format",
            "{{.Tag}} {{.Digest}}",
            &registry.name("team/app"),
        ])
        .ok();
    assert_eq!(
        images
            .text()
            .lines()
            .filter(|line| line.ends_with(&digest))
            .count(),
        2,
        "{}",
        images.stdout
    );
    let gone = empty
        .docker(["rmi", &registry.name("team/app:1"), &registry.name("team/app:2")])
        .ok();
    assert!(
        gone.stdout
            .contains(&format!("Untagged: {}@{digest}", registry.name("team/app"))),
        "{}",
        gone.stdout
    );
    assert!(empty.docker(["images", "-q"]).ok().stdout.is_empty());

    let missing = empty.docker(["pull", &registry.name("nothing:1")]);
    assert_eq!(missing.code, 1);
    assert!(
        missing.stderr.contains("not found: manifest unknown"),
        "{}",
        missing.stderr
    );
    let nothing = empty.docker(["push", &registry.name("nothing:1")]);
    assert_eq!(nothing.code, 1);
    assert!(
        nothing
            .stderr
            .contains("An image does not exist locally with the tag"),
        "{}",
        nothing.stderr
    );
}

#[test]
fn what_skopeo_pushes_is_pulled_in_both_formats() {
    let registry = DockerRegistry::plain();
    let daemon = Daemon::start();
    let id = build(&daemon, "x:1");
    let archive = daemon.folder().join("x.tar");
    daemon.mica(["save", "-o", archive.to_str().unwrap(), "x:1"]).ok();
    let source = format!("docker-archive:{}", archive.display());
    for format in ["v2s2", "oci"] {
        let name = registry.name(&format!("skopeo/{format}:1"));
        skopeo([
            "copy",
            "-q",
            "--format",
            format,
            "--dest-tls-verify=false",
            &source,
            &format!("docker://{name}"),
        ])
        .ok();
        let empty = Daemon::start();
        empty.mica(["pull", "-q", &name]).ok();
        if format == "v2s2" {
            // an OCI config is another document, and so another image
            assert_eq!(
                empty.mica(["inspect", "-f", "{{.Id}}", &name]).ok().text(),
                id,
                "{format}"
            );
        }
        // its layers hold what their image says, which shows when they are unpacked
        let context = Context::new(&format!("FROM {name}\nRUN cat /made && echo more > /more\n"));
        empty.mica(["build", "-t", "more", context.arg()]).ok();
        let digest = skopeo([
            "inspect",
            "--tls-verify=false",
            "--format",
            "{{.Digest}}",
            &format!("docker://{name}"),
        ])
        .ok();
        assert_eq!(repo_digest(&empty, &name), digest.text(), "{format}");
    }
}

#[test]
fn a_registry_with_passwords_lets_in_who_has_one() {
    let registry = DockerRegistry::htpasswd("me", "right");
    let mut daemon = Daemon::start();
    let server = registry.name("");
    let server = server.trim_end_matches('/');
    let name = registry.name("private/app:1");
    build(&daemon, &name);
    let anonymous = daemon.mica(["push", &name]);
    assert_eq!(anonymous.code, 1);
    assert!(
        anonymous.stderr.contains("push access denied") && anonymous.stderr.contains("mica login"),
        "{}",
        anonymous.stderr
    );
    let wrong = daemon.mica_fed(["login", server, "-u", "me", "--password-stdin"], "wrong\n");
    assert_eq!(wrong.code, 1);
    assert!(
        wrong.stderr.contains("login failed") && wrong.stderr.contains("unauthorized"),
        "{}",
        wrong.stderr
    );
    let right = daemon
        .mica_fed(["login", server, "-u", "me", "--password-stdin"], "right\n")
        .ok();
    assert_eq!(right.text(), "Login Succeeded");
    daemon.mica(["push", &name]).ok();
    // docker finds the same credentials
    daemon.docker(["push", &name]).ok();

    // FROM is pulled with them, and not asked for again
    daemon.mica(["rmi", &name]).ok();
    let context = Context::new(&format!("FROM {name}\nLABEL a=b\n"));
    let built = daemon.mica(["build", "-t", "y", context.arg()]).ok();
    assert!(
        built.stderr.contains("Pulling from private/app"),
        "{}",
        built.stderr
    );
    drop(registry);
    daemon.mica(["build", "-t", "y", context.arg()]).ok();
    // one that does not remember that somebody answered there does not wait for long
    daemon.kill();
    daemon.spawn();
    let pulled = daemon.mica(["build", "--pull", "-t", "y", context.arg()]);
    assert_ne!(pulled.code, 0, "a registry that is gone cannot be asked");

    daemon.mica(["logout", server]).ok();
    let config = fs_err::read_to_string(daemon.folder().join("docker-config/config.json")).unwrap();
    assert!(!config.contains(server), "{config}");
}

#[test]
fn a_registry_with_tokens_gives_each_what_they_may_have() {
    let service = TokenService::start();
    service.account("writer", "w");
    service.account("reader", "r");
    service.allow("writer", "team/*", &["pull", "push"]);
    service.allow("reader", "team/*", &["pull"]);
    service.allow("", "public/*", &["pull"]);
    service.allow("writer", "public/*", &["pull", "push"]);
    let registry = DockerRegistry::token(&service);
    let server = registry.name("");
    let server = server.trim_end_matches('/');
    let daemon = Daemon::start();
    let (name, public) = (registry.name("team/app:1"), registry.name("public/app:1"));
    build(&daemon, &name);
    daemon.mica(["tag", &name, &public]).ok();
    let login = |user: &str, password: &str| {
        daemon.mica_fed(
            ["login", server, "-u", user, "--password-stdin"],
            &format!("{password}\n"),
        )
    };
    let wrong = login("writer", "wrong");
    assert_eq!(wrong.code, 1);
    assert!(wrong.stderr.contains("login failed"), "{}", wrong.stderr);
    login("reader", "r").ok();
    let refused = daemon.mica(["push", &name]);
    assert_eq!(refused.code, 1);
    let text = &refused.stderr;
    assert!(
        text.contains("push access denied")
            && text.contains("repository:team/app:pull,push")
            && text.contains("the token was asked for"),
        "{text}"
    );
    login("writer", "w").ok();
    daemon.mica(["push", &name]).ok();
    daemon.docker(["push", &public]).ok();
    // tokens are asked for once for what belongs together, not once for each request
    let before = service.counts().all();
    daemon.mica(["push", &name]).ok();
    assert!(service.counts().all() <= before + 1, "{:?}", service.counts());

    let anybody = Daemon::start();
    anybody.mica(["pull", "-q", &public]).ok();
    let denied = anybody.mica(["pull", &name]);
    assert_eq!(denied.code, 1);
    assert!(
        denied.stderr.contains("pull access denied for") && denied.stderr.contains("mica login"),
        "{}",
        denied.stderr
    );
}

#[test]
fn a_registry_with_its_own_authority_is_trusted_where_it_is_named() {
    let registry = DockerRegistry::tls();
    let there = registry.address().parse().expect("an address");
    // registries of this machine need no good certificate, so it is asked by a name that others could have
    let proxy = ConnectProxy::start(&[(&format!("{NAMED}:443"), there)]);
    let proxied = || Options::default().env("HTTPS_PROXY", proxy.url());
    let name = format!("{NAMED}/app:1");

    let stranger = Daemon::with(proxied());
    build(&stranger, &name);
    for command in ["push", "pull"] {
        let refused = stranger.mica([command, "-q", &name]);
        assert_eq!(refused.code, 1);
        assert!(refused.stderr.contains("certificate"), "{}", refused.stderr);
    }
    assert_eq!(registry.blob_bytes(), 0);
    assert!(!proxy.asked().is_empty());

    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("docker/certs.d").join(NAMED);
    fs_err::create_dir_all(&folder).unwrap();
    fs_err::copy(registry.ca(), folder.join("ca.crt")).unwrap();
    let friend = Daemon::with(proxied().env("XDG_CONFIG_HOME", home.path().to_str().unwrap()));
    build(&friend, &name);
    friend.mica(["push", "-q", &name]).ok();

    let ca = registry.ca();
    let other = Daemon::with(proxied().env("SSL_CERT_FILE", ca.to_str().unwrap()));
    other.mica(["pull", "-q", &name]).ok();
}

#[test]
fn a_registry_of_this_machine_needs_no_good_certificate() {
    let registry = DockerRegistry::tls();
    let name = registry.name("app:1");
    let daemon = Daemon::start();
    build(&daemon, &name);
    daemon.mica(["push", "-q", &name]).ok();
    daemon.mica(["pull", "-q", &name]).ok();
}

#[test]
fn an_archive_becomes_an_image() {
    let daemon = Daemon::start();
    let context = Context::new("").file("etc/hello", "hello");
    let archive = daemon.folder().join("root.tar");
    run(Command::new("tar").args(["-C", context.arg(), "-cf", archive.to_str().unwrap(), "etc"])).ok();
    let imported = daemon
        .mica([
            "import",
            "-c",
            "CMD [\"x\"]",
            "-m",
            "by hand",
            archive.to_str().unwrap(),
            "made:1",
        ])
        .ok();
    let id = imported.text().to_owned();
    assert!(id.starts_with("sha256:"), "{id}");
    assert_eq!(
        daemon
            .mica(["inspect", "-f", "{{.Id}} {{.Config.Cmd}}", "made:1"])
            .ok()
            .text(),
        format!("{id} [x]")
    );
    let by_docker = daemon
        .docker(["import", archive.to_str().unwrap(), "made:2"])
        .ok();
    assert!(by_docker.text().starts_with("sha256:"), "{}", by_docker.stdout);
    let bad = daemon.folder().join("bad.tar");
    fs_err::write(&bad, "this is no archive at all, whatever its name says").unwrap();
    let refused = daemon.mica(["import", bad.to_str().unwrap(), "made:3"]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("cannot import the archive"),
        "{}",
        refused.stderr
    );
}

#[test]
fn pushes_survive_a_registry_that_fails_in_one_of_ten_requests() {
    let pushes = FaultyPushes::run(48, 3);
    println!("{pushes:?}");
    assert_eq!(pushes.succeeded, 48, "{:?}", pushes.failures);
    assert!(
        pushes.requests.1 > 10,
        "too little went wrong: {:?}",
        pushes.requests
    );
    assert!(
        // so few pushes may have bad luck; `target/debug/faults 1000` holds 1.2
        pushes.ratio() <= 1.5,
        "{} bytes sent, {} missing",
        pushes.sent,
        pushes.missing
    );
}

#[test]
fn a_layer_that_is_here_is_told_so_and_nothing_else() {
    let registry = DockerRegistry::plain();
    let daemon = Daemon::start();
    let (first, second) = (registry.name("known:1"), registry.name("known:2"));
    for (name, dockerfile) in [
        (&first, "FROM scratch\nCOPY a /a\n"),
        (&second, "FROM scratch\nCOPY a /a\nCOPY b /b\n"),
    ] {
        let context = Context::new(dockerfile).file("a", "a").file("b", "b");
        daemon.mica(["build", "-q", "-t", name, context.arg()]).ok();
        daemon.mica(["push", name]).ok();
    }
    let other = Daemon::start();
    other.mica(["pull", &first]).ok();
    let told = other.docker(["pull", &second]).ok().stdout;
    let known = told
        .lines()
        .find_map(|line| line.strip_suffix(": Already exists"));
    let known = known.unwrap_or_else(|| panic!("{told}"));
    assert_eq!(
        told.lines().filter(|line| line.starts_with(known)).count(),
        1,
        "{told}"
    );
    assert_eq!(
        told.lines()
            .filter(|line| line.ends_with(": Pull complete"))
            .count(),
        1,
        "{told}"
    );
}

#[test]
fn a_manifest_whose_blobs_are_not_found_for_a_moment_is_put_again() {
    let refused = |status: u16, code: &str| {
        let act = Act::Answer {
            code: status,
            headers: Vec::new(),
            body: format!(r#"{{"errors":[{{"code":"{code}","message":"as registries say it"}}]}}"#),
        };
        Fault::new(Kind::Manifest, act).only(Method::PUT)
    };
    let daemon = Daemon::start();
    let registry = FakeRegistry::start();
    let name = format!("{}/app:1", registry.host());
    build(&daemon, &name);
    let passing = [
        refused(404, "MANIFEST_BLOB_UNKNOWN"),
        refused(400, "DIGEST_INVALID"),
    ];
    registry.script(passing);
    daemon.mica(["push", &name]).ok();
    assert_eq!(registry.faults_left(), 0);
    registry.whole("app", "1").unwrap();
    // one that stays is told
    registry.script((0..20).map(|_| refused(400, "DIGEST_INVALID")));
    let pushed = daemon.mica(["push", &name]);
    assert_eq!(pushed.code, 1, "{}{}", pushed.stdout, pushed.stderr);
    assert!(
        pushed.stderr.contains("as registries say it"),
        "{}",
        pushed.stderr
    );
    let left = registry.faults_left();
    assert!((10..20).contains(&left), "{left}");
    // what is refused for another reason is put once
    let registry = FakeRegistry::start();
    let name = format!("{}/app:1", registry.host());
    build(&daemon, &name);
    registry.script([refused(400, "MANIFEST_INVALID"), refused(400, "MANIFEST_INVALID")]);
    assert_eq!(daemon.mica(["push", &name]).code, 1);
    assert_eq!(registry.faults_left(), 1);
}
