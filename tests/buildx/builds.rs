//! What a build comes to, and what is told of it.

use std::process::Command;

use mica_tests::{Context, run};

use crate::client::{Client, greeting, said, says};

#[test]
fn an_image_gets_its_names_and_is_the_classic_builders_too() {
    let Some(client) = Client::start() else { return };
    let context = greeting();
    let first = client
        .build(["-t", "x", "-t", "other/name:2", context.arg()])
        .ok();
    says(
        &first.stderr,
        &[
            "[internal] load build definition from Dockerfile",
            "[internal] load .dockerignore",
            "[internal] load build context",
            "RUN echo made by $WHO > /made",
            "exporting to image",
            "naming to docker.io/library/x:latest done",
            "naming to docker.io/other/name:2 done",
        ],
    );
    assert!(!first.stderr.contains("CACHED"), "{}", first.stderr);
    let id = client.inspect("x", "{{.Id}}");
    says(&first.stderr, &[&format!("writing image {id} done")]);
    assert_eq!(client.inspect("other/name:2", "{{.Id}}"), id);

    let second = client.build(["-t", "x", context.arg()]).ok();
    assert_eq!(second.stderr.matches("CACHED").count(), 3, "{}", second.stderr);
    assert_eq!(client.inspect("x", "{{.Id}}"), id);
    // the classic builder has made the same already
    let classic = client.daemon.docker(["build", "-q", context.arg()]).ok();
    assert_eq!(classic.text(), id);
    assert_eq!(client.build_quietly([context.arg()]), id);
}

#[test]
fn docker_build_is_buildx_where_it_is_installed() {
    let Some(client) = Client::start() else { return };
    let told = run(&mut client.docker(["version", "--format", "{{.Client.Version}}"])).ok();
    let major: u32 = told.text().split('.').next().unwrap().parse().unwrap();
    if major < 23 {
        println!(
            "skipped: docker {} builds with a BuildKit of its own",
            told.text()
        );
        return;
    }
    let context = greeting();
    let built = run(&mut client.docker(["build", "-t", "x", context.arg()])).ok();
    says(&built.stderr, &["docker driver", "exporting to image"]);
    assert_eq!(client.inspect("x", "{{.Config.Cmd}}"), "[sh]");
}

#[test]
fn arguments_labels_and_targets_reach_the_build() {
    let Some(client) = Client::start() else { return };
    let context = Context::with_shell(
        "FROM base AS early\nARG WHO=nobody\nRUN echo $WHO > /made\nFROM early AS late\nRUN echo late > /late\n",
    );
    client
        .build(["--build-arg=WHO=me", "--target=early", "-o", "out", context.arg()])
        .ok();
    assert_eq!(client.text("out/made"), "me\n");
    assert!(!client.daemon.folder().join("out/late").exists());
    client
        .build([
            "--label=k=v",
            "--label=l=a b",
            "--target=early",
            "-t",
            "x",
            context.arg(),
        ])
        .ok();
    assert_eq!(
        client.inspect("x", "{{json .Config.Labels}}"),
        r#"{"k":"v","l":"a b"}"#
    );

    // all again, or a stage of it
    let all = client.build(["--no-cache", context.arg()]).ok();
    assert!(!all.stderr.contains("CACHED"), "{}", all.stderr);
    let one = client.build(["--no-cache-filter=late", context.arg()]).ok();
    assert_eq!(one.stderr.matches("CACHED").count(), 3, "{}", one.stderr);
}

#[test]
fn limits_and_hosts_hold_within_a_step() {
    let Some(client) = Client::start() else { return };
    let context = Context::with_shell(
        "FROM base\nRUN grep there /etc/hosts; ulimit -n; ulimit -Hn; df -k /dev/shm | tail -n 1; ls /sys/class/net\n",
    );
    let built = client
        .build([
            "--add-host=there:192.0.2.1",
            "--network=none",
            "--ulimit=nofile=100:200",
            "--shm-size=1m",
            context.arg(),
        ])
        .ok();
    let said = said(&built.stderr);
    assert_eq!(
        said[0].split_whitespace().collect::<Vec<_>>(),
        ["192.0.2.1", "there"]
    );
    assert_eq!(said[1..3], ["100", "200"]);
    assert_eq!(said[3].split_whitespace().nth(1), Some("1024"), "{said:?}");
    assert_eq!(said[4..], ["lo"]);
}

