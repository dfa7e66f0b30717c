//! How the daemon starts and how it leaves.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::http::Connection;
use crate::micad::{LONG, Micad, command, program, wait_for_exit, wait_until};
use crate::running::Log;

/// Runs the daemon to its end; its exit code and what it said.
fn fails(command: &mut Command) -> (i32, String) {
    let mut child = command.spawn().unwrap();
    let status = wait_for_exit(&mut child);
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    (status.code().unwrap(), text)
}

#[test]
fn wrong_use_is_125_and_failure_1() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.json");
    std::fs::write(&config, r#"{"data-root":"/x","nope":1}"#).unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    for (arguments, code, part) in [
        (&["--nope"][..], 125, "--nope"),
        (&["--idle-timeout", "soon"], 125, "soon"),
        (&["-H", "tcp://0.0.0.0:1"], 125, "tcp is not supported"),
        (&["-H", "fd://"], 125, "fd://"),
        (
            &["--config-file", config.to_str().unwrap()],
            125,
            "unknown field `nope`",
        ),
        (&["--config-file", "/nonexistent/x"], 125, "/nonexistent/x"),
        (
            &["--host", &format!("unix://{}", file.display())],
            1,
            "is no socket",
        ),
    ] {
        let (own_code, text) = fails(command(folder.path()).args(arguments));
        assert_eq!(own_code, code, "{arguments:?}: {text}");
        assert!(text.contains(part), "{arguments:?}: {text}");
    }
    for argument in ["--version", "--help"] {
        let output = program().arg(argument).output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains("micad"));
    }
}

#[test]
fn a_store_and_a_socket_have_one_daemon() {
    let micad = Micad::start();
    let (code, text) = fails(&mut command(micad.folder.path()));
    assert_eq!(code, 1);
    assert!(text.contains("in use by process"), "{text}");
    let other = tempfile::tempdir().unwrap();
    let (code, text) = fails(
        program()
            .arg("--data-root")
            .arg(other.path().join("store"))
            .arg("-H")
            .arg(format!("unix://{}", micad.socket().display())),
    );
    assert_eq!(code, 1);
    assert!(text.contains("another daemon answers at"), "{text}");
    assert_eq!(micad.get("/_ping").text(), "OK");
}

#[test]
fn what_a_killed_daemon_leaves_is_taken_over() {
    let mut micad = Micad::start();
    let mode = std::fs::metadata(micad.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    micad.signal("KILL");
    micad.left();
    assert!(micad.socket().exists());
    micad.child = command(micad.folder.path()).spawn().unwrap();
    wait_until("the next daemon answers", || {
        std::os::unix::net::UnixStream::connect(micad.socket()).is_ok()
    });
    assert_eq!(micad.get("/_ping").text(), "OK");
}

#[test]
fn a_daemon_that_is_told_to_leave_leaves_in_order() {
    for name in ["TERM", "INT"] {
        let mut micad = Micad::start();
        let mut idle = micad.connect();
        assert_eq!(idle.ask("GET", "/_ping", b"").status, 200);
        micad.signal(name);
        assert!(micad.left().success(), "{name}");
        assert!(!micad.socket().exists());
        let mut rest = Vec::new();
        idle.stream.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"");
    }
}

#[test]
fn a_second_signal_does_not_wait() {
    let mut micad = Micad::start_with(&["--log-level", "debug", "--shutdown-timeout", "300"]);
    let log = Log::of(&mut micad.child);
    let mut connection = micad.connect();
    // an answer that cannot end: its body never comes
    connection.send_head("POST", "/images/load", "Content-Length: 1000\r\n");
    connection.send(b"x");
    log.wait_for("load begins");
    let start = Instant::now();
    micad.signal("TERM");
    wait_until("it stops listening", || !micad.socket().exists());
    assert!(
        micad.child.try_wait().unwrap().is_none(),
        "it waits for the answer"
    );
    micad.signal("TERM");
    assert!(micad.left().success());
    assert!(
        start.elapsed() < Duration::from_secs(60),
        "it waited {:?}",
        start.elapsed()
    );
}

#[test]
fn a_daemon_with_nothing_to_do_leaves() {
    let mut micad = Micad::start_with(&["--idle-timeout", "4"]);
    let mut connection = micad.connect();
    assert_eq!(connection.ask("GET", "/_ping", b"").status, 200);
    std::thread::sleep(Duration::from_millis(6000));
    assert!(micad.child.try_wait().unwrap().is_none(), "a connection keeps it");
    assert_eq!(connection.ask("GET", "/_ping", b"").status, 200);
    drop(connection);
    assert!(micad.left().success());
    assert!(!micad.socket().exists());
}

#[test]
fn it_listens_on_all_its_addresses() {
    let second = tempfile::tempdir().unwrap();
    let path = second.path().join("deep/second.sock");
    let micad = Micad::start_with(&["-H", &format!("unix://{}", path.display())]);
    assert_eq!(Connection::open(&path).ask("GET", "/_ping", b"").text(), "OK");
    assert_eq!(micad.get("/_ping").text(), "OK");
}

/// Starts the daemon as a service manager does: sockets at descriptors 3 and 4, and a place to report to.
fn activate(folder: &Path, sockets: &[UnixListener; 2], notify: &str) -> Child {
    // the shell moves the descriptors where they belong, and is the process whose number LISTEN_PID must be
    let script = "exec 3<&0 4<&1 0</dev/null 1>/dev/null; \
                  LISTEN_PID=$$ exec \"$0\" --data-root \"$1\" --idle-timeout 2";
    let [first, second] = sockets
        .each_ref()
        .map(|socket| OwnedFd::from(socket.try_clone().unwrap()));
    Command::new("sh")
        .arg("-c")
        .arg(script)
        .arg(env!("CARGO_BIN_EXE_micad"))
        .arg(folder.join("store"))
        .env("LISTEN_FDS", "2")
        .env("NOTIFY_SOCKET", notify)
        .stdin(first)
        .stdout(second)
        .spawn()
        .unwrap()
}

#[test]
fn sockets_of_a_service_manager_are_taken_over() {
    let abstract_name = format!("mica-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    for (notify, name) in [
        (UnixDatagram::bind(&path).unwrap(), path.display().to_string()),
        (
            UnixDatagram::bind_addr(&address).unwrap(),
            format!("@{abstract_name}"),
        ),
    ] {
        notify.set_read_timeout(Some(LONG)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let paths = [folder.path().join("a.sock"), folder.path().join("b.sock")];
        let sockets = paths.each_ref().map(|path| UnixListener::bind(path).unwrap());
        let mut child = activate(folder.path(), &sockets, &name);
        let mut message = [0; 256];
        let count = notify.recv(&mut message).unwrap();
        let text = String::from_utf8_lossy(&message[..count]).into_owned();
        assert!(text.contains("READY=1"), "{text}");
        for path in &paths {
            assert_eq!(Connection::open(path).ask("GET", "/_ping", b"").text(), "OK");
        }
        assert!(wait_for_exit(&mut child).success());
        let count = notify.recv(&mut message).unwrap();
        let text = String::from_utf8_lossy(&message[..count]).into_owned();
        let time = text.strip_prefix("STOPPING=1\nEXTEND_TIMEOUT_USEC=").unwrap();
        assert_eq!(time.parse(), Ok(20_000_000), "{text}");
        assert!(
            paths.iter().all(|path| path.exists()),
            "they are not the daemon's to take away"
        );
    }
}
