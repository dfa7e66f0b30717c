//! A pseudo-terminal with a program on it, and what it shows.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "two programs of tests use parts of it"
)]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::emulator::Emulator;

/// Without a word for so long, a program that draws ten times a second is between two drawings.
const BETWEEN: Duration = Duration::from_millis(25);

/// How long anything may take to appear.
const PATIENCE: Duration = Duration::from_secs(60);

/// A terminal and the program on it.
pub(crate) struct Terminal {
    pub(crate) child: Child,
    own: OwnedFd,
    other: File,
    pieces: Receiver<Vec<u8>>,
    /// The start of a character that came in parts.
    rest: Vec<u8>,
    /// All that was written.
    pub(crate) seen: String,
    /// What of it is shown.
    pub(crate) screen: Emulator,
}

impl Terminal {
    /// Runs a program with standard input and standard error on a terminal of this size.
    pub(crate) fn run(mut command: Command, columns: u16, rows: u16) -> Self {
        let own = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&own).unwrap();
        unlockpt(&own).unwrap();
        tcsetwinsize(&own, size(columns, rows)).unwrap();
        let name = ptsname(&own, Vec::new()).unwrap().into_string().unwrap();
        let other = File::options().read(true).write(true).open(name).unwrap();
        let end = || other.try_clone().unwrap();
        if command.get_envs().all(|(name, _)| name != "TERM") {
            command.env("TERM", "xterm");
        }
        command.stdin(end()).stderr(end());
        let child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut reader = File::from(own.try_clone().unwrap());
        let (sender, pieces) = channel();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count) = reader.read(&mut piece) {
                if count == 0 || sender.send(piece[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            own,
            other,
            pieces,
            rest: Vec::new(),
            seen: String::new(),
            screen: Emulator::new(columns.into(), rows.into()),
        }
    }

    /// Waits until this was written.
    pub(crate) fn wait(&mut self, words: &str) {
        self.wait_until(words, |terminal| terminal.seen.contains(words));
    }

    /// Waits until this is shown.
    pub(crate) fn wait_shown(&mut self, words: &str) {
        self.wait_until(words, |terminal| terminal.screen.text().contains(words));
    }

    fn wait_until(&mut self, words: &str, is_there: impl Fn(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_there(self) {
            let left = end.saturating_duration_since(Instant::now());
            let piece = self.pieces.recv_timeout(left);
            let piece = piece.unwrap_or_else(|_| panic!("no {words:?} in {:?}", self.seen));
            self.take(&piece);
        }
    }

    fn take(&mut self, piece: &[u8]) {
        self.rest.extend_from_slice(piece);
        let whole = match std::str::from_utf8(&self.rest) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let rest = self.rest.split_off(whole);
        let text = String::from_utf8(std::mem::replace(&mut self.rest, rest)).unwrap();
        self.seen.push_str(&text);
        self.screen.write(&text);
    }

    /// Becomes another size, between two drawings: a program cannot know of it earlier than at the next.
    pub(crate) fn resize(&mut self, columns: u16, rows: u16) {
        loop {
            while let Ok(piece) = self.pieces.recv_timeout(BETWEEN) {
                self.take(&piece);
            }
            // however late this is, the next drawing does not begin now
            self.signal("-STOP");
            while !self.is_stopped() {
                std::thread::sleep(Duration::from_millis(1));
            }
            match self.pieces.recv_timeout(BETWEEN) {
                Ok(piece) => self.take(&piece),
                Err(_) => break,
            }
            self.signal("-CONT");
        }
        tcsetwinsize(&self.own, size(columns, rows)).unwrap();
        self.screen.resize(columns.into(), rows.into());
        self.signal("-CONT");
    }

    /// Whether the program was stopped, or has ended (proc_pid_stat(5)).
    fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, rest) = stat.rsplit_once(')').unwrap();
        matches!(rest.trim_start().as_bytes().first(), Some(b'T' | b'Z'))
    }

    /// Sends the program a signal, by its name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        Command::new("kill").args([name, &pid]).status().unwrap();
    }

    pub(crate) fn type_in(&mut self, text: &str) {
        File::from(self.own.try_clone().unwrap())
            .write_all(text.as_bytes())
            .unwrap();
    }

    pub(crate) fn is_echoing(&self) -> bool {
        tcgetattr(&self.other)
            .unwrap()
            .local_modes
            .contains(LocalModes::ECHO)
    }

    /// Waits for the end: the exit code and standard output. All that was shown is in `seen` then.
    pub(crate) fn end(&mut self) -> (Option<i32>, String) {
        let mut stdout = String::new();
        self.child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut stdout)
            .unwrap();
        let code = self.child.wait().unwrap().code();
        self.other.write_all(b"<end>").unwrap();
        self.wait("<end>");
        (code, stdout)
    }
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}
