//! Lists, names, inspections, archives and prunes.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::fake::{Fake, outcome, reply};

fn list() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    format!(
        r#"[{{"Id":"sha256:{a}","RepoTags":["busybox:latest","r:5000/x:y"],"RepoDigests":["busybox@sha256:{d}"],
             "Created":{created},"Size":4261550,"SharedSize":-1,"Containers":-1,"Labels":null,"ParentId":""}},
            {{"Id":"sha256:{b}","RepoTags":[],"RepoDigests":[],"Created":0,"Size":12,"SharedSize":-1,"Containers":-1}}]"#,
        a = "ab".repeat(32),
        b = "12".repeat(32),
        d = "cd".repeat(32),
        created = now - 7300,
    )
}

#[test]
fn images_are_listed_in_columns() {
    let fake = Fake::new([reply(200, list())]);
    let run = fake.run(&["images"]);
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(
        lines[0], "REPOSITORY   TAG       IMAGE ID       CREATED        SIZE",
        "{run:?}"
    );
    assert_eq!(
        lines[1],
        "busybox      latest    abababababab   2 hours ago    4.26MB"
    );
    assert_eq!(
        lines[2],
        "r:5000/x     y         abababababab   2 hours ago    4.26MB"
    );
    assert!(
        lines[3].starts_with("<none>       <none>    121212121212   "),
        "{}",
        lines[3]
    );
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    assert_eq!(fake.lines(), ["GET /v1.51/images/json"]);
}

