//! The command line starts the daemon when none listens.

use std::process::Command;

use mica_tests::{binary, run};

#[test]
fn the_first_command_starts_the_daemon_and_says_so_once() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("run/mica.sock");
    let mica = |args: &[&str]| {
        run(Command::new(binary("mica"))
            .args(args)
            .env("MICA_HOST", format!("unix://{}", socket.display()))
            .env("MICA_DATA_ROOT", folder.path().join("store")))
    };
    let first = mica(&["images"]).ok();
    let told = |text: &str| text.lines().filter(|line| line.contains("started micad")).count();
    assert_eq!(told(&first.stderr), 1, "{}", first.stderr);
    assert!(first.stdout.starts_with("REPOSITORY"), "{}", first.stdout);
    assert_eq!(told(&mica(&["images"]).ok().stderr), 0);
    let pids = run(Command::new("sh")
        .arg("-c")
        .arg("pgrep -f \"$1\"")
        .args(["sh", socket.to_str().unwrap()]));
    for pid in pids.stdout.lines().filter_map(|line| line.trim().parse().ok()) {
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            // what ended meanwhile cannot be signalled
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }
}
