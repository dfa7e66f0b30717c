//! `GET /events`: every verb is told, and the past, to whoever asks for it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mica_tests::{Context, Daemon, FakeRegistry, Heard, Listener};
use serde_json::Value;

/// How long a daemon may take to notice something.
pub(crate) const LATER: Duration = Duration::from_secs(10);

/// Builds a small image with a label and gives its ID.
pub(crate) fn build(daemon: &Daemon, name: &str, label: &str) -> String {
    let context = Context::new(&format!("FROM scratch\nLABEL who={label}\nCOPY f /f\n")).file("f", label);
    daemon.mica(["build", "-q", "-t", name, context.arg()]).ok();
    id(daemon, name)
}

fn id(daemon: &Daemon, name: &str) -> String {
    daemon
        .mica(["inspect", "-f", "{{.Id}}", name])
        .ok()
        .text()
        .to_owned()
}

/// Type, action, ID and `name` of an event.
pub(crate) fn brief(event: &Value) -> [String; 4] {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    [
        text(&event["Type"]),
        text(&event["Action"]),
        text(&event["Actor"]["ID"]),
        text(&event["Actor"]["Attributes"]["name"]),
    ]
}

/// The next events are about images: action, ID and `name`.
#[track_caller]
fn heard(listener: &mut Listener, expected: &[(&str, &str, &str)]) {
    for (action, id, name) in expected {
        let event = listener.event();
        assert_eq!(brief(&event), ["image", action, id, name], "{event}");
        assert_eq!(
            (&event["status"], &event["id"]),
            (&event["Action"], &event["Actor"]["ID"])
        );
        assert_eq!(event["scope"], "local");
        let nanoseconds = event["timeNano"].as_i64().unwrap();
        assert_eq!(nanoseconds / 1_000_000_000, event["time"].as_i64().unwrap());
    }
}