#[test]
fn images_are_filtered_and_formatted() {
    let fake = Fake::new([reply(200, list())]);
    let run = fake.run(&[
        "images",
        "-a",
        "-q",
        "--no-trunc",
        "-f",
        "dangling=true",
        "-f",
        "label=a=b",
        "busy*",
    ]);
    assert_eq!(
        run.stdout.lines().nth(2),
        Some(format!("sha256:{}", "12".repeat(32)).as_str())
    );
    assert_eq!(
        fake.lines(),
        [
            r#"GET /v1.51/images/json?all=1&filters={"dangling":{"true":true},"label":{"a=b":true},"reference":{"busy*":true}}"#
        ]
    );
    let run = fake.run(&["images", "--format", "{{.Repository}}:{{.Tag}} {{.Digest}}"]);
    assert_eq!(
        run.stdout.lines().next(),
        Some(format!("busybox:latest sha256:{}", "cd".repeat(32)).as_str())
    );
    let run = fake.run(&["images", "--format", "json"]);
    assert!(
        run.stdout
            .lines()
            .all(|line| line.starts_with(r#"{"Containers":"N/A","CreatedAt":""#)),
        "{run:?}"
    );
    let run = fake.run(&["images", "--format", "{{.Nope}}"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
    assert!(
        run.stderr.starts_with("template parsing error: template: :1:2:"),
        "{run:?}"
    );
}

#[test]
fn removals_tell_what_went_and_what_did_not() {
    let gone = || reply(404, r#"{"message":"No such image: b:latest"}"#);
    let done = || reply(200, r#"[{"Untagged":"a:latest"},{"Deleted":"sha256:00"}]"#);
    let fake = Fake::new([done(), gone()]);
    let run = fake.run(&["rmi", "--no-prune", "a", "b"]);
    assert_eq!(run.stdout, "Untagged: a:latest\nDeleted: sha256:00\n");
    assert_eq!(
        run.stderr,
        "Error response from daemon: No such image: b:latest\n"
    );
    assert_eq!(run.code, Some(1));
    assert_eq!(
        fake.lines(),
        [
            "DELETE /v1.51/images/a?noprune=1",
            "DELETE /v1.51/images/b?noprune=1"
        ]
    );
    let run = Fake::new([gone()]).run(&["image", "rm", "-f", "b"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let conflict = reply(409, r#"{"message":"conflict: unable to delete"}"#);
    assert_eq!(Fake::new([conflict]).run(&["rmi", "-f", "b"]).code, Some(1));
}

#[test]
fn names_are_sent_as_the_daemon_wants_them() {
    let fake = Fake::new([reply(201, "")]);
    for (target, query) in [
        ("b", "repo=b"),
        ("r:5000/b", "repo=r:5000/b"),
        ("r:5000/b:c", "repo=r:5000/b&tag=c"),
        ("b@sha256:00", "repo=b@sha256:00"),
    ] {
        let run = fake.run(&["tag", "x/a:1", target]);
        assert_eq!(
            (run.code, run.stdout.as_str(), run.stderr.as_str()),
            (Some(0), "", "")
        );
        assert_eq!(
            fake.lines().last().unwrap(),
            &format!("POST /v1.51/images/x/a:1/tag?{query}")
        );
    }
}

#[test]
fn inspections_show_what_is_there_and_name_what_is_not() {
    let there = || {
        reply(
            200,
            r#"{"Id":"sha256:00","RepoTags":["a:latest"],"Config":{"Cmd":null,"Env":["A=1"]}}"#,
        )
    };
    let gone = || reply(404, r#"{"message":"No such image: b:latest"}"#);
    let run = Fake::new([there(), gone()]).run(&["inspect", "a", "b"]);
    let text = "[\n    {\n        \"Id\": \"sha256:00\",\n        \"RepoTags\": [\n            \"a:latest\"\n        ],\n        \
                \"Config\": {\n            \"Cmd\": null,\n            \"Env\": [\n                \"A=1\"\n            ]\n        \
                }\n    }\n]\n";
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), text));
    assert_eq!(run.stderr, "Error: No such object: b\n");
    let run = Fake::new([gone()]).run(&["image", "inspect", "b"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), "[]\n"));
    assert_eq!(
        run.stderr,
        "Error response from daemon: No such image: b:latest\n"
    );
    for (kind, path) in [
        ("container", "containers/b/json"),
        ("network", "networks/b"),
        ("volume", "volumes/b"),
        ("plugin", "plugins/b/json"),
        ("image", "images/b/json"),
    ] {
        let fake = Fake::new([reply(404, r#"{"message":"No such thing: b"}"#)]);
        let run = fake.run(&["inspect", "--type", kind, "b"]);
        assert_eq!((run.code, run.stdout.as_str()), (Some(1), "[]\n"), "{kind}");
        assert_eq!(run.stderr, "Error response from daemon: No such thing: b\n");
        assert_eq!(fake.lines(), [format!("GET /v1.51/{path}")]);
    }
    let run = Fake::new([there()]).run(&[
        "inspect",
        "-f",
        "{{.Id}} {{.Config.Cmd}} {{index .Config.Env 0}}",
        "a",
    ]);
    assert_eq!(run.stdout, "sha256:00 [] A=1\n");
}

#[test]
fn history_is_shown_in_both_ways() {
    let steps = r#"[{"Id":"sha256:abababababababab","Created":0,"CreatedBy":"CMD [\"sh\"]","Size":0,"Comment":"c"},
                    {"Id":"<missing>","Created":86400,"CreatedBy":"RUN a\tlong instruction that goes on and on and on","Size":1500,"Comment":""}]"#;
    let fake = Fake::new([reply(200, steps)]);
    let run = fake.run(&["history", "-H=false", "a"]);
    assert_eq!(
        run.stdout,
        "IMAGE          CREATED AT             CREATED BY                                      SIZE      COMMENT\n\
         abababababab   1970-01-01T00:00:00Z   CMD [\"sh\"]                                      0         c\n\
         <missing>      1970-01-02T00:00:00Z   RUN a long instruction that goes on and on a…   1500      \n"
    );
    assert_eq!(
        fake.run(&["history", "-q", "--no-trunc", "a"]).stdout,
        "sha256:abababababababab\n<missing>\n"
    );
    assert!(fake.run(&["history", "a"]).stdout.contains("1.5kB"));
}

#[test]
fn archives_are_saved_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.tar");
    let bytes = vec![7_u8; 300_000];
    let fake = Fake::new([reply(200, bytes.clone())]);
    let run = fake.run(&["save", "-o", file.to_str().unwrap(), "a", "b:1"]);
    assert_eq!(
        (run.code, run.stdout.as_str(), run.stderr.as_str()),
        (Some(0), "", "")
    );
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    assert_eq!(fake.lines(), ["GET /v1.51/images/get?names=a&names=b:1"]);
    let output = fake.command(&["save", "a"]).output().unwrap();
    assert_eq!(output.stdout, bytes);
    let fake = Fake::new([reply(404, r#"{"message":"No such image: a:latest"}"#)]);
    let run = fake.run(&["save", "-o", file.to_str().unwrap(), "a"]);
    assert_eq!(run.code, Some(1));
    assert_eq!(
        std::fs::read(&file).unwrap(),
        bytes,
        "a failure leaves the old archive"
    );
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        1,
        "and no draft"
    );
}

#[test]
fn archives_are_loaded_from_files_and_from_input() {
    let lines = "{\"stream\":\"Loaded image: a:1\\n\"}\r\n";
    let fake = Fake::new([reply(200, lines)]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.tar");
    let bytes = vec![9_u8; 1_000_000];
    std::fs::write(&file, &bytes).unwrap();
    let run = fake.run(&["load", "-i", file.to_str().unwrap()]);
    assert_eq!(
        (run.code, run.stdout.as_str(), run.stderr.as_str()),
        (Some(0), "Loaded image: a:1\n", "")
    );
    let mut command = fake.command(&["load"]);
    command.stdin(std::fs::File::open(&file).unwrap());
    assert_eq!(outcome(command).stdout, "Loaded image: a:1\n");
    let lengths: Vec<_> = fake
        .asked()
        .iter()
        .map(|asked| asked.header("content-length").to_owned())
        .collect();
    assert_eq!(
        lengths,
        ["1000000", ""],
        "what comes from elsewhere may not end there"
    );
    for asked in fake.asked() {
        assert_eq!(asked.line, "POST /v1.51/images/load?quiet=1");
        assert_eq!(asked.body.as_deref(), Some(bytes.as_slice()));
    }
    let failure = "{\"errorDetail\":{\"message\":\"bad archive\"},\"error\":\"bad archive\"}\r\n";
    let run = Fake::new([reply(200, failure)]).run(&["load", "-i", file.to_str().unwrap()]);
    assert_eq!(
        (run.code, run.stdout.as_str(), run.stderr.as_str()),
        (Some(1), "", "bad archive\n")
    );
}

#[test]
fn prunes_ask_first() {
    let report =
        r#"{"ImagesDeleted":[{"Untagged":"a:b"},{"Deleted":"sha256:12"}],"SpaceReclaimed":123456789}"#;
    let fake = Fake::new([reply(200, report)]);
    let run = fake.run(&["image", "prune", "-af", "--filter", "until=24h"]);
    assert_eq!(
        run.stdout,
        "Deleted Images:\nuntagged: a:b\ndeleted: sha256:12\n\nTotal reclaimed space: 123.5MB\n"
    );
    assert_eq!(
        fake.lines(),
        [r#"POST /v1.51/images/prune?filters={"until":{"24h":true},"dangling":{"false":true}}"#]
    );
    for (answer, sent) in [("n\n", 1), ("", 1), ("Y\n", 2)] {
        let mut command = fake.command(&["image", "prune"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        let question =
            "WARNING! This will remove all dangling images.\nAre you sure you want to continue? [y/N] ";
        assert!(String::from_utf8_lossy(&output.stdout).starts_with(question));
        assert_eq!(fake.lines().len(), sent, "{answer:?}");
    }
    let fake = Fake::new([reply(200, r#"{"CachesDeleted":["x"],"SpaceReclaimed":1234}"#)]);
    let run = fake.run(&["builder", "prune", "-af", "--keep-storage", "1g"]);
    assert_eq!(
        run.stdout,
        "Deleted build cache objects:\nx\n\nTotal reclaimed space: 1.234kB\n"
    );
    assert_eq!(
        fake.lines(),
        ["POST /v1.51/build/prune?all=1&keep-storage=1073741824&reserved-space=1073741824"]
    );
}

#[test]
fn versions_are_shown_even_without_a_daemon() {
    let server =
        r#"{"Version":"9.8","ApiVersion":"1.50","MinAPIVersion":"1.22","Os":"linux","Arch":"amd64"}"#;
    let fake = Fake::new([reply(200, server)]);
    let run = fake.run(&["version"]);
    assert!(
        run.stdout
            .contains("\nServer:\n Engine:\n  Version:          9.8\n"),
        "{run:?}"
    );
    assert_eq!(
        fake.run(&[
            "version",
            "--format",
            "{{.Server.Version}} {{.Client.ApiVersion}}"
        ])
        .stdout,
        "9.8 1.50\n"
    );
    let mut command = fake.command(&["version"]);
    command.env("MICA_HOST", "unix:///nowhere/s");
    let run = outcome(command);
    assert!(run.stdout.starts_with("Client:\n Version:"), "{run:?}");
    assert_eq!(
        run.stderr,
        "Cannot connect to the mica daemon at unix:///nowhere/s. Is micad running?\n"
    );
    assert_eq!(run.code, Some(1));
    let run = Fake::new([reply(200, r#"{"ID":"i","Images":3,"Driver":"overlay"}"#)]).run(&[
        "info",
        "-f",
        "{{.Images}}",
    ]);
    assert_eq!(run.stdout, "3\n");
}

#[test]
fn a_reader_that_goes_away_is_no_failure_to_tell() {
    let fake = Fake::new([reply(200, vec![0; 4_000_000])]);
    let mut child = fake
        .command(&["save", "a"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn answers_that_are_none_are_told() {
    let run = Fake::new([reply(500, "plain text")]).run(&["images"]);
    assert_eq!(
        (run.code, run.stderr.as_str()),
        (Some(1), "Error response from daemon: plain text\n")
    );
    let run = Fake::new([reply(503, "")]).run(&["images"]);
    assert_eq!(run.stderr, "Error response from daemon: Service Unavailable\n");
    let run = Fake::new([reply(200, "{")]).run(&["images"]);
    assert!(
        run.stderr
            .starts_with("the daemon's answer to /images/json cannot be read: "),
        "{run:?}"
    );
    assert_eq!(run.code, Some(1));
}
