//! `mica pull`, `push`, `import` and `manifest inspect`: what is asked, and what is shown where.

use serde_json::json;

use crate::fake::{Fake, outcome, reply, stream};
use crate::home::Home;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn pulled() -> String {
    stream(&[
        r#"{"status":"Pulling from library/busybox","id":"latest"}"#,
        r#"{"status":"Pulling fs layer","id":"abc","progressDetail":{}}"#,
        r#"{"status":"Downloading","id":"abc","progressDetail":{"current":1,"total":2}}"#,
        r#"{"status":"Pull complete","id":"abc","progressDetail":{}}"#,
        r#"{"status":"Status: Downloaded newer image for busybox:latest"}"#,
    ])
}

#[test]
fn pulls_say_what_was_pulled_and_show_the_rest_aside() {
    let (fake, home) = (Fake::new([reply(200, pulled())]), Home::new(&[]));
    for command in [&["pull", "busybox"][..], &["image", "pull", "busybox"]] {
        let run = home.run(&fake, command);
        assert_eq!(
            (run.code, run.stdout.as_str()),
            (Some(0), "docker.io/library/busybox:latest\n")
        );
        assert_eq!(
            run.stderr,
            "Using default tag: latest\nlatest: Pulling from library/busybox\nabc: Pulling fs layer\n\
             abc: Pull complete\nStatus: Downloaded newer image for busybox:latest\n"
        );
    }
    let run = home.run(&fake, &["pull", "-q", "busybox"]);
    assert_eq!(
        (run.code, run.stdout.as_str(), run.stderr.as_str()),
        (Some(0), "docker.io/library/busybox:latest\n", "")
    );
    for asked in fake.asked() {
        assert_eq!(
            asked.line,
            "POST /v1.51/images/create?fromImage=docker.io%2Flibrary%2Fbusybox&tag=latest"
        );
        assert_eq!(asked.header("x-registry-auth"), "e30=");
    }
}

#[test]
fn every_form_of_a_name_is_asked_for() {
    let home = Home::new(&[]);
    let pinned = format!("x:1@{DIGEST}");
    for (arguments, query, told) in [
        (
            vec!["-a", "ghcr.io/a/b"],
            "fromImage=ghcr.io/a/b".to_owned(),
            "ghcr.io/a/b\n".to_owned(),
        ),
        (
            vec![&pinned],
            format!("fromImage=docker.io/library/x&tag={DIGEST}"),
            format!("docker.io/library/{pinned}\n"),
        ),
        (
            vec!["--platform", "linux/arm64", "localhost:5000/x:1"],
            "fromImage=localhost:5000/x&tag=1&platform=linux/arm64".to_owned(),
            "localhost:5000/x:1\n".to_owned(),
        ),
    ] {
        let fake = Fake::new([reply(200, pulled())]);
        let run = home.run(&fake, &[vec!["pull"], arguments].concat());
        assert_eq!((run.code, run.stdout), (Some(0), told));
        assert_eq!(fake.lines(), [format!("POST /v1.51/images/create?{query}")]);
    }
    let fake = Fake::new([reply(200, pulled())]);
    let mut command = home.command(&fake, &["pull", "x:1"]);
    command.env("DOCKER_DEFAULT_PLATFORM", "linux/386");
    outcome(command);
    assert!(fake.lines()[0].ends_with("&platform=linux/386"));
}

#[test]
fn names_that_are_none_are_not_asked_for() {
    let (fake, home) = (Fake::new([reply(200, pulled())]), Home::new(&[]));
    let pinned = format!("x@{DIGEST}");
    for (arguments, text) in [
        (["pull", "-a", "x:1"], "tag can't be used with --all-tags/-a\n"),
        (["push", "-a", "x:1"], "tag can't be used with --all-tags/-a\n"),
        (
            ["pull", "-q", "X"],
            "invalid reference format: repository name (X) must be lowercase\n",
        ),
        (["push", "-q", "a b"], "invalid reference format\n"),
        (["push", "-q", &pinned], "cannot push a digest reference\n"),
        (["manifest", "inspect", "a b"], "invalid reference format\n"),
    ] {
        let run = home.run(&fake, &arguments);
        assert_eq!(
            (run.code, run.stdout.as_str(), run.stderr.as_str()),
            (Some(1), "", text),
            "{arguments:?}"
        );
    }
    assert!(fake.asked().is_empty());
}

