//! A daemon that is told to leave while clients build: what they hear, and what is there afterwards.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use mica_tests::{Context, Daemon, Options};

/// Says when it begins and takes a while.
const SLOW: &str = "FROM base\nRUN echo beg''un; sleep 3; echo hello > /hello\n";

/// Debian's docker 20.10, which builds over a session of its own; another may come first in PATH.
const DEBIAN: &str = "/usr/bin/docker";

/// Runs a client until it shows that the step goes on; its lines from then on.
fn begun(command: &mut Command) -> (Child, impl Iterator<Item = String> + use<>) {
    let (reader, writer) = std::io::pipe().unwrap();
    let errors = writer.try_clone().unwrap();
    let child = command
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(errors)
        .spawn()
        .unwrap();
    // the command would keep its ends open
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut lines = BufReader::new(reader).lines().map_while(Result::ok);
    let seen: Vec<String> = lines
        .by_ref()
        .take_while(|line| !line.contains("begun"))
        .collect();
    assert!(
        !seen.iter().any(|line| line.to_lowercase().contains("error")),
        "{seen:?}"
    );
    (child, lines)
}

fn docker(daemon: &Daemon, tag: &str, context: &Context) -> Command {
    let mut command = Command::new(DEBIAN);
    command
        .args(["build", "--progress=plain", "-t", tag, context.arg()])
        .env("DOCKER_HOST", daemon.host())
        .env("DOCKER_CONFIG", daemon.folder().join("docker-config"))
        .env("DOCKER_BUILDKIT", "1");
    command
}

#[test]
fn builds_of_all_clients_may_end_and_the_daemon_ends_well() {
    let context = Context::with_shell(SLOW);
    let mut daemon = Daemon::with(Options::default().settings(r#"{"shutdown-timeout": 60}"#));
    let mut mica = daemon.command(["build", "-t", "by-mica", context.arg()]);
    let mut docker = docker(&daemon, "by-docker", &context);
    for (command, tag) in [(&mut mica, "by-mica"), (&mut docker, "by-docker")] {
        let (mut child, rest) = begun(command);
        assert_eq!(daemon.stop(), Some(0));
        let rest: Vec<String> = rest.collect();
        assert!(child.wait().unwrap().success(), "{tag}: {rest:?}");
        daemon.spawn();
        assert_eq!(
            daemon.mica(["inspect", "-f", "{{.RepoTags}}", tag]).ok().text(),
            format!("[{tag}:latest]")
        );
        // the next one is to do its steps itself
        daemon.mica(["rmi", tag]).ok();
        daemon.mica(["builder", "prune", "-af"]).ok();
    }
}

#[test]
fn builds_that_need_too_long_are_cancelled() {
    let context = Context::with_shell("FROM base\nRUN echo beg''un; sleep 300\n");
    let mut daemon = Daemon::with(Options::default().settings(r#"{"shutdown-timeout": 0}"#));
    let mut mica = daemon.command(["build", "-t", "by-mica", context.arg()]);
    let mut docker = docker(&daemon, "by-docker", &context);
    for command in [&mut mica, &mut docker] {
        let (mut child, rest) = begun(command);
        assert_eq!(daemon.stop(), Some(0));
        let rest: Vec<String> = rest.collect();
        assert!(!child.wait().unwrap().success(), "{rest:?}");
        let log = fs_err::read_to_string(daemon.log()).unwrap();
        assert!(log.contains("build cancelled"), "{log}");
        daemon.spawn();
        assert_eq!(daemon.mica(["images", "-q", "by-*"]).ok().text(), "");
    }
}
