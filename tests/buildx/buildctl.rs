//! buildctl: gRPC from a connection's first byte on, and the frontend asked for without a client's part in between.

use std::process::Command;
use std::time::{Duration, Instant};

use mica_tests::servers::DockerRegistry;
use mica_tests::{Ran, run, run_fed};

use crate::client::{Client, greeting, said, says};

/// Less than a daemon waits for a build it is asked about.
const SOON: Duration = Duration::from_secs(5);

fn build(client: &Client, folder: &str, args: &[&str]) -> Ran {
    let mut command = client.buildctl(["build", "--progress=plain", "--frontend=dockerfile.v0"]);
    command
        .arg(format!("--local=context={folder}"))
        .arg(format!("--local=dockerfile={folder}"));
    run(command.args(args))
}

#[test]
fn images_files_and_tars() {
    let Some(client) = Client::start() else { return };
    let context = greeting();
    let made = build(
        &client,
        context.arg(),
        &[
            "--output=type=image,name=docker.io/library/x:1",
            "--metadata-file=told",
            "--opt=build-arg:WHO=me",
            "--opt=label:k=v",
        ],
    )
    .ok();
    says(
        &made.stderr,
        &["RUN echo made by $WHO > /made", "naming to docker.io/library/x:1"],
    );
    let id = client.inspect("x:1", "{{.Id}}");
    assert_eq!(client.inspect("x:1", "{{.Config.Labels}}"), "map[k:v]");
    let told = client.json("told");
    assert_eq!(told["containerimage.config.digest"], id.as_str());
    assert_eq!(told["image.name"], "docker.io/library/x:1");
    // the same by buildx is the same image
    let other = client.build_quietly(["--build-arg=WHO=me", "--label=k=v", context.arg()]);
    assert_eq!(other, id);

    build(&client, context.arg(), &["--output=type=local,dest=out"]).ok();
    assert_eq!(client.text("out/made"), "made by nobody\n");
    build(&client, context.arg(), &["--output=type=tar,dest=out.tar"]).ok();
    let listed = run(Command::new("tar")
        .arg("-tf")
        .arg(client.daemon.folder().join("out.tar")))
    .ok();
    assert!(
        listed.stdout.lines().any(|name| name == "made"),
        "{}",
        listed.stdout
    );
    // for the cache alone
    let cached = build(&client, context.arg(), &[]).ok();
    assert_eq!(cached.stderr.matches("CACHED").count(), 3, "{}", cached.stderr);
}

#[test]
fn archives_are_read_by_others() {
    let Some(client) = Client::start() else { return };
    let context = greeting();
    let id = client.build_quietly([context.arg()]);
    let docker = "--output=type=docker,name=docker.io/library/x:1,dest=docker.tar";
    build(&client, context.arg(), &[docker]).ok();
    let loaded = run(&mut client.docker(["load", "-i", "docker.tar"])).ok();
    says(&loaded.stdout, &["Loaded image: x:1"]);
    assert_eq!(client.inspect("x:1", "{{.Id}}"), id);
    build(&client, context.arg(), &["--output=type=oci,dest=oci.tar"]).ok();
    let mut skopeo = client.cleaned("skopeo", ["inspect", "--raw", "oci-archive:oci.tar"]);
    let manifest = run(&mut skopeo).ok();
    let manifest: serde_json::Value = serde_json::from_str(&manifest.stdout).unwrap();
    assert_eq!(manifest["config"]["digest"], id.as_str());
}

#[test]
fn what_is_not_there_is_refused_at_once() {
    let Some(client) = Client::start() else { return };
    let context = greeting();
    for (option, words) in [
        (
            "--output=type=other",
            "exporter \"other\" is not supported by micad",
        ),
        (
            "--export-cache=type=s3,region=a,bucket=b",
            "cache export type=s3 is not supported",
        ),
        (
            "--import-cache=type=s3,region=a,bucket=b",
            "a cache of type \"s3\" is not supported by micad",
        ),
    ] {
        let began = Instant::now();
        let refused = build(&client, context.arg(), &[option]);
        assert_eq!(refused.code, 1);
        says(&refused.stderr, &[words]);
        // who asks what is told of a build that never began waits for nothing
        assert!(began.elapsed() < SOON, "{option}: {:?}", began.elapsed());
    }
}