#[test]
fn failures_are_told_whole() {
    let home = Home::new(&[]);
    let many = "denied: no\\n\\nHints:\\n  the token lacks\\u001b[2J write:packages";
    let shown = "denied: no\n\nHints:\n  the token lacks[2J write:packages\n";
    for verb in ["pull", "push"] {
        let before = Fake::new([reply(404, format!(r#"{{"message":"{many}"}}"#))]);
        let run = home.run(&before, &[verb, "-q", "ghcr.io/o/n:1"]);
        assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
        assert_eq!(run.stderr, format!("Error response from daemon: {shown}"));
        let line = format!(r#"{{"errorDetail":{{"code":401,"message":"{many}"}},"error":"x"}}"#);
        let during = Fake::new([reply(200, stream(&[r#"{"status":"begun"}"#, &line]))]);
        let run = home.run(&during, &[verb, "ghcr.io/o/n:1"]);
        assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
        assert_eq!(run.stderr, format!("begun\n{shown}"));
    }
}

fn pushed(tags: &[&str]) -> String {
    let mut lines = vec![
        r#"{"status":"The push refers to repository [docker.io/library/x]"}"#.to_owned(),
        r#"{"status":"Preparing","id":"abc","progressDetail":{}}"#.to_owned(),
        r#"{"status":"Pushing","id":"abc","progressDetail":{"current":1,"total":2}}"#.to_owned(),
        r#"{"status":"Pushed","id":"abc","progressDetail":{}}"#.to_owned(),
    ];
    for tag in tags {
        lines.push(format!(r#"{{"status":"{tag}: digest: {DIGEST} size: 527"}}"#));
        lines.push(format!(
            r#"{{"progressDetail":{{}},"aux":{{"Tag":"{tag}","Digest":"{DIGEST}","Size":527}}}}"#
        ));
    }
    stream(&lines.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn pushes_say_the_digest_and_show_the_rest_aside() {
    let (fake, home) = (Fake::new([reply(200, pushed(&["latest"]))]), Home::new(&[]));
    let run = home.run(&fake, &["push", "x"]);
    assert_eq!(
        (run.code, run.stdout),
        (Some(0), format!("latest: digest: {DIGEST} size: 527\n"))
    );
    assert_eq!(
        run.stderr,
        "Using default tag: latest\nThe push refers to repository [docker.io/library/x]\nabc: Preparing\nabc: Pushed\n"
    );
    let run = home.run(&fake, &["image", "push", "--quiet", "x"]);
    assert_eq!(
        (run.code, run.stdout.as_str(), run.stderr.as_str()),
        (Some(0), "docker.io/library/x:latest\n", "")
    );
    let all = Fake::new([reply(200, pushed(&["a", "b"]))]);
    let run = home.run(&all, &["push", "-a", "x"]);
    assert_eq!(
        run.stdout,
        format!("a: digest: {DIGEST} size: 527\nb: digest: {DIGEST} size: 527\n")
    );
    assert_eq!(all.lines(), ["POST /v1.51/images/docker.io/library/x/push"]);
    let arguments = [
        "push",
        "--compression",
        "zstd",
        "--platform",
        "linux/arm/v7",
        "r:5000/o/x:2",
    ];
    home.run(&fake, &arguments);
    assert_eq!(
        fake.lines(),
        [
            "POST /v1.51/images/docker.io/library/x/push?tag=latest",
            "POST /v1.51/images/docker.io/library/x/push?tag=latest",
            "POST /v1.51/images/r:5000/o/x/push?tag=2\
             &platform={\"os\":\"linux\",\"architecture\":\"arm\",\"variant\":\"v7\"}&compression=zstd",
        ]
    );
    assert!(
        fake.asked()
            .iter()
            .all(|asked| asked.header("x-registry-auth") == "e30=")
    );
    let run = home.run(&fake, &["push", "--compression", "xz", "x"]);
    assert!(
        run.stderr
            .starts_with("invalid argument \"xz\" for \"--compression\" flag\n"),
        "{run:?}"
    );
    assert_eq!(run.code, Some(125));
}

#[test]
fn imports_say_the_id() {
    let lines = stream(&[
        r#"{"status":"Downloading from http://x/y.tar"}"#,
        r#"{"status":"sha256:abc"}"#,
    ]);
    let (fake, home) = (
        Fake::new([reply(200, lines)]),
        Home::new(&[("a.tar", "from a file")]),
    );
    let file = home.path("a.tar");
    let run = home.run(
        &fake,
        &[
            "import",
            "-c",
            "CMD x",
            "--change=ENV A=b",
            "-m",
            "hello",
            "--platform",
            "linux/arm64",
            file.to_str().unwrap(),
            "x/y:1",
        ],
    );
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), "sha256:abc\n"));
    assert_eq!(run.stderr, "Downloading from http://x/y.tar\n");
    home.run_with(&fake, &["image", "import", "-"], b"from standard input");
    home.run(&fake, &["import", "http://x/y.tar", "z"]);
    assert_eq!(
        fake.lines(),
        [
            "POST /v1.51/images/create?fromSrc=-&repo=x/y:1&message=hello&platform=linux/arm64\
             &changes=CMD x&changes=ENV A=b",
            "POST /v1.51/images/create?fromSrc=-",
            "POST /v1.51/images/create?fromSrc=http://x/y.tar&repo=z",
        ]
    );
    let asked = fake.asked();
    let lengths = [0, 1].map(|at| asked[at].header("content-length"));
    assert_eq!(lengths, ["11", ""]);
    let bodies: Vec<_> = asked.into_iter().map(|asked| asked.body.unwrap()).collect();
    assert_eq!(bodies, [&b"from a file"[..], b"from standard input", b""]);
    let run = home.run(&fake, &["import", "/nowhere.tar"]);
    assert_eq!(run.code, Some(1));
    assert!(
        run.stderr.starts_with("cannot open /nowhere.tar: No such file"),
        "{run:?}"
    );
    let run = home.run(&Fake::new([reply(200, "")]), &["import", "http://x"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
}

#[test]
fn manifests_are_shown_as_they_came() {
    let home = Home::new(&[]);
    let manifest = r#"{"schemaVersion":2, "z":1.0,"layers":[],"a":"\u003c"}"#;
    let answer = || {
        reply(200, manifest)
            .with("Content-Type", "application/vnd.oci.image.manifest.v1+json")
            .with("Docker-Content-Digest", DIGEST)
    };
    let fake = Fake::new([answer()]);
    let run = home.run(&fake, &["manifest", "inspect", "--insecure", "x"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    assert_eq!(
        run.stdout,
        "{\n\t\"schemaVersion\": 2,\n\t\"z\": 1.0,\n\t\"layers\": [],\n\t\"a\": \"\\u003c\"\n}\n"
    );
    assert_eq!(
        fake.lines(),
        ["GET /v1.51/mica/manifest/docker.io/library/x:latest"]
    );
    assert_eq!(fake.asked()[0].header("x-registry-auth"), "e30=");
    let run = home.run(&fake, &["manifest", "inspect", "-v", "x"]);
    let shown: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let descriptor = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": DIGEST,
        "size": manifest.len(),
    });
    assert_eq!(shown["Ref"], "docker.io/library/x:latest");
    assert_eq!(shown["Descriptor"], descriptor);
    assert_eq!(shown["OCIManifest"]["a"], "<");
    assert!(run.stdout.starts_with("{\n\t\"Ref\": "));
}

#[test]
fn manifests_of_lists_are_asked_for_one_by_one() {
    let home = Home::new(&[]);
    let index = format!(r#"{{"manifests":[{{"digest":"{DIGEST}","size":2,"platform":{{"os":"linux"}}}}]}}"#);
    let list = || reply(200, index.clone()).with("Content-Type", "application/vnd.oci.image.index.v1+json");
    let run = home.run(&Fake::new([list()]), &["manifest", "inspect", "x"]);
    assert!(
        run.stdout.starts_with("{\n   \"manifests\": [\n      {\n"),
        "{run:?}"
    );
    let child = reply(200, "{}").with(
        "Content-Type",
        "application/vnd.docker.distribution.manifest.v2+json",
    );
    let fake = Fake::new([list(), child]);
    let run = home.run(&fake, &["manifest", "inspect", "--verbose", "ghcr.io/o/x:1"]);
    assert_eq!(
        fake.lines(),
        [
            "GET /v1.51/mica/manifest/ghcr.io/o/x:1".to_owned(),
            format!("GET /v1.51/mica/manifest/ghcr.io/o/x:1@{DIGEST}"),
        ]
    );
    let shown: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(shown[0]["Ref"], format!("ghcr.io/o/x:1@{DIGEST}"));
    assert_eq!(shown[0]["Descriptor"]["platform"], json!({"os": "linux"}));
    assert_eq!(shown[0]["SchemaV2Manifest"], json!({}));
    let run = home.run(&Fake::new([reply(200, "no JSON")]), &["manifest", "inspect", "x"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
}
