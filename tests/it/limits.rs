//! What the RUNs of a build may use of the machine, asked for in all the ways there are.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use mica_tests::{Context, Daemon};

use crate::progress::sleeping;

/// Takes more memory than it may.
const BOMB: &str = "FROM base\nRUN dd if=/dev/zero of=/dev/null bs=200M count=1\n";

/// All control groups of RUNs of a daemon.
fn groups(daemon: u32) -> Vec<PathBuf> {
    let prefix = format!("mica-run-{daemon}-");
    let mut found = Vec::new();
    let mut ahead = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = ahead.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                match entry.file_name().to_string_lossy().starts_with(&prefix) {
                    true => found.push(entry.path()),
                    false => ahead.push(entry.path()),
                }
            }
        }
    }
    found
}

#[test]
fn a_run_without_memory_left_says_so() {
    let daemon = Daemon::start();
    let context = Context::with_shell(BOMB);
    let limits = ["-m", "32m", "--memory-swap", "32m"];
    let ways = [
        (
            "classic",
            "The command '/bin/sh -c dd if=/dev/zero of=/dev/null bs=200M count=1' returned a non-zero code: 137: \
             cannot allocate memory",
        ),
        (
            "plain",
            "process \"/bin/sh -c dd if=/dev/zero of=/dev/null bs=200M count=1\" did not complete successfully: \
             cannot allocate memory",
        ),
    ];
    for (progress, words) in ways {
        let progress = format!("--progress={progress}");
        let built = daemon.mica([&["build", &progress], &limits[..], &[context.arg()]].concat());
        assert_ne!(built.code, 0);
        let told = format!("{}{}", built.stdout, built.stderr);
        assert!(told.contains(words), "{told}");
    }
    // the same with enough of it, and what is kept does not depend on limits
    daemon.mica(["build", "-m", "400m", context.arg()]).ok();
    let again = daemon
        .mica(["build", "--progress=classic", "-m", "8m", context.arg()])
        .ok();
    assert!(again.stderr.contains("Using cache"), "{}", again.stderr);
    assert!(groups(daemon.pid()).is_empty());
}

#[test]
fn limits_are_seen_from_inside() {
    let daemon = Daemon::start();
    let context = Context::with_shell(
        "FROM base\nRUN cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory.max cpu/cpu.cfs_quota_us cpu.max \
         cpuset/cpuset.cpus cpuset.cpus pids/pids.max pids.max 2>/dev/null | tr '\\n' ' '; echo\n",
    );
    let limits = ["-m", "64m", "--cpu-quota", "50000", "--cpuset-cpus", "0"];
    let built = daemon
        .mica([&["build", "--progress=classic"], &limits[..], &[context.arg()]].concat())
        .ok();
    let seen = built.stderr;
    let versions = ["67108864 50000 0 16384", "67108864 50000 100000 0 16384"];
    assert!(versions.iter().any(|words| seen.contains(words)), "{seen}");
}

#[test]
fn limits_that_cannot_be_are_refused() {
    let daemon = Daemon::start();
    let context = Context::with_shell("FROM base\nRUN true\n");
    for (flags, words) in [
        (&["-m", "1m"][..], "Minimum memory limit allowed is 6MB"),
        (&["--cpuset-cpus", "x"], "Invalid value x for cpuset cpus"),
        (&["--cpuset-cpus", "4095"], "cannot limit the processors: "),
        (&["--cgroup-parent", "../x"], "invalid cgroup parent"),
    ] {
        let refused = daemon.mica([&["build"], flags, &[context.arg()]].concat());
        assert_ne!(refused.code, 0);
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
    }
    assert!(groups(daemon.pid()).is_empty());
}

#[test]
fn groups_end_with_the_daemon() {
    let mut daemon = Daemon::start();
    let first = daemon.pid();
    let mark = format!("86{first}");
    let context = Context::with_shell(&format!("FROM base\nRUN sleep {mark}\n"));
    let mut client = daemon.command(["build", "-q", "-m", "64m", context.arg()]);
    let mut client = client.stderr(std::process::Stdio::null()).spawn().unwrap();
    let within = |what: &str, condition: &dyn Fn() -> bool| {
        let start = Instant::now();
        while !condition() {
            assert!(start.elapsed() < Duration::from_secs(60), "{what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    // groups whose helper was never started wait for the next daemon
    within("the RUN is up", &|| sleeping(&mark) > 0);
    // those of memory and of processes, or one for both
    assert!(!groups(first).is_empty());
    daemon.kill();
    client.wait().unwrap();
    within("the groups are gone", &|| groups(first).is_empty());
}
