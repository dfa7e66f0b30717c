//! A small image made of busybox, and processes run on it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use mica_sandbox::{Error, Limits, Network, Outcome, Security, Spec, Stream, run};
use tempfile::TempDir;

/// The statically linked program the image is made of.
const BUSYBOX: &str = "/bin/busybox";

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1001::/home/ann:/bin/sh\n";
const GROUP: &str = "root:x:0:\nwheel:x:10:root,ann\nann:x:1001:\ndisk:x:6:ann\n";

/// The helper: this very program.
pub(crate) const HELPER: &str = "/proc/self/exe";

/// A directory of its own for one test's runs.
pub(crate) struct Room {
    dir: TempDir,
    pub(crate) spec: Spec,
}

/// What a run gave.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) outcome: Outcome,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Room {
    /// The image, with nothing in its upper directory.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [upper, work] = ["upper", "work"].map(|name| {
            let path = dir.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        });
        let spec = Spec {
            lowers: vec![image().to_owned()],
            upper,
            work,
            argv: vec!["true".to_owned()],
            env: Vec::new(),
            hidden_env: Vec::new(),
            cwd: "/".into(),
            user: String::new(),
            hostname: "buildkitsandbox".to_owned(),
            network: Network::Host,
            resolv_conf: None,
            hosts: None,
            mounts: Vec::new(),
            rlimits: Vec::new(),
            limits: Limits::default(),
            processes: None,
            shm_size: 64 << 20,
            security: Security::Sandbox,
            terminal: false,
        };
        Room { dir, spec }
    }

    /// The same with a shell script for the process.
    pub(crate) fn script(script: &str) -> Self {
        let mut room = Room::new();
        room.spec.argv = ["sh", "-ec", script].map(str::to_owned).to_vec();
        room
    }

    /// Takes new, empty directories to write to.
    pub(crate) fn fresh(&mut self, number: usize) {
        for (name, path) in [("upper", &mut self.spec.upper), ("work", &mut self.spec.work)] {
            *path = self.dir.path().join(format!("{name}-{number}"));
            fs::create_dir(path).unwrap();
        }
    }

    /// A path in the test's own directory on the host.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file in the test's own directory.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// Puts a layer on top of the image.
    pub(crate) fn layer(&mut self, name: &str, fill: impl FnOnce(&Path)) {
        let layer = self.path(name);
        fs::create_dir_all(&layer).unwrap();
        fill(&layer);
        self.spec.lowers.insert(0, layer);
    }

    pub(crate) fn upper(&self, path: &str) -> PathBuf {
        self.spec.upper.join(path)
    }

    /// All paths in the upper directory, sorted.
    pub(crate) fn changes(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut ahead = vec![self.spec.upper.clone()];
        while let Some(dir) = ahead.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let entry = entry.unwrap();
                found.push(
                    entry
                        .path()
                        .strip_prefix(&self.spec.upper)
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .to_owned(),
                );
                if entry.file_type().unwrap().is_dir() {
                    ahead.push(entry.path());
                }
            }
        }
        found.sort();
        found
    }

    pub(crate) fn try_run(&self) -> Result<Ran, Error> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut output = |stream: Stream, bytes: &[u8]| match stream {
            Stream::Stdout => stdout.extend_from_slice(bytes),
            Stream::Stderr => stderr.extend_from_slice(bytes),
        };
        let outcome = run(&self.spec, HELPER.as_ref(), &mut output, &|| false)?;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ok(Ran {
            outcome,
            stdout: text(stdout),
            stderr: text(stderr),
        })
    }

    pub(crate) fn run(&self) -> Ran {
        self.try_run().unwrap()
    }

    /// Runs it, insists on success, and gives its standard output.
    pub(crate) fn stdout(&self) -> String {
        let ran = self.run();
        assert_eq!((ran.outcome.exit.code(), ran.stderr.as_str()), (0, ""), "{ran:?}");
        ran.stdout
    }
}

/// The tree of the image, made once.
pub(crate) fn image() -> &'static Path {
    static IMAGE: OnceLock<TempDir> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        build_image(dir.path());
        dir
    });
    IMAGE.get().unwrap().path()
}

fn build_image(root: &Path) {
    for dir in ["bin", "etc", "tmp", "root", "home/ann", "proc", "sys", "dev"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    fs::copy(BUSYBOX, root.join("bin/busybox")).expect("the package busybox-static is installed");
    let names = Command::new(BUSYBOX).arg("--list").output().unwrap();
    for name in String::from_utf8(names.stdout)
        .unwrap()
        .lines()
        .filter(|name| *name != "busybox")
    {
        symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    fs::write(root.join("etc/passwd"), PASSWD).unwrap();
    fs::write(root.join("etc/group"), GROUP).unwrap();
}