#[test]
fn images_are_pushed_by_the_daemon() {
    let Some(client) = Client::start() else { return };
    let registry = DockerRegistry::htpasswd("me", "right");
    let (server, name) = (registry.address(), format!("{}/app:1", registry.address()));
    let output = format!("--output=type=image,name={name},push=true");
    let context = greeting();
    let refused = build(&client, context.arg(), &[&output]);
    assert_eq!(refused.code, 1);
    says(&refused.stderr, &["push access denied"]);
    run_fed(
        &mut client.docker(["login", &server, "-u", "me", "--password-stdin"]),
        "right\n",
    )
    .ok();
    build(&client, context.arg(), &[&output, "--metadata-file=told"]).ok();
    assert_eq!(
        client.json("told")["containerimage.digest"],
        client.pushed(&name).as_str()
    );
}

#[test]
fn caches_lie_in_registries() {
    let (Some(client), Some(other)) = (Client::start(), Client::start()) else {
        return;
    };
    let registry = DockerRegistry::htpasswd("me", "right");
    let (server, name) = (registry.address(), format!("{}/cache:1", registry.address()));
    let context = mica_tests::Context::with_shell(
        "FROM base AS work\nRUN echo work > /work\nFROM base\nCOPY --from=work /work /\nRUN cat /work > /again\n",
    );
    let to = format!("--export-cache=type=registry,ref={name},mode=max");
    let from = format!("--import-cache=type=registry,ref={name}");
    let refused = build(&client, context.arg(), &[&to]);
    assert_eq!(refused.code, 1);
    says(
        &refused.stderr,
        &["exporting cache to registry", "push access denied"],
    );
    build(&client, context.arg(), &[&format!("{to},ignore-error=true")]).ok();
    for client in [&client, &other] {
        let mut login = client.docker(["login", &server, "-u", "me", "--password-stdin"]);
        run_fed(&mut login, "right\n").ok();
    }
    let written = build(&client, context.arg(), &[&to]).ok();
    says(
        &written.stderr,
        &["exporting cache to registry", "writing layer sha256:"],
    );

    let output = ["--output=type=local,dest=out", &from];
    let cached = build(&other, context.arg(), &output).ok();
    says(
        &cached.stderr,
        &[&format!("importing cache manifest from {name}")],
    );
    assert_eq!(cached.stderr.matches("CACHED").count(), 5, "{}", cached.stderr);
    assert_eq!(other.text("out/again"), "work\n");
    // one that is not there, or is none, is not missed
    let none = [
        format!("{from}1"),
        format!("--import-cache=type=registry,ref={server}/none"),
    ];
    build(&other, context.arg(), &[&none[0], &none[1], &from]).ok();
}

