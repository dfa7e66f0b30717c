//! Starts the daemon with a store and a socket of its own.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::archive::TestImage;
use crate::http::{Answer, Connection};

/// The longest that anything may take on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A running daemon; killed when the test is over.
pub(crate) struct Micad {
    pub(crate) child: Child,
    pub(crate) folder: TempDir,
}

impl Micad {
    /// Starts a daemon and waits until it answers.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a daemon with more arguments and waits until it answers.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = command(folder.path()).args(arguments).spawn().unwrap();
        let socket = folder.path().join("mica.sock");
        wait_until("the daemon answers", || {
            if let Some(status) = child.try_wait().unwrap() {
                let mut text = String::new();
                child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
                panic!("the daemon left with {status}: {text}");
            }
            std::os::unix::net::UnixStream::connect(&socket).is_ok()
        });
        let micad = Self { child, folder };
        // the kernel takes connections as soon as there is a socket; an answer comes when all there is to open is open
        assert_eq!(micad.get("/_ping").text(), "OK");
        micad
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("mica.sock")
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::open(&self.socket())
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.connect().ask("GET", path, b"")
    }

    pub(crate) fn post(&self, path: &str, body: &[u8]) -> Answer {
        self.connect().ask("POST", path, body)
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.connect().ask("DELETE", path, b"")
    }

    /// Loads an image and checks that it came in.
    pub(crate) fn load(&self, image: &TestImage) {
        let answer = self.post("/images/load", &image.archive);
        assert!(answer.stream().contains("Loaded image"), "{}", answer.text());
    }

    /// A line of /proc/PID/status, in KiB.
    pub(crate) fn memory(&self, key: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim_matches([':', ' ', '\t'])
            .trim_end_matches(" kB")
            .parse()
            .unwrap()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits until the daemon has left.
    pub(crate) fn left(&mut self) -> ExitStatus {
        wait_for_exit(&mut self.child)
    }
}

impl Drop for Micad {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The daemon's program with a store and a socket in `folder`.
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = program();
    command
        .arg("--host")
        .arg(format!("unix://{}", folder.join("mica.sock").display()))
        .arg("--data-root")
        .arg(folder.join("store"));
    command
}

/// The daemon's program, without anything this machine's user has set up.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_micad"));
    command
        .env_remove("LISTEN_FDS")
        .env_remove("LISTEN_PID")
        .env_remove("NOTIFY_SOCKET")
        // as systemd/micad.service and `mica` start it
        .env("MALLOC_ARENA_MAX", "2")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Waits until a program has left.
pub(crate) fn wait_for_exit(child: &mut Child) -> ExitStatus {
    let mut status = None;
    wait_until("the program leaves", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap()
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LONG, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
