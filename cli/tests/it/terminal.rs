//! What people see and type on a terminal: bars, questions, and passwords that are not shown.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::sync::mpsc::channel;

use serde_json::json;

use crate::fake::{Fake, reply, stream};
use crate::home::Home;
use crate::pseudo::Terminal;

#[test]
fn passwords_are_asked_for_and_not_shown() {
    let answer = reply(200, r#"{"Status":"Login Succeeded"}"#);
    let (fake, home) = (Fake::new([answer]), Home::new(&[]));
    let mut terminal = Terminal::run(home.command(&fake, &["login", "r.io"]), 80, 24);
    terminal.wait("Username: ");
    assert!(terminal.is_echoing());
    terminal.type_in(" me \n");
    terminal.wait("Password: ");
    assert!(!terminal.is_echoing());
    terminal.type_in("s3cret word\n");
    assert_eq!(terminal.end(), (Some(0), "Login Succeeded\n".to_owned()));
    assert!(terminal.is_echoing());
    assert!(!terminal.seen.contains("s3cret"), "{:?}", terminal.seen);
    assert!(terminal.seen.contains("stored unencrypted"));
    let body: serde_json::Value = serde_json::from_slice(fake.asked()[0].body.as_ref().unwrap()).unwrap();
    assert_eq!(
        body,
        json!({"username": "me", "password": "s3cret word", "serveraddress": "r.io"})
    );
}

#[test]
fn who_does_not_answer_gets_the_known_name_or_an_error() {
    let wrong = reply(401, r#"{"message":"no"}"#);
    let good = reply(200, r#"{"Status":"Login Succeeded"}"#);
    let home = Home::new(&[(
        ".docker/config.json",
        r#"{"auths":{"r.io":{"auth":"a25vd246cA=="}}}"#,
    )]);
    let fake = Fake::new([wrong, good]);
    let mut terminal = Terminal::run(home.command(&fake, &["login", "r.io"]), 80, 24);
    terminal.wait("Username (known): ");
    terminal.type_in("\n");
    terminal.wait("Password: ");
    terminal.type_in("new\n");
    assert_eq!(terminal.end().0, Some(0));
    assert_eq!(
        home.config(),
        json!({"auths": {"r.io": {"auth": "a25vd246bmV3"}}})
    );

    let mut terminal = Terminal::run(home.command(&fake, &["login"]), 80, 24);
    terminal.wait("Log in with your Docker ID");
    terminal.wait("Username: ");
    terminal.type_in("\n");
    assert_eq!(terminal.end(), (Some(1), String::new()));
    assert!(terminal.seen.contains("Error: Non-null Username Required"));
    let mut terminal = Terminal::run(home.command(&fake, &["login", "-u", "u"]), 80, 24);
    terminal.wait("Password: ");
    terminal.type_in("\n");
    assert_eq!(terminal.end(), (Some(1), String::new()));
    assert!(terminal.seen.contains("Error: Password Required"));
}

#[test]
fn a_signal_gives_the_terminal_back() {
    let (fake, home) = (Fake::new([]), Home::new(&[]));
    let mut terminal = Terminal::run(home.command(&fake, &["login", "-u", "u"]), 80, 24);
    terminal.wait("Password: ");
    assert!(!terminal.is_echoing());
    terminal.signal("-INT");
    assert_eq!(terminal.end(), (Some(130), String::new()));
    assert!(terminal.is_echoing());
}

#[test]
fn pulls_draw_bars() {
    let mut lines = vec![r#"{"status":"Pulling from library/x","id":"latest"}"#.to_owned()];
    for layer in 0..6 {
        lines.push(format!(
            r#"{{"status":"Pulling fs layer","id":"layer{layer}","progressDetail":{{}}}}"#
        ));
    }
    lines.push(
        r#"{"status":"Downloading","id":"layer5","progressDetail":{"current":1000,"total":2000}}"#.to_owned(),
    );
    for layer in 0..6 {
        lines.push(format!(
            r#"{{"status":"Pull complete","id":"layer{layer}","progressDetail":{{}}}}"#
        ));
    }
    lines.push(r#"{"status":"Status: Downloaded newer image for x:latest"}"#.to_owned());
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let (fake, home) = (Fake::new([reply(200, stream(&lines))]), Home::new(&[]));
    let mut terminal = Terminal::run(home.command(&fake, &["pull", "x:latest"]), 60, 5);
    assert_eq!(
        terminal.end(),
        (Some(0), "docker.io/library/x:latest\n".to_owned())
    );
    let seen = &terminal.seen;
    assert!(
        seen.starts_with("latest: Pulling from library/x\r\n\x1b[?25llayer0: Pulling fs layer\x1b[K\r\n"),
        "{seen:?}"
    );
    // What is left on the screen is whole, and what follows is below it.
    let complete: String = (0..6)
        .map(|layer| format!("layer{layer}: Pull complete\x1b[K\r\n"))
        .collect();
    let end = "\x1b[?25hStatus: Downloaded newer image for x:latest\r\n<end>";
    let drawn = seen.split_once(&complete).unwrap_or_else(|| panic!("{seen:?}"));
    assert!(drawn.1.ends_with(end), "{seen:?}");
    // Lines that come at once are not drawn one by one.
    assert!(seen.matches("layer0").count() <= 3, "{seen:?}");

    let mut command = home.command(&fake, &["pull", "x:latest"]);
    command.env("TERM", "dumb");
    let mut terminal = Terminal::run(command, 60, 5);
    terminal.end();
    assert!(!terminal.seen.contains('\x1b'), "{:?}", terminal.seen);
}

/// A daemon that begins an answer of this type with these lines and ends it when told to, or when the program goes away.
fn slow(
    socket: &std::path::Path,
    kind: &'static str,
    lines: String,
) -> (std::sync::mpsc::Sender<()>, std::thread::JoinHandle<bool>) {
    let listener = UnixListener::bind(socket).unwrap();
    let (finish, finished) = channel::<()>();
    let daemon = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        let mut byte = [0];
        while !asked.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            asked.push(byte[0]);
        }
        stream
            .write_all(
                format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n").as_bytes(),
            )
            .unwrap();
        stream.write_all(lines.as_bytes()).unwrap();
        if finished.recv().is_ok() {
            return false;
        }
        // whether the program hung up
        stream.read(&mut byte).is_ok_and(|count| count == 0)
    });
    (finish, daemon)
}

fn layers(count: usize, status: &str, current: i64) -> String {
    let line = |layer| {
        format!(
            r#"{{"status":"{status}","id":"layer{layer}","progressDetail":{{"current":{current},"total":4}}}}"#
        ) + "\n"
    };
    (0..count).map(line).collect()
}

#[test]
fn what_changed_is_drawn_though_nothing_follows() {
    let home = Home::new(&[]);
    let socket = home.path("s");
    // All at once: the first is drawn, the others wait for their turn.
    let lines = [("Waiting", 0), ("Downloading", 1), ("Downloading", 2)];
    let lines = lines.map(|(status, current)| layers(1, status, current)).concat();
    let (finish, daemon) = slow(&socket, "application/json", lines);
    let mut command = crate::fake::mica(&["pull", "x:1"]);
    command.env("MICA_HOST", format!("unix://{}", socket.display()));
    let mut terminal = Terminal::run(command, 80, 24);
    terminal.wait("layer0: Downloading [");
    terminal.wait("2B/4B");
    finish.send(()).unwrap();
    daemon.join().unwrap();
    assert_eq!(terminal.end().0, Some(0));
}

#[test]
fn interrupted_pulls_leave_the_terminal_clean() {
    let home = Home::new(&[]);
    let socket = home.path("s");
    let (finish, daemon) = slow(&socket, "application/json", layers(3, "Downloading", 1));
    let mut command = crate::fake::mica(&["pull", "x:1"]);
    command.env("MICA_HOST", format!("unix://{}", socket.display()));
    let mut terminal = Terminal::run(command, 80, 24);
    terminal.wait_shown("layer2: Downloading [");
    terminal.resize(40, 10);
    terminal.type_in("^C");
    terminal.wait_shown("^C");
    terminal.signal("-INT");
    assert_eq!(terminal.end(), (Some(130), String::new()));
    let shown = terminal.screen.text();
    assert!(
        terminal.screen.is_cursor_shown() && !shown.contains("^C"),
        "{shown}"
    );
    let bars: Vec<&str> = shown.lines().collect();
    assert_eq!(bars.len(), 4, "{shown}");
    assert!(
        bars[2].starts_with("layer2: Downloading") && bars[3] == "<end>",
        "{shown}"
    );
    drop(finish);
    assert!(daemon.join().unwrap(), "the program hung up");
}

#[test]
fn a_daemon_of_another_make_shows_classic_lines() {
    let folder = tempfile::tempdir().unwrap();
    crate::fake::files(folder.path(), &[("Dockerfile", "FROM scratch\n")]);
    let lines = [
        r#"{"stream":"Step 1/1 : FROM scratch\n"}"#,
        r#"{"status":"Downloading","id":"l","progressDetail":{"current":1,"total":2}}"#,
        r#"{"stream":"Successfully built abababababab\n"}"#,
    ];
    let fake = Fake::new([reply(200, stream(&lines))]);
    for progress in ["--progress=tty", "--progress=plain", "--progress=auto"] {
        let command = fake.command(&["build", progress, folder.path().to_str().unwrap()]);
        let mut terminal = Terminal::run(command, 60, 10);
        assert_eq!(terminal.end().0, Some(0));
        let shown = terminal.screen.text();
        assert!(shown.starts_with("Step 1/1 : FROM scratch\n"), "{shown}");
        assert!(
            shown.ends_with("Successfully built abababababab\n<end>"),
            "{shown}"
        );
    }
}

/// What tells of a prune that goes on.
const LINES: &str = "application/x-ndjson";

/// A line of a prune of a hundred images.
fn pruning(done: u64, bytes: u64) -> String {
    format!(
        "{{\"Progress\":{{\"Doing\":\"removing images\",\"Done\":{done},\"Total\":100,\"Bytes\":{bytes}}}}}\r\n"
    )
}

const PRUNED: &str =
    r#"{"ImagesDeleted":[{"Untagged":"a:b"},{"Deleted":"sha256:12"}],"SpaceReclaimed":123456789}"#;
const PRUNED_TOLD: &str =
    "Deleted Images:\nuntagged: a:b\ndeleted: sha256:12\n\nTotal reclaimed space: 123.5MB\n";

#[test]
fn a_prune_is_followed_in_a_row_that_goes_in_the_end() {
    let lines = pruning(0, 0) + &pruning(32, 1000) + PRUNED + "\r\n";
    let fake = Fake::new([reply(200, lines).with("Content-Type", LINES)]);
    let mut terminal = Terminal::run(fake.command(&["image", "prune", "-f"]), 60, 5);
    assert_eq!(terminal.end(), (Some(0), PRUNED_TOLD.to_owned()));
    assert!(
        terminal.seen.contains("removing images: 0 of 100"),
        "{:?}",
        terminal.seen
    );
    assert_eq!(terminal.screen.text(), "<end>");
    assert!(terminal.screen.is_cursor_shown());
    assert_eq!(fake.asked()[0].header("accept"), LINES);
    // a daemon of another make does not know what it is asked
    let cache = r#"{"CachesDeleted":["x"],"SpaceReclaimed":1234}"#;
    let fake = Fake::new([reply(200, cache).with("Content-Type", "application/json")]);
    let mut terminal = Terminal::run(fake.command(&["builder", "prune", "-f"]), 60, 5);
    let told = "Deleted build cache objects:\nx\n\nTotal reclaimed space: 1.234kB\n";
    assert_eq!(terminal.end(), (Some(0), told.to_owned()));
    assert_eq!(terminal.seen, "<end>");
}

#[test]
fn a_prune_elsewhere_than_on_a_terminal_asks_as_docker_does() {
    let fake = Fake::new([reply(200, PRUNED)]);
    let run = fake.run(&["image", "prune", "-f"]);
    assert_eq!(
        (run.code, run.stdout.as_str(), run.stderr.as_str()),
        (Some(0), PRUNED_TOLD, "")
    );
    assert_eq!(fake.asked()[0].header("accept"), "");
    let mut command = fake.command(&["image", "prune", "-f"]);
    command.env("TERM", "dumb");
    let mut terminal = Terminal::run(command, 60, 5);
    assert_eq!(terminal.end(), (Some(0), PRUNED_TOLD.to_owned()));
    assert_eq!(terminal.seen, "<end>");
}

#[test]
fn a_prune_that_breaks_off_leaves_how_far_it_got() {
    let home = Home::new(&[]);
    let failed = r#"{"errorDetail":{"message":"no room"}}"#;
    for (number, (last, message)) in [("", "the prune ended before it was done"), (failed, "no room")]
        .into_iter()
        .enumerate()
    {
        let socket = home.path(&format!("s{number}"));
        // all at once: the first is drawn, the other waits for its turn
        let (finish, daemon) = slow(&socket, LINES, pruning(32, 1000) + &pruning(64, 1_050_000) + last);
        let mut command = crate::fake::mica(&["image", "prune", "-f"]);
        command.env("MICA_HOST", format!("unix://{}", socket.display()));
        let mut terminal = Terminal::run(command, 60, 5);
        terminal.wait_shown("removing images: 64 of 100, 1.05MB freed");
        finish.send(()).unwrap();
        daemon.join().unwrap();
        assert_eq!(terminal.end(), (Some(1), String::new()));
        assert_eq!(
            terminal.screen.text(),
            format!("removing images: 64 of 100, 1.05MB freed\n{message}\n<end>")
        );
    }
}

#[test]
fn an_interrupted_prune_leaves_how_far_it_got_and_hangs_up() {
    let home = Home::new(&[]);
    let socket = home.path("s");
    let (finish, daemon) = slow(&socket, LINES, pruning(32, 1000));
    let mut command = crate::fake::mica(&["image", "prune", "-f"]);
    command.env("MICA_HOST", format!("unix://{}", socket.display()));
    let mut terminal = Terminal::run(command, 30, 5);
    terminal.wait_shown("removing images: 32 of 100, 1");
    terminal.signal("-INT");
    assert_eq!(terminal.end(), (Some(130), String::new()));
    assert!(terminal.screen.is_cursor_shown());
    assert_eq!(terminal.screen.text(), "removing images: 32 of 100, 1\n<end>");
    drop(finish);
    assert!(daemon.join().unwrap(), "the program hung up");
}
