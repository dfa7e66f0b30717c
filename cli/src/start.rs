//! Starting the daemon when nobody listens at its socket.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use tokio::net::UnixStream;

use crate::error::{Error, is_absent};
use crate::ui;

/// The hidden first argument with which this program becomes a daemon's process.
pub(crate) const DETACH: &str = "__detach";

/// Between two looks whether the daemon answers.
const POLL: Duration = Duration::from_millis(2);

/// How long a daemon may take until it answers.
const LIMIT: Duration = Duration::from_secs(30);

/// Seconds without requests after which a daemon that was started so ends.
const IDLE_SECONDS: &str = "300";

/// How much of the daemon's log is shown when it did not start.
const TAIL_BYTES: u64 = 4096;

/// How many heaps the daemon has (mallopt(3)): with one for each of its threads what they freed stays with them.
const ARENAS: (&str, &str) = ("MALLOC_ARENA_MAX", "2");

/// Whether the environment allows it.
pub(crate) fn is_allowed() -> bool {
    std::env::var_os("MICA_NO_START").is_none_or(|value| value.is_empty() || value == "0")
}

/// Starts a daemon at `socket`, or waits for the one somebody else is starting, and connects. `absent` is why
/// nobody was there.
///
/// # Errors
/// When there is no `micad`, or it does not answer in time.
pub(crate) async fn start(socket: &Path, absent: io::Error) -> Result<UnixStream, Error> {
    let Some(program) = find() else {
        ui::notice("mica: there is no micad beside mica or in PATH to start");
        return Err(Error::Connect {
            socket: socket.to_owned(),
            source: absent,
        });
    };
    make_folder(socket)?;
    let lock_path = beside(socket, ".lock");
    let lock = open(&lock_path, OpenOptions::new().write(true).create(true))?;
    let limit = Instant::now() + LIMIT;
    // Whoever holds the lock starts the daemon; the others find it answering, or the lock free again.
    loop {
        match lock.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(source)) => {
                return Err(Error::File {
                    action: "cannot lock",
                    path: lock_path,
                    source,
                });
            }
        }
        if let Ok(stream) = UnixStream::connect(socket).await {
            return Ok(stream);
        }
        if Instant::now() > limit {
            let reason = "another mica has been starting it for too long".to_owned();
            return Err(Error::Start {
                reason,
                log: String::new(),
            });
        }
        tokio::time::sleep(POLL).await;
    }
    match UnixStream::connect(socket).await {
        Ok(stream) => return Ok(stream),
        Err(source) if is_absent(&source) => {}
        Err(source) => {
            return Err(Error::Connect {
                socket: socket.to_owned(),
                source,
            });
        }
    }
    let log_path = beside(socket, ".log");
    let log = open(&log_path, OpenOptions::new().append(true).create(true))?;
    let before = log.metadata().map_or(0, |data| data.len());
    let child = spawn(&program, socket, log)?;
    let stream = wait(child, socket, &log_path, before).await?;
    ui::notice(format!("mica: started micad (socket {})", socket.display()));
    Ok(stream)
}

/// `micad` in the folder of this program, or in `PATH`.
pub(crate) fn find() -> Option<PathBuf> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|own| Some(own.parent()?.join("micad")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join("micad"));
    beside.into_iter().chain(in_path).find(|file| file.is_file())
}

/// Where a daemon that is started here keeps its store, unless it is where its settings say.
pub(crate) fn data_root() -> io::Result<Option<PathBuf>> {
    let root = std::env::var_os("MICA_DATA_ROOT").filter(|root| !root.is_empty());
    root.map(std::path::absolute).transpose()
}

fn make_folder(socket: &Path) -> Result<(), Error> {
    let Some(folder) = socket.parent().filter(|folder| !folder.is_dir()) else {
        return Ok(());
    };
    // The socket's own mode decides who may speak to root's daemon; nobody but the user speaks to a user's.
    let mode = if rustix::process::geteuid().is_root() {
        0o755
    } else {
        0o700
    };
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(folder)
        .map_err(|source| Error::File {
            action: "cannot make the folder",
            path: folder.to_owned(),
            source,
        })
}

fn beside(socket: &Path, ending: &str) -> PathBuf {
    let mut name: OsString = socket.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn open(path: &Path, options: &mut OpenOptions) -> Result<File, Error> {
    let file = options.mode(0o600).open(path);
    file.map_err(|source| Error::File {
        action: "cannot open",
        path: path.to_owned(),
        source,
    })
}

/// Runs the daemon through this program's own hidden argument, which puts it into a session of its own.
fn spawn(program: &Path, socket: &Path, log: File) -> Result<Child, Error> {
    let failed = |source| Error::File {
        action: "cannot run",
        path: program.to_owned(),
        source,
    };
    let mut host = OsString::from("unix://");
    host.push(socket);
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command
        .arg(DETACH)
        .arg(program)
        .arg("--host")
        .arg(host)
        .args(["--idle-timeout", IDLE_SECONDS]);
    if let Some(root) = data_root().map_err(failed)? {
        command.arg("--data-root").arg(root);
    }
    let errors = log.try_clone().map_err(failed)?;
    if std::env::var_os(ARENAS.0).is_none() {
        command.env(ARENAS.0, ARENAS.1);
    }
    command
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors);
    command.spawn().map_err(failed)
}

async fn wait(mut child: Child, socket: &Path, log: &Path, before: u64) -> Result<UnixStream, Error> {
    let limit = Instant::now() + LIMIT;
    loop {
        let absent = match UnixStream::connect(socket).await {
            Ok(stream) => return Ok(stream),
            Err(source) => source,
        };
        let ended = child.try_wait().ok().flatten();
        let reason = match ended {
            Some(status) => format!("it ended with {status}"),
            None if Instant::now() > limit => {
                // Left alone it would hold the socket's place without ever answering.
                let _gone = child.kill();
                format!(
                    "it does not answer at {} after {} s: {absent}",
                    socket.display(),
                    LIMIT.as_secs()
                )
            }
            None => {
                tokio::time::sleep(POLL).await;
                continue;
            }
        };
        return Err(Error::Start {
            reason,
            log: tail(log, before),
        });
    }
}

/// The end of what the daemon has logged since it was started.
fn tail(log: &Path, before: u64) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(before.max(end.saturating_sub(TAIL_BYTES))))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    };
    match read() {
        Ok(text) if text.is_empty() => format!(" (nothing in its log {})", log.display()),
        Ok(text) => format!("\nthe end of {}:\n{text}", log.display()),
        Err(error) => format!(" (and its log {} cannot be read: {error})", log.display()),
    }
}

/// What this program does behind [`DETACH`]: leave the terminal's session and become the named program.
pub(crate) fn become_daemon(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(program) = arguments.next() else {
        ui::notice("mica: nothing to run");
        return ExitCode::from(125);
    };
    if let Err(error) = rustix::process::setsid() {
        ui::notice(format!("mica: cannot make a session: {error}"));
        return ExitCode::from(1);
    }
    let error = Command::new(&program).args(arguments).exec();
    ui::notice(format!("mica: cannot run {}: {error}", program.display()));
    ExitCode::from(127)
}
