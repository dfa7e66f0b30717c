//! Prunes on a terminal: how far they have got is shown, and Ctrl-C ends them in the midst.

use std::time::{Duration, Instant};

use mica_tests::{Context, Daemon, Options};
use rusqlite::{Connection, OpenFlags};

use crate::pseudo::Terminal;

/// How many images go in one turn.
const TURN: usize = 32;

/// How long a daemon may take to notice something.
const LATER: Duration = Duration::from_secs(20);

fn wait_for_log(daemon: &Daemon, part: &str) {
    let since = Instant::now();
    while !fs_err::read_to_string(daemon.log()).unwrap().contains(part) {
        assert!(since.elapsed() < LATER, "the log never says {part:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_prune_is_watched_and_interrupted_and_done_again() {
    let daemon = Daemon::with(Options::default().settings(r#"{"log-level": "debug"}"#));
    for at in 0..=2 * TURN {
        let context = Context::new(&format!("FROM scratch\nLABEL at={at}\n"));
        daemon.mica(["build", "-q", "-t", "x", context.arg()]).ok();
    }
    let left = || daemon.mica(["images", "-aq"]).ok().stdout.lines().count();
    assert_eq!(left(), 2 * TURN + 1);

    // whoever writes to the store waits
    let path = daemon.root().join("mica/db.sqlite");
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    let hold_up = || database.execute_batch("BEGIN IMMEDIATE").unwrap();
    let let_go = || database.execute_batch("ROLLBACK").unwrap();
    hold_up();
    let mut terminal = Terminal::run(daemon.command(["image", "prune", "-f"]), 60, 10);
    terminal.wait_shown("removing images: 0 of 64");
    terminal.signal("-INT");
    assert_eq!(terminal.end(), (Some(130), String::new()));
    assert!(terminal.screen.is_cursor_shown());
    assert_eq!(terminal.screen.text(), "removing images: 0 of 64\n<end>");
    wait_for_log(&daemon, "path=/v1.51/images/prune");
    let_go();
    wait_for_log(&daemon, "prune cancelled");
    assert_eq!(left(), TURN + 1, "what it was at is gone, and nothing after that");
    daemon.mica(["system", "check", "--trees"]).ok();

    hold_up();
    let mut terminal = Terminal::run(daemon.command(["system", "prune", "-f"]), 60, 10);
    terminal.wait_shown("removing images: 0 of 32");
    let_go();
    let (code, stdout) = terminal.end();
    assert_eq!(code, Some(0));
    assert_eq!(stdout.matches("\ndeleted: sha256:").count(), TURN, "{stdout}");
    assert!(
        stdout.starts_with("Deleted Images:\n") && stdout.contains("\nTotal reclaimed space: "),
        "{stdout}"
    );
    assert_eq!(
        terminal.screen.text(),
        "<end>",
        "what was shown meanwhile is gone"
    );
    assert_eq!(left(), 1);

    // elsewhere there is nothing but docker's lines
    let piped = daemon.mica(["image", "prune", "-af"]).ok();
    assert!(
        piped
            .stdout
            .starts_with("Deleted Images:\nuntagged: x:latest\ndeleted: sha256:"),
        "{}",
        piped.stdout
    );
    assert_eq!(piped.stderr, "");
}
