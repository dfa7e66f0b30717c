//! Clients that give up, and many of them at once.

use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use mica_tests::Context;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::client::{Client, greeting};

/// How long a step may go on after its client has left.
const GIVEN_UP: Duration = Duration::from_secs(20);

/// Whether a process runs with this argument, as no other does.
fn runs(argument: &str) -> bool {
    let processes = fs_err::read_dir("/proc").unwrap().flatten();
    processes.into_iter().any(|process| {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        line.starts_with(b"sleep\0")
            && line
                .split(|byte| *byte == 0)
                .any(|word| word == argument.as_bytes())
    })
}

fn wait_until(what: &str, limit: Duration, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < limit, "{what} after {limit:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A client in a group of its own, as a terminal's job is, whose build sleeps for so many seconds.
fn sleeping(client: &Client, seconds: &str) -> (Child, Context) {
    let context = Context::with_shell(&format!("FROM base\nRUN sleep {seconds}\n"));
    let mut build = client.buildx(["build", "--progress=plain", context.arg()]);
    let build = build
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    wait_until("the step does not run", Duration::from_secs(30), || runs(seconds));
    (build, context)
}

#[test]
fn a_client_that_leaves_takes_its_build_along() {
    let Some(client) = Client::start() else { return };
    for (signal, seconds) in [
        (Signal::INT, "471101"),
        (Signal::TERM, "471102"),
        (Signal::KILL, "471103"),
    ] {
        let (build, _context) = sleeping(&client, seconds);
        kill_process_group(Pid::from_child(&build), signal).unwrap();
        wait_until("the step runs on", GIVEN_UP, || !runs(seconds));
        let output = build.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{told}");
        if signal != Signal::KILL {
            assert!(told.contains("context canceled"), "{told}");
        }
        // the daemon builds on
        client.build(["--no-cache", greeting().arg()]).ok();
    }
}

#[test]
fn twenty_build_at_once() {
    let Some(client) = Client::start() else { return };
    let context = greeting();
    let builds: Vec<(String, Child)> = (0..20)
        .map(|number| {
            let name = format!("x:{number}");
            let mut build = client.buildx([
                "build",
                "-q",
                "-t",
                &name,
                &format!("--build-arg=WHO={number}"),
                context.arg(),
            ]);
            let build = build
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            (name, build)
        })
        .collect();
    let mut ids = std::collections::BTreeSet::new();
    for (name, build) in builds {
        let output = build.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let id = String::from_utf8(output.stdout).unwrap().trim_end().to_owned();
        assert_eq!(client.inspect(&name, "{{.Id}}"), id);
        ids.insert(id);
    }
    assert_eq!(ids.len(), 20);
}
