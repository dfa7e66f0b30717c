//! Runs the git program: with an environment of its own, bounded output, and an end when nobody waits for it.
//!
//! The program and not a library: it speaks every transport with the keys, credential helpers, proxies and LFS filters its
//! user has set up for it, knows submodules, and is mended by the distribution the day a hole in it becomes known. A library
//! (gix) would add some 150 crates and still need the program for half of that.

use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use mica_task::Cancel;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::error::Error;

/// How often it is looked whether the program is still wanted.
const LOOK: Duration = Duration::from_millis(20);
/// The most of its output that is read, in bytes: some lines of references.
const OUTPUT_LIMIT: usize = 1 << 20;
/// The most of what it complains about that is shown, in bytes.
const SAID_LIMIT: usize = 2 << 10;
/// What it may learn of this program's environment: how to reach servers, and whose settings count.
const PASSED_ON: [&str; 20] = [
    "PATH",
    "HOME",
    "XDG_CONFIG_HOME",
    "TMPDIR",
    "SSH_AUTH_SOCK",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "GIT_SSH_COMMAND",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
];
/// Nothing asks at a terminal that nobody sits at; no transport but these is used, by submodules neither: not local paths,
/// and not `ext::`, which runs programs.
const SET: [(&str, &str); 5] = [
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_ASKPASS", "true"),
    ("GIT_ALLOW_PROTOCOL", "http:https:git:ssh"),
    ("GIT_PROTOCOL_FROM_USER", "0"),
    ("LC_ALL", "C"),
];
/// No hook and no watcher runs, whatever templates or settings say; a server that is silent for a minute is given up; links
/// and modes are kept.
const SETTINGS: [&str; 9] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.symlinks=true",
    "core.autocrlf=false",
    "http.lowSpeedLimit=1",
    "http.lowSpeedTime=60",
    "gc.auto=0",
    "maintenance.auto=false",
    "advice.detachedHead=false",
];
const SSH: &str = "ssh -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=20";

/// The git program, for one repository.
pub(super) struct Git<'a> {
    /// The repository as it may be shown.
    pub(super) address: &'a str,
    /// Where it works.
    pub(super) folder: &'a Path,
    pub(super) cancel: &'a Cancel,
}

/// How the program ended.
pub(super) struct Ended {
    status: ExitStatus,
    output: Vec<u8>,
    said: String,
}

impl Git<'_> {
    /// Runs a command that must do what it is asked for; gives its output. `action` is what it is for.
    pub(super) fn run(&self, action: &'static str, arguments: &[&str]) -> Result<Vec<u8>, Error> {
        let ended = self.try_run(arguments)?;
        match ended.status.success() {
            true => Ok(ended.output),
            false => Err(self.failed(action, &ended)),
        }
    }

    /// Runs a command for which there is another way if it fails.
    pub(super) fn try_run(&self, arguments: &[&str]) -> Result<Ended, Error> {
        let mut child = self.start(arguments)?;
        let group = Pid::from_child(&child);
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        let failed = |source| Error::Io {
            action: "run git",
            source,
        };
        thread::scope(|scope| {
            let output = scope.spawn(|| first(output));
            let said = scope.spawn(|| last(errors));
            let status = loop {
                if self.cancel.is_cancelled() {
                    end(group, &mut child);
                    return Err(Error::Cancelled);
                }
                match child.try_wait() {
                    Ok(Some(status)) => break status,
                    Ok(None) => thread::sleep(LOOK),
                    Err(source) => {
                        end(group, &mut child);
                        return Err(failed(source));
                    }
                }
            };
            // what it started and left behind would keep its output open
            let _gone = kill_process_group(group, Signal::KILL);
            let (output, said) = (output.join(), said.join());
            Ok(Ended {
                status,
                output: output.map_err(|_| Error::Worker)?.map_err(failed)?,
                said: said.map_err(|_| Error::Worker)?.map_err(failed)?,
            })
        })
    }

    /// The error for a command that failed.
    pub(super) fn failed(&self, action: &'static str, ended: &Ended) -> Error {
        let said = match (ended.said.is_empty(), ended.status.signal()) {
            (false, _) => ended.said.clone(),
            (true, Some(signal)) => format!("git was killed by signal {signal}"),
            (true, None) => format!("git failed and did not say why ({})", ended.status),
        };
        Error::Git {
            action,
            address: self.address.to_owned(),
            said,
        }
    }

    fn start(&self, arguments: &[&str]) -> Result<Child, Error> {
        let mut command = Command::new("git");
        command.env_clear();
        for name in PASSED_ON {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.envs(SET);
        if std::env::var_os("GIT_SSH_COMMAND").is_none() {
            command.env("GIT_SSH_COMMAND", SSH);
        }
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command
            .args(arguments)
            .current_dir(self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // what it starts ends with it
            .process_group(0);
        command.spawn().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::NoGit {
                address: self.address.to_owned(),
            },
            _ => Error::Io {
                action: "start git",
                source,
            },
        })
    }
}

impl Ended {
    /// Whether it did what it was asked for.
    pub(super) fn is_well(&self) -> bool {
        self.status.success()
    }
}

/// Kills the program and all it started.
fn end(group: Pid, child: &mut Child) {
    // gone already is as good
    let _gone = kill_process_group(group, Signal::KILL);
    let _gone = child.wait();
}

/// The beginning of a stream, which is read to its end.
fn first(stream: Option<impl Read>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let Some(mut stream) = stream else {
        return Ok(bytes);
    };
    (&mut stream).take(OUTPUT_LIMIT as u64).read_to_end(&mut bytes)?;
    io::copy(&mut stream, &mut io::sink())?;
    Ok(bytes)
}

/// The end of a stream as text, lines joined.
fn last(stream: Option<impl Read>) -> io::Result<String> {
    let mut kept = Vec::new();
    let Some(mut stream) = stream else {
        return Ok(String::new());
    };
    let mut piece = [0; 4096];
    loop {
        let count = match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        kept.extend_from_slice(&piece[..count]);
        let surplus = kept.len().saturating_sub(SAID_LIMIT);
        kept.drain(..surplus);
    }
    let text = String::from_utf8_lossy(&kept);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    // a server says what it likes, but not to the terminal
    Ok(lines.join("; ").chars().filter(|c| !c.is_control()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_what_was_said_is_kept() {
        let long = format!("{}\nfatal: \u{1b}[31mno\n", "x".repeat(10_000));
        let said = last(Some(long.as_bytes())).unwrap();
        assert!(
            said.len() <= SAID_LIMIT && said.ends_with("; fatal: [31mno"),
            "{said}"
        );
    }

    #[test]
    fn a_program_that_is_not_wanted_any_more_is_killed() {
        let folder = tempfile::TempDir::new().unwrap();
        let cancel = Cancel::new();
        let git = Git {
            address: "here",
            folder: folder.path(),
            cancel: &cancel,
        };
        let begun = std::time::Instant::now();
        let ended = thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(200));
                cancel.cancel();
            });
            git.try_run(&["-c", "alias.wait=!sleep 60", "wait"])
        });
        assert!(matches!(ended, Err(Error::Cancelled)));
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    }

    #[test]
    fn local_paths_and_programs_are_no_transports() {
        let folder = tempfile::TempDir::new().unwrap();
        let cancel = Cancel::new();
        let git = Git {
            address: "here",
            folder: folder.path(),
            cancel: &cancel,
        };
        for remote in ["file:///", "/", "ext::sh -c true"] {
            let error = git.run("ask", &["ls-remote", "--", remote]).unwrap_err();
            assert!(error.to_string().contains("not allowed"), "{remote}: {error}");
        }
    }
}
