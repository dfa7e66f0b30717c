//! Debian's dockerd on folders of its own, as far as this machine can run one.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long it may take until it answers, and until it ends.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running dockerd; it is ended and what it leaves is removed when this is dropped.
pub(crate) struct Dockerd {
    folder: TempDir,
    child: Child,
    cgroup: String,
}

impl Dockerd {
    /// Starts one; where a proxy is named, servers elsewhere are asked through it.
    ///
    /// # Errors
    /// Why there is none: it is not installed, not of the version the expectations are of, or cannot run here.
    pub(crate) fn start(proxy: Option<&str>) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("dockerd needs root".to_owned());
        }
        let told = Command::new("dockerd").arg("--version").output();
        let told = told.map_err(|error| format!("dockerd cannot be run: {error}"))?;
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        if !told.contains(" 20.10.") {
            return Err(format!(
                "the expectations are of dockerd 20.10, this is {}",
                told.trim()
            ));
        }
        let folder = tempfile::Builder::new()
            .prefix("mica-dockerd-")
            .tempdir()
            .map_err(|error| error.to_string())?;
        let path = folder.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let log = fs_err::File::create(path.join("log")).map_err(|error| error.to_string())?;
        let errors = log.try_clone().map_err(|error| error.to_string())?;
        let mut command = Command::new("dockerd");
        command
            .arg("--host")
            .arg(format!("unix://{}", path.join("docker.sock").display()))
            .arg("--data-root")
            .arg(path.join("data"))
            .arg("--exec-root")
            .arg(path.join("exec"))
            .arg("--pidfile")
            .arg(path.join("pid"))
            .args(["--iptables=false", "--bridge=none", "--config-file="])
            .arg(format!("--cgroup-parent=/{name}"));
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
            command.env_remove(name).env_remove(name.to_ascii_lowercase());
        }
        command.envs(proxy.map(|proxy| ("HTTPS_PROXY", proxy)));
        let child = command
            .stdin(Stdio::null())
            .stdout(log.into_file())
            .stderr(errors.into_file())
            .spawn()
            .map_err(|error| format!("dockerd cannot be run: {error}"))?;
        let mut dockerd = Self {
            folder,
            child,
            cgroup: name,
        };
        dockerd.wait().map(|()| dockerd)
    }

    fn wait(&mut self) -> Result<(), String> {
        let started = Instant::now();
        while std::os::unix::net::UnixStream::connect(self.socket()).is_err() {
            if self.child.try_wait().ok().flatten().is_some() || started.elapsed() > PATIENCE {
                let log = fs_err::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                let last = log.lines().last().unwrap_or_default();
                return Err(format!("dockerd does not start: {last}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Where it keeps everything.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        // it may have ended by itself, and then there is nothing to end
        let _ = rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.child),
            rustix::process::Signal::TERM,
        );
        let asked = Instant::now();
        while self.child.try_wait().ok().flatten().is_none() {
            if asked.elapsed() > PATIENCE {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        unmount_below(self.folder.path());
        remove_cgroup(&self.cgroup);
    }
}

/// Takes away what was mounted below a folder, the innermost first.
fn unmount_below(folder: &Path) {
    let mounts = fs_err::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut below: Vec<&Path> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1).map(Path::new))
        .filter(|path| path.starts_with(folder))
        .collect();
    below.sort_by_key(|path| std::cmp::Reverse(path.as_os_str().len()));
    for path in below {
        // a mount that stays keeps the folder, which is seen
        let _ = rustix::mount::unmount(path, rustix::mount::UnmountFlags::DETACH);
    }
}

/// Removes the control groups its containers were in, in the one hierarchy or in each of them.
fn remove_cgroup(name: &str) {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs_err::read_dir(root).into_iter().flatten().flatten();
    let places = hierarchies.map(|entry| entry.path()).chain([root.to_owned()]);
    for place in places {
        // most hierarchies never had one
        let _ = std::fs::remove_dir(place.join(name));
    }
}
