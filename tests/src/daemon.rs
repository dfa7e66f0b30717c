//! A daemon with a store and a socket of its own.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::output::{Ran, run, run_fed};

/// How long a daemon may take until it answers.
const START: Duration = Duration::from_secs(20);

/// A running daemon; it is killed and its folder removed when this is dropped.
pub struct Daemon {
    folder: TempDir,
    child: Option<Child>,
    options: Options,
}

/// What a daemon is started with beside its folder.
#[derive(Debug, Clone, Default)]
pub struct Options {
    environment: Vec<(String, String)>,
    settings: Option<String>,
    within: Option<PathBuf>,
    root: Option<PathBuf>,
}

impl Options {
    /// Sets a variable of the daemon's environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Makes its folder in this one instead of where temporary folders are.
    #[must_use]
    pub fn within(mut self, folder: &Path) -> Self {
        self.within = Some(folder.to_owned());
        self
    }

    /// Makes its store here instead of in its folder; it is not removed.
    #[must_use]
    pub fn root(mut self, store: &Path) -> Self {
        self.root = Some(store.to_owned());
        self
    }

    /// Gives it a settings file with this text.
    #[must_use]
    pub fn settings(mut self, json: impl Into<String>) -> Self {
        self.settings = Some(json.into());
        self
    }
}

/// The path of a binary of this workspace.
///
/// # Panics
/// If it was not built: `cargo build --workspace --bins` does.
pub fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a program knows its own path");
    let mut folder = own.parent().expect("a program lies in a folder");
    // tests lie one folder deeper than programs
    if folder.ends_with("deps") {
        folder = folder.parent().expect("tests lie in target/PROFILE/deps");
    }
    let path = folder.join(name);
    assert!(
        path.exists(),
        "{} is not there: run `cargo build --workspace --bins` first",
        path.display()
    );
    path
}

impl Daemon {
    /// Starts a daemon on an empty store.
    pub fn start() -> Self {
        Self::with(Options::default())
    }

    /// Starts a daemon on an empty store with more than a folder.
    pub fn with(options: Options) -> Self {
        let within = options.within.clone().unwrap_or_else(std::env::temp_dir);
        let folder = tempfile::Builder::new()
            .prefix("mica-it-")
            .tempdir_in(within)
            .expect("a temporary folder can be made");
        let mut daemon = Self {
            folder,
            child: None,
            options,
        };
        daemon.spawn();
        daemon
    }

    /// Starts the daemon again on the same store.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "the daemon is running");
        let log = fs_err::File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .expect("the log can be opened");
        let mut command = Command::new(binary("micad"));
        command
            .arg("--host")
            .arg(format!("unix://{}", self.socket().display()))
            .arg("--data-root")
            .arg(self.root());
        if let Some(settings) = &self.options.settings {
            let path = self.folder.path().join("daemon.json");
            fs_err::write(&path, settings).expect("files can be written");
            command.arg("--config-file").arg(path);
        }
        // neither the machine's proxies nor its settings of registries belong to a test
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
            command.env_remove(name).env_remove(name.to_ascii_lowercase());
        }
        let child = command
            .envs(self.options.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.into_file())
            .spawn()
            .expect("micad can be started");
        self.child = Some(child);
        let started = Instant::now();
        while std::os::unix::net::UnixStream::connect(self.socket()).is_err() {
            let ended = self
                .child
                .as_mut()
                .and_then(|child| child.try_wait().ok().flatten());
            assert!(ended.is_none(), "micad left with {ended:?}: {}", self.log_text());
            assert!(
                started.elapsed() < START,
                "micad does not answer: {}",
                self.log_text()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Kills the daemon with SIGKILL and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("the daemon can be killed");
            child.wait().expect("the daemon can be waited for");
        }
    }

    /// Asks the daemon to leave and gives its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        let mut child = self.child.take()?;
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .expect("the daemon can be signalled");
        child.wait().expect("the daemon can be waited for").code()
    }

    /// The daemon's process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map(Child::id).expect("the daemon is running")
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("mica.sock")
    }

    /// Its store.
    pub fn root(&self) -> PathBuf {
        let own = || self.folder.path().join("store");
        self.options.root.clone().unwrap_or_else(own)
    }

    /// A folder of the test's own beside the store.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where its standard error goes.
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("micad.log")
    }

    fn log_text(&self) -> String {
        fs_err::read_to_string(self.log()).unwrap_or_default()
    }

    /// `mica ARGS…` against this daemon, not run yet.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(binary("mica"));
        command
            .args(args)
            .env("MICA_HOST", self.host())
            .env("MICA_NO_START", "1")
            // what steps say and where layers come from is looked for in these lines
            .env("BUILDKIT_PROGRESS", "classic")
            .env("DOCKER_CONFIG", self.folder.path().join("docker-config"))
            .env_remove("SOURCE_DATE_EPOCH");
        command
    }

    /// Runs `mica ARGS…` against this daemon.
    #[track_caller]
    pub fn mica<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        run(&mut self.command(args))
    }

    /// Runs `mica ARGS…` against this daemon with this text on its standard input.
    #[track_caller]
    pub fn mica_fed<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, input: &str) -> Ran {
        run_fed(&mut self.command(args), input)
    }

    /// Runs the stock `docker ARGS…` against this daemon, with the classic builder and the same credentials as `mica`.
    #[track_caller]
    pub fn docker<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        run(&mut self.docker_command(args))
    }

    /// Runs `docker ARGS…` with this text on its standard input.
    #[track_caller]
    pub fn docker_fed<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, input: &str) -> Ran {
        run_fed(&mut self.docker_command(args), input)
    }

    fn docker_command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new("docker");
        command
            .args(args)
            .env("DOCKER_HOST", self.host())
            .env("DOCKER_BUILDKIT", "0")
            .env("DOCKER_CONFIG", self.folder.path().join("docker-config"))
            .env_remove("DOCKER_CONTEXT");
        command
    }

    /// The daemon's address as clients take it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The most memory the daemon had at any time, in MiB.
    pub fn peak_memory(&self) -> u64 {
        let status =
            fs_err::read_to_string(format!("/proc/{}/status", self.pid())).expect("/proc is mounted");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .expect("Linux tells VmHWM");
        let kib: u64 = line
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("VmHWM is a number of kB");
        kib / 1024
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}