/// Sends a request without a body over a connection of its own and gives the answer.
fn request(daemon: &Daemon, method: &str, path: &str) -> String {
    let mut stream = UnixStream::connect(daemon.socket()).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Gives `image` another name.
#[track_caller]
pub(crate) fn tag(daemon: &Daemon, image: &str, name: &str) {
    let answer = request(daemon, "POST", &format!("/images/{image}/tag?repo={name}"));
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

pub(crate) fn listeners(daemon: &Daemon) -> u64 {
    let answer = request(daemon, "GET", "/info");
    let info: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    info["NEventsListener"].as_u64().unwrap()
}

/// Waits until this is so.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LATER, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn every_verb_is_told() {
    let daemon = Daemon::start();
    let mut all = Listener::open(&daemon, "/v1.51/events");
    assert!(all.head.starts_with("HTTP/1.1 200 OK\r\n"), "{}", all.head);
    assert!(
        all.head.contains("content-type: application/json\r\n"),
        "{}",
        all.head
    );

    let one = build(&daemon, "x:1", "one");
    let event = all.event();
    assert_eq!(brief(&event), ["image", "create", &one, &one]);
    assert_eq!(event["Actor"]["Attributes"]["who"], "one");
    heard(&mut all, &[("tag", &one, "x:1")]);

    daemon.mica(["tag", "x:1", "team/x"]).ok();
    heard(&mut all, &[("tag", &one, "team/x:latest")]);
    let two = build(&daemon, "y", "two");
    heard(&mut all, &[("create", &two, &two), ("tag", &two, "y:latest")]);
    // a name that moves is told where it went, not where it was
    daemon.mica(["tag", "y", "x:1"]).ok();
    heard(&mut all, &[("tag", &two, "x:1")]);

    let archive = daemon.folder().join("x.tar");
    let archive = archive.to_str().unwrap();
    daemon.mica(["save", "-o", archive, "x:1", "team/x"]).ok();
    heard(&mut all, &[("save", &two, &two), ("save", &one, &one)]);
    daemon.mica(["rmi", "x:1"]).ok();
    heard(&mut all, &[("untag", &two, "x:1")]);
    daemon.mica(["rmi", "team/x"]).ok();
    heard(
        &mut all,
        &[("untag", &one, "team/x:latest"), ("delete", &one, &one)],
    );
    daemon.mica(["rmi", &two]).ok();
    heard(&mut all, &[("untag", &two, "y:latest")]);
    let event = all.event();
    assert_eq!(brief(&event), ["image", "delete", &two, &two]);
    assert_eq!(event["Actor"]["Attributes"]["who"], "two");
    daemon.mica(["load", "-i", archive]).ok();
    heard(&mut all, &[("load", &two, &two), ("load", &one, &one)]);

    daemon
        .docker(["import", "-c", "LABEL a=b", archive, "imported:1"])
        .ok();
    let imported = id(&daemon, "imported:1");
    heard(&mut all, &[("tag", &imported, "imported:1")]);
    let event = all.event();
    assert_eq!(brief(&event), ["image", "import", &imported, &imported]);
    assert_eq!(event["Actor"]["Attributes"]["a"], "b");

    // what failed did not happen, and what only reads is none of these
    assert_ne!(daemon.mica(["rmi", "nothing"]).code, 0);
    assert_ne!(daemon.mica(["tag", "nothing", "z"]).code, 0);
    daemon.mica(["images"]).ok();
    daemon.mica(["tag", "x:1", "last"]).ok();
    heard(&mut all, &[("tag", &two, "last:latest")]);
}

#[test]
fn what_goes_to_registries_and_comes_from_there_is_told() {
    let registry = FakeRegistry::start();
    let name = format!("{}/team/x", registry.host());
    let (one, two) = (format!("{name}:1"), format!("{name}:2"));
    let daemon = Daemon::start();
    build(&daemon, &one, "one");
    daemon.mica(["tag", &one, &two]).ok();
    let mut all = Listener::open(&daemon, "/events");
    daemon.mica(["push", "-q", &one]).ok();
    let event = all.event();
    assert_eq!(brief(&event), ["image", "push", &one, &name]);
    assert_eq!(event["Actor"]["Attributes"]["who"], "one");
    daemon.docker(["push", "-a", &name]).ok();
    heard(&mut all, &[("push", &one, &name), ("push", &two, &name)]);

    let other = Daemon::start();
    let mut all = Listener::open(&other, "/events");
    other.mica(["pull", "-q", &one]).ok();
    let event = all.event();
    assert_eq!(brief(&event), ["image", "pull", &one, &name]);
    assert_eq!(event["Actor"]["Attributes"]["who"], "one");
    // what is here already was asked for all the same
    other.mica(["pull", "-q", &one]).ok();
    heard(&mut all, &[("pull", &one, &name)]);
    let digest = other
        .mica(["inspect", "-f", "{{index .RepoDigests 0}}", &one])
        .ok();
    other.mica(["pull", "-q", digest.text()]).ok();
    heard(&mut all, &[("pull", digest.text(), &name)]);
    // a base image that a build pulls is pulled like any other
    let context = Context::new(&format!("FROM {two}\nLABEL x=y\n"));
    other.mica(["build", "-q", "-t", "built", context.arg()]).ok();
    let built = id(&other, "built");
    heard(
        &mut all,
        &[
            ("pull", &two, &name),
            ("create", &built, &built),
            ("tag", &built, "built:latest"),
        ],
    );
    // the digest goes with the last tag, without a word
    assert_ne!(other.mica(["pull", "-q", &format!("{name}:none")]).code, 0);
    other.mica(["rmi", &two]).ok();
    other.mica(["rmi", &one]).ok();
    let image = id(&daemon, &one);
    heard(
        &mut all,
        &[
            ("untag", &image, &two),
            ("untag", &image, &one),
            ("delete", &image, &image),
        ],
    );
}

#[test]
fn what_is_damaged_goes_with_a_word_and_without_labels() {
    let mut daemon = Daemon::start();
    let damaged = ["named", "nameless"].map(|name| build(&daemon, name, name));
    daemon.mica(["tag", "named", "nameless"]).ok();
    for id in &damaged {
        let blob = daemon.root().join("blobs/sha256").join(&id[7..]);
        fs_err::write(blob, "{").unwrap();
    }
    // which knew them as they were
    daemon.kill();
    daemon.spawn();
    let [named, nameless] = &damaged;
    let mut all = Listener::open(&daemon, "/events");
    daemon.mica(["image", "prune", "-f"]).ok();
    let event = all.event();
    assert_eq!(brief(&event), ["image", "delete", nameless, nameless]);
    assert_eq!(event["Actor"]["Attributes"].as_object().unwrap().len(), 1);
    assert_eq!(brief(&all.event())[1], "prune");
    daemon.mica(["rmi", "nameless"]).ok();
    heard(&mut all, &[("untag", named, "nameless:latest")]);
    daemon.mica(["rmi", "named"]).ok();
    heard(
        &mut all,
        &[("untag", named, "named:latest"), ("delete", named, named)],
    );
}

#[test]
fn prunes_are_told_with_what_they_freed() {
    let daemon = Daemon::start();
    let one = build(&daemon, "x", "one");
    build(&daemon, "x", "two");
    let mut all = Listener::open(&daemon, "/events");
    let answer = request(&daemon, "POST", "/images/prune");
    let report: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    heard(&mut all, &[("delete", &one, &one)]);
    let event = all.event();
    assert_eq!(brief(&event), ["image", "prune", "", ""]);
    assert_eq!(
        event["Actor"]["Attributes"]["reclaimed"],
        report["SpaceReclaimed"].to_string()
    );
    let answer = request(&daemon, "POST", "/build/prune?all=1");
    let report: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let event = all.event();
    assert_eq!(brief(&event), ["builder", "prune", "", ""]);
    assert_eq!(
        event["Actor"]["Attributes"]["reclaimed"],
        report["SpaceReclaimed"].to_string()
    );
    assert!(
        event.get("status").is_none() && event.get("id").is_none(),
        "{event}"
    );
}

#[test]
fn the_past_is_told_again() {
    let daemon = Daemon::start();
    let first = build(&daemon, "x", "one");
    let past = Listener::open(&daemon, "/v1.51/events?since=0&until=0s").rest();
    let actions: Vec<String> = past.iter().map(|event| brief(event)[1].clone()).collect();
    assert_eq!(actions, ["create", "tag"]);
    // before 1.46 nobody knows that images are created
    let old = Listener::open(&daemon, "/v1.45/events?since=0&until=0s").rest();
    assert_eq!(old, past[1..]);

    let cut = past[1]["timeNano"].as_i64().unwrap() + 1;
    let seconds = format!("{}.{:09}", cut / 1_000_000_000, cut % 1_000_000_000);
    daemon.mica(["tag", "x", "later"]).ok();
    let names = |query: &str| -> Vec<String> {
        let events = Listener::open(&daemon, &format!("/events?{query}")).rest();
        events.iter().map(|event| brief(event)[3].clone()).collect()
    };
    assert_eq!(names(&format!("since={seconds}&until=0s")), ["later:latest"]);
    assert_eq!(names(&format!("until={seconds}")), [first.as_str(), "x:latest"]);
    assert_eq!(
        names("since=10m&until=1ms&filters=%7B%22event%22:%5B%22tag%22%5D%7D"),
        ["x:latest", "later:latest"]
    );
    assert!(names("since=2000-01-01T00:00:00Z&until=2001-01-01").is_empty());

    // an end that is still to come: what happens until then is told, and then the stream ends
    let mut late = Listener::open(&daemon, &format!("/events?since={seconds}&until=-1h"));
    assert_eq!(brief(&late.event())[3], "later:latest");
    daemon.mica(["tag", "x", "now"]).ok();
    assert_eq!(brief(&late.event())[3], "now:latest");
    let begun = Instant::now();
    let mut soon = Listener::open(&daemon, &format!("/events?since={seconds}&until=-1s"));
    for name in ["later:latest", "now:latest"] {
        assert_eq!(brief(&soon.event())[3], name);
    }
    assert_eq!(soon.hear(), Heard::End);
    assert!(
        begun.elapsed() >= Duration::from_millis(900),
        "{:?}",
        begun.elapsed()
    );

    for (query, words) in [
        ("since=soon", "invalid value for since"),
        ("since=1h&until=yesterday", "invalid value for until"),
        ("since=1h&until=2h", "cannot be after `until` time (2h)"),
        ("filters=x", "invalid filter"),
    ] {
        let refused = Listener::open(&daemon, &format!("/events?{query}"));
        assert!(refused.head.starts_with("HTTP/1.1 400"), "{}", refused.head);
        let body = refused.body();
        assert!(body.contains(words), "{body}");
    }
}

#[test]
fn docker_s_command_line_follows_and_filters() {
    let daemon = Daemon::start();
    let one = build(&daemon, "x:1", "one");
    let two = build(&daemon, "team/y", "two");
    daemon.mica(["tag", "x:1", "x:2"]).ok();
    daemon.mica(["rmi", "x:2"]).ok();
    let events = |filters: &[&str]| -> Vec<String> {
        // a duration it counts in whole seconds
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let until = format!("{}.{:09}", now.as_secs(), now.subsec_nanos());
        let mut args = vec!["events", "--since", "1h", "--until", &until];
        args.extend(["--format", "{{json .}}"]);
        for filter in filters {
            args.extend(["--filter", filter]);
        }
        let told = daemon.docker(args).ok();
        let line = |line: &str| {
            let event: Value = serde_json::from_str(line).unwrap();
            let [_, action, id, name] = brief(&event);
            let name = if id == name { "ID".to_owned() } else { name };
            format!("{action} {name}")
        };
        told.stdout.lines().map(line).collect()
    };
    let all = [
        "create ID",
        "tag x:1",
        "create ID",
        "tag team/y:latest",
        "tag x:2",
        "untag x:2",
    ];
    let of_one = [all[0], all[1], all[4], all[5]];
    assert_eq!(events(&[]), all);
    assert_eq!(events(&["type=image"]), all);
    assert!(events(&["type=container"]).is_empty());
    assert!(events(&["type=builder"]).is_empty());
    assert_eq!(events(&["event=untag", "event=create"]), [all[0], all[2], all[5]]);
    assert_eq!(events(&[&format!("image={one}")]), of_one);
    assert_eq!(events(&["image=x"]), [all[1], all[4], all[5]]);
    assert_eq!(events(&["image=x:1"]), [all[1]]);
    assert_eq!(events(&["image=team/y", "image=x:2"]), [all[3], all[4], all[5]]);
    assert_eq!(events(&["label=who=two"]), [all[2], all[3]]);
    assert_eq!(
        events(&["label=who", "event=tag", &format!("image={two}")]),
        [all[3]]
    );
    assert!(events(&["label=nobody"]).is_empty());
    assert_eq!(events(&["scope=local"]), all);
    assert!(events(&["network=none"]).is_empty());

    // without an end it goes on until it is stopped
    let mut following = Command::new("docker")
        .args(["-H", &daemon.host(), "events", "--filter", "event=tag"])
        .args(["--format", "{{.Actor.Attributes.name}}"])
        .env("DOCKER_CONFIG", daemon.folder().join("docker-config"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("it listens", || listeners(&daemon) == 1);
    daemon.mica(["tag", "x:1", "x:3"]).ok();
    let mut line = [0; "x:3\n".len()];
    following.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    assert_eq!(&line, b"x:3\n");
    following.kill().unwrap();
    following.wait().unwrap();
    wait_until("it is noticed that it left", || listeners(&daemon) == 0);
}
