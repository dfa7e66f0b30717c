//! The daemon started when nobody listens; it is played by a shell script.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::fake::{Fake, Outcome, outcome, reply};

/// A folder with the program and a `micad` that runs this script, `$SOCKET` being the socket it is to make.
fn house(script: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let root = folder.path();
    // not a copy: a program that was just written cannot be run while another test's child still has it open
    fs::hard_link(env!("CARGO_BIN_EXE_mica"), root.join("mica")).unwrap();
    let head = format!(
        "#!/bin/sh\necho \"$@\" >> {0}/started\nps -o sid= -p $$ >> {0}/session\npwd >> {0}/folder\nSOCKET=${{2#unix://}}\n",
        root.display()
    );
    // nor a file of this process, for the same reason
    let mut written = Command::new("sh");
    written.args(["-c", "printf %s \"$1\" > \"$0\" && chmod +x \"$0\""]);
    let written = written.arg(root.join("micad")).arg(head + script).status();
    assert!(written.unwrap().success());
    folder
}

fn command(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(root.join("mica"));
    command
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null());
    command.env("MICA_HOST", format!("unix://{}/new/s.sock", root.display()));
    command
}

fn started(root: &Path) -> Vec<String> {
    fs::read_to_string(root.join("started"))
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}

/// The script moves a played daemon's socket to where it is wanted, after a while.
fn with_fake(fake: &Fake) -> tempfile::TempDir {
    house(&format!(
        "sleep 0.2\nln -s {} \"$SOCKET\"\nsleep 2\n",
        fake.host().replace("unix://", "")
    ))
}

#[test]
fn one_daemon_is_started_for_many() {
    let fake = Fake::new([reply(200, "[]")]);
    let folder = with_fake(&fake);
    let root = folder.path();
    let runs: Vec<_> = (0..5)
        .map(|_| {
            command(root, &["images", "-q"])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let outputs: Vec<_> = runs
        .into_iter()
        .map(|run| run.wait_with_output().unwrap())
        .collect();
    assert!(
        outputs.iter().all(|output| output.status.success()),
        "{outputs:?}"
    );
    let said: Vec<String> = outputs
        .iter()
        .map(|output| String::from_utf8_lossy(&output.stderr).into_owned())
        .collect();
    let notice = format!("mica: started micad (socket {}/new/s.sock)\n", root.display());
    assert_eq!(said.concat(), notice, "one starts it and says so");
    let socket = root.join("new/s.sock");
    assert_eq!(
        started(root),
        [format!("--host unix://{} --idle-timeout 300", socket.display())]
    );
    let session = fs::read_to_string(root.join("session")).unwrap();
    let own = Command::new("ps")
        .args(["-o", "sid=", "-p", &std::process::id().to_string()])
        .output()
        .unwrap();
    assert_ne!(session.trim().as_bytes(), own.stdout.trim_ascii());
    assert_eq!(fs::read_to_string(root.join("folder")).unwrap(), "/\n");
    let again = outcome(command(root, &["images", "-q"]));
    assert_eq!((again.code, again.stderr.as_str()), (Some(0), ""));
}

#[test]
fn the_data_root_of_the_environment_is_passed_on() {
    let fake = Fake::new([reply(200, "[]")]);
    let folder = with_fake(&fake);
    let mut command = command(folder.path(), &["images", "-q"]);
    command.env("MICA_DATA_ROOT", "here").current_dir(folder.path());
    assert_eq!(outcome(command).code, Some(0));
    let root = format!("--data-root {}/here", folder.path().display());
    assert!(started(folder.path())[0].ends_with(&root));
}

#[test]
fn a_daemon_that_fails_is_told_with_the_end_of_its_log() {
    let folder = house("echo this is why >&2\nexit 3\n");
    let begin = Instant::now();
    let Outcome { code, stdout, stderr } = outcome(command(folder.path(), &["images"]));
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(
        stderr.starts_with("micad did not start: it ended with exit status: 3\nthe end of "),
        "{stderr}"
    );
    assert!(stderr.ends_with("/s.sock.log:\nthis is why\n"), "{stderr}");
    assert!(
        begin.elapsed() < Duration::from_secs(25),
        "an end is seen at once"
    );
}

#[test]
fn nothing_is_started_where_it_must_not() {
    let folder = house("exit 0\n");
    let root = folder.path();
    let mut forbidden = command(root, &["images"]);
    forbidden.env("MICA_NO_START", "1");
    let mut dockers = command(root, &["images"]);
    dockers
        .env_remove("MICA_HOST")
        .env("DOCKER_HOST", format!("unix://{}/d.sock", root.display()));
    let mut remote = command(root, &["images"]);
    remote
        .env_remove("MICA_HOST")
        .env("DOCKER_HOST", "tcp://127.0.0.1:2375");
    for (command, words) in [
        (forbidden, "Cannot connect to the mica daemon at unix://"),
        (dockers, "Cannot connect to the mica daemon at unix://"),
        (remote, "the daemon listens on Unix sockets only, not on TCP"),
    ] {
        let run = outcome(command);
        assert_eq!(run.code, Some(1));
        assert!(run.stderr.contains(words), "{run:?}");
    }
    assert!(started(root).is_empty());
    fs::remove_file(root.join("micad")).unwrap();
    let run = outcome(command(root, &["images"]));
    assert!(
        run.stderr
            .starts_with("mica: there is no micad beside mica or in PATH to start\nCannot connect"),
        "{run:?}"
    );
}

#[test]
fn a_link_named_docker_starts_the_same_daemon() {
    let fake = Fake::new([reply(200, "[]")]);
    for is_soft in [true, false] {
        let folder = with_fake(&fake);
        let root = folder.path();
        let link = match is_soft {
            true => root.join("links/docker"),
            false => root.join("docker"),
        };
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        match is_soft {
            true => std::os::unix::fs::symlink("../mica", &link).unwrap(),
            false => fs::hard_link(root.join("mica"), &link).unwrap(),
        }
        let mut command = Command::new(&link);
        command
            .args(["images", "-q"])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null());
        command.env("MICA_HOST", format!("unix://{}/new/s.sock", root.display()));
        let run = outcome(command);
        assert_eq!(run.code, Some(0), "{run:?}");
        let notice = format!("mica: started micad (socket {}/new/s.sock)\n", root.display());
        assert_eq!(run.stderr, notice);
        assert_eq!(started(root).len(), 1);
    }
}
