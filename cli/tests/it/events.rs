//! `mica events`, line by line as docker's command line shows the same answers.

use crate::fake::{Fake, Reply, outcome, reply, stream};

const PULL: &str = r#"{"status":"pull","id":"busybox:latest","Type":"image","Action":"pull","Actor":{"ID":"busybox:latest","Attributes":{"name":"busybox","b":"1","a":"x y"}},"scope":"local","time":1700000000,"timeNano":1700000000123456789}"#;
const PRUNE: &str = r#"{"Type":"builder","Action":"prune","Actor":{"ID":"","Attributes":{"reclaimed":"12"}},"scope":"local","time":1700000001,"timeNano":1700000001000000000}"#;
const DELETE: &str = r#"{"status":"delete","id":"sha256:11","Type":"image","Action":"delete","Actor":{"ID":"sha256:11","Attributes":null},"scope":"local","time":1700000002,"timeNano":0}"#;

fn answer() -> Reply {
    reply(200, stream(&[PULL, PRUNE, DELETE]))
}

#[test]
fn events_are_lines() {
    let fake = Fake::new([answer()]);
    for words in [&["events"][..], &["system", "events"]] {
        let run = fake.run(words);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
        assert_eq!(
            run.stdout,
            "2023-11-14T22:13:20.123456789Z image pull busybox:latest (a=x y, b=1, name=busybox)\n\
             2023-11-14T22:13:21.000000000Z builder prune  (reclaimed=12)\n\
             2023-11-14T22:13:22.000000000Z image delete sha256:11\n"
        );
    }
    let mut command = fake.command(&["events"]);
    command.env("TZ", "Asia/Kolkata");
    assert!(
        outcome(command)
            .stdout
            .starts_with("2023-11-15T03:43:20.123456789+05:30 image pull")
    );
}

#[test]
fn events_are_shown_through_templates() {
    let fake = Fake::new([answer()]);
    for format in ["json", "{{json .}}"] {
        assert_eq!(
            fake.run(&["events", "--format", format])
                .stdout
                .lines()
                .next()
                .unwrap(),
            r#"{"status":"pull","id":"busybox:latest","Type":"image","Action":"pull","Actor":{"ID":"busybox:latest","Attributes":{"a":"x y","b":"1","name":"busybox"}},"scope":"local","time":1700000000,"timeNano":1700000000123456789}"#
        );
    }
    let format = "{{.Type}} {{.Action}} {{.Actor.ID}} {{.Time}} {{.TimeNano}} {{.Scope}} {{.ID}} {{.Status}} {{.From}} \
                  {{.Actor.Attributes.name}} {{.Actor.Attributes}}";
    assert_eq!(
        fake.run(&["events", "--format", format]).stdout,
        "image pull busybox:latest 1700000000 1700000000123456789 local busybox:latest pull  busybox map[a:x y b:1 \
         name:busybox]\n\
         builder prune  1700000001 1700000001000000000 local    <no value> map[reclaimed:12]\n\
         image delete sha256:11 1700000002 0 local sha256:11 delete  <no value> map[]\n"
    );
    let asked = fake.lines().len();
    let run = fake.run(&["events", "--format", "{{.Nope}}"]);
    assert!(
        run.stderr
            .starts_with("Error parsing format: template: :1:2: executing \"\" at <.Nope>: "),
        "{run:?}"
    );
    assert_eq!(
        (run.code, fake.lines().len()),
        (Some(64), asked),
        "nothing was asked for"
    );
}

#[test]
fn the_daemon_is_told_from_when_to_when() {
    let fake = Fake::new([answer()]);
    fake.run(&[
        "events",
        "--since",
        "2023-11-14",
        "--until",
        "1700000000.5",
        "--filter",
        "type=image",
        "-f",
        "event=pull",
    ]);
    fake.run(&["events", "--until", "2023-11-14T10:00:00.123456789Z"]);
    assert_eq!(
        fake.lines(),
        [
            r#"GET /v1.51/events?filters={"type":{"image":true},"event":{"pull":true}}&since=1699920000.000000000&until=1700000000.5"#,
            "GET /v1.51/events?until=1699956000.123456789"
        ]
    );
    fake.run(&["events", "--since", "10m"]);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let line = fake.lines().pop().unwrap();
    let since: u64 = line.rsplit_once("since=").unwrap().1.parse().unwrap();
    assert!((now - 630..=now - 600).contains(&since), "{line}");
    let run = fake.run(&["events", "--since", "abc"]);
    assert_eq!(
        (run.code, run.stderr.as_str()),
        (Some(1), "failed to parse value as time or duration: \"abc\"\n")
    );
}

#[test]
fn labels_move_no_cursor() {
    let line = PULL.replace("x y", r"\u001b[2Jx\r\n2023 forged");
    let run = Fake::new([reply(200, stream(&[&line]))]).run(&["events"]);
    assert_eq!(
        run.stdout,
        "2023-11-14T22:13:20.123456789Z image pull busybox:latest (a=[2Jx 2023 forged, b=1, name=busybox)\n"
    );
}