#[test]
fn what_came_of_it_is_written_to_files() {
    let Some(client) = Client::start() else { return };
    let context = greeting();
    client
        .build([
            "--iidfile=id",
            "--metadata-file=told",
            "-t",
            "x",
            "-t",
            "y:1",
            context.arg(),
        ])
        .ok();
    let id = client.inspect("x", "{{.Id}}");
    assert_eq!(client.text("id"), id);
    let told = client.json("told");
    assert_eq!(told["containerimage.config.digest"], id.as_str());
    // it has a manifest once it is pushed
    assert_eq!(told["containerimage.digest"], id.as_str());
    assert_eq!(
        told["image.name"],
        "docker.io/library/x:latest,docker.io/library/y:1"
    );

    client
        .build(["--build-arg=SOURCE_DATE_EPOCH=1000", "-t", "old", context.arg()])
        .ok();
    assert_eq!(client.inspect("old", "{{.Created}}"), "1970-01-01T00:16:40Z");
}

#[test]
fn every_kind_of_progress_is_drawn() {
    let Some(client) = Client::start() else { return };
    let context = Context::with_shell("FROM base\nRUN echo out; echo err >&2\n");
    let mut raw = client.buildx(["build", "--progress=rawjson", context.arg()]);
    let raw = run(&mut raw).ok();
    let mut names = Vec::new();
    let mut begun = std::collections::BTreeSet::new();
    let mut completed = std::collections::BTreeSet::new();
    for line in raw.stderr.lines() {
        let told: serde_json::Value = serde_json::from_str(line).unwrap();
        for vertex in told["vertexes"].as_array().into_iter().flatten() {
            let digest = vertex["digest"].as_str().unwrap().to_owned();
            if vertex["started"].is_string() && begun.insert(digest.clone()) {
                names.push(vertex["name"].as_str().unwrap().to_owned());
            }
            if vertex["completed"].is_string() {
                completed.insert(digest);
            }
        }
    }
    assert_eq!(begun, completed, "what begins ends");
    says(
        &names.join("\n"),
        &[
            "[internal] load build definition from Dockerfile",
            "RUN echo out",
            "exporting to image",
        ],
    );

    let plain = client.build(["--no-cache", context.arg()]).ok();
    let mut lines = said(&plain.stderr);
    lines.sort_unstable();
    assert_eq!(lines, ["err", "out"], "{}", plain.stderr);

    if run(Command::new("script").arg("--version")).code != 0 {
        println!("skipped: script, of bsdutils, is not installed");
        return;
    }
    let line = format!("docker buildx build --progress=tty {}", context.arg());
    let mut tty = client.cleaned("script", ["-qec", &line, "/dev/null"]);
    let drawn = run(&mut tty).ok();
    says(
        &drawn.stdout,
        &["FINISHED", "CACHED", "=> => writing image sha256:"],
    );
}

#[test]
fn a_syntax_line_names_what_is_built_in() {
    let Some(client) = Client::start() else { return };
    let context = greeting();
    let text = fs_err::read_to_string(context.path().join("Dockerfile")).unwrap();
    context.write("Dockerfile", &format!("# syntax=docker/dockerfile:1\n{text}"));
    client.build([context.arg()]).ok();
    context.write("Dockerfile", &format!("# syntax=some.example/frontend:1\n{text}"));
    let refused = client.build([context.arg()]);
    assert_eq!(refused.code, 1);
    says(
        &refused.stderr,
        &["syntax \"some.example/frontend:1\" is not built in"],
    );
}