#[test]
fn what_is_said_of_an_image_goes_with_it() {
    let Some(client) = Client::start() else { return };
    let registry = DockerRegistry::plain();
    let (context, name) = (greeting(), registry.name("app:1"));
    let asked = ["--opt=attest:provenance=mode=max", "--opt=vcs:revision=abc"];
    let build = |output: &str| build(&client, context.arg(), &[&asked[..], &[output]].concat());
    let kinds = |folder: &str| -> Vec<String> {
        let mut skopeo = client.cleaned("skopeo", ["inspect", "--raw", "--tls-verify=false", folder]);
        let index: serde_json::Value = serde_json::from_str(&run(&mut skopeo).ok().stdout).unwrap();
        let manifests = index["manifests"].as_array().unwrap().iter();
        manifests
            .map(|one| one["platform"]["os"].as_str().unwrap().to_owned())
            .collect()
    };
    let pushed = format!("--output=type=image,name={name},push=true");
    build(&pushed).ok();
    assert_eq!(kinds(&format!("docker://{name}")), ["linux", "unknown"]);
    assert_eq!(
        client.inspect(&name, "{{.Id}}"),
        client.build_quietly([context.arg()])
    );

    build("--output=type=oci,name=x:1,dest=oci.tar").ok();
    assert_eq!(kinds("oci-archive:oci.tar"), ["linux", "unknown"]);
    run(&mut client.docker(["load", "-i", "oci.tar"])).ok();

    build("--output=type=local,dest=out").ok();
    let said = client.json("out/provenance.json");
    assert_eq!(said["predicateType"], "https://slsa.dev/provenance/v0.2");
    let metadata = &said["predicate"]["metadata"]["https://mobyproject.org/buildkit@v1#metadata"];
    assert_eq!(metadata["vcs"]["revision"], "abc");
    let subjects = said["subject"].as_array().unwrap();
    let made = subjects.iter().find(|subject| subject["name"] == "made").unwrap();
    let summed = run(&mut client.cleaned("sha256sum", ["out/made"])).ok();
    assert_eq!(summed.text().split(' ').next(), made["digest"]["sha256"].as_str());
    build("--output=type=tar,dest=out.tar").ok();
    let listed = run(&mut client.cleaned("tar", ["-tf", "out.tar"])).ok();
    assert!(
        listed.stdout.lines().any(|name| name == "provenance.json"),
        "{}",
        listed.stdout
    );

    let alone = build("--output=type=docker,name=x:1,dest=docker.tar").ok();
    says(&alone.stderr, &["attestations travel only with --push"]);

    let context = mica_tests::Context::new("FROM scratch\nCOPY made /\n").file("made", "text");
    let both = "--opt=platform=linux/amd64,linux/arm64";
    let build = |output: &str| self::build(&client, context.arg(), &[asked[0], both, output]);
    build("--output=type=oci,name=x:1,dest=both.tar").ok();
    assert_eq!(
        kinds("oci-archive:both.tar"),
        ["linux", "linux", "unknown", "unknown"]
    );
    build("--output=type=local,dest=both").ok();
    for folder in ["linux_amd64", "linux_arm64"] {
        let said = client.json(&format!("both/{folder}/provenance.json"));
        assert_eq!(said["subject"][0]["name"], "made", "{folder}");
    }
}

#[test]
fn secrets_and_failures() {
    let Some(client) = Client::start() else { return };
    let context = mica_tests::Context::with_shell(
        "FROM base\nRUN --mount=type=secret,id=s cat /run/secrets/s; exit 3\n",
    );
    fs_err::write(client.daemon.folder().join("secret"), "told\n").unwrap();
    let failed = build(&client, context.arg(), &["--secret=id=s,src=secret"]);
    assert_eq!(failed.code, 1);
    assert_eq!(said(&failed.stderr), ["told"], "{}", failed.stderr);
    says(
        &failed.stderr,
        &[
            "Dockerfile:5\n",
            ">>> RUN --mount=type=secret,id=s",
            "exit code: 3",
        ],
    );
    let unknown = run(&mut client.buildctl(["build", "--frontend=other.v0"]));
    assert_eq!(unknown.code, 1);
    says(
        &unknown.stderr,
        &["frontend \"other.v0\" is not supported by micad"],
    );
}

#[test]
fn workers_and_what_they_keep() {
    let Some(client) = Client::start() else { return };
    let workers = run(&mut client.buildctl(["debug", "workers"])).ok();
    says(&workers.stdout, &["ID", "PLATFORMS", "linux/"]);
    let about = run(&mut client.buildctl(["debug", "info"])).ok();
    says(&about.stdout, &["BuildKit:", "mica"]);
    build(&client, greeting().arg(), &[]).ok();
    let used = run(&mut client.buildctl(["du"])).ok();
    says(&used.stdout, &["Reclaimable:", "Total:"]);
    run(&mut client.buildctl(["prune", "--all"])).ok();
    let built = build(&client, greeting().arg(), &[]).ok();
    assert!(!built.stderr.contains("CACHED"), "{}", built.stderr);
}
