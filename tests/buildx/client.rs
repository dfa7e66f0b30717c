//! A daemon, and the pinned clients that talk to it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use mica_tests::{Context, Daemon, Ran, run, run_fed};
use serde_json::Value;

/// A daemon with the clients of BuildKit.
pub(crate) struct Client {
    pub(crate) daemon: Daemon,
    programs: &'static Path,
}

/// Where the clients lie, or why they are not there.
fn programs() -> Result<&'static Path, &'static str> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("buildx/install");
        let ran = run(&mut Command::new(script));
        match ran.code {
            0 => Ok(PathBuf::from(ran.text())),
            _ => Err(ran.stderr.trim_end().to_owned()),
        }
    });
    match found {
        Ok(folder) => Ok(folder),
        Err(why) => Err(why),
    }
}

impl Client {
    /// A daemon on an empty store. Nothing if the clients cannot be had: then the test is left out, and it is said why.
    pub(crate) fn start() -> Option<Self> {
        let programs = match programs() {
            Ok(programs) => programs,
            Err(why) => {
                println!("skipped: BuildKit's clients cannot be built: {why}");
                return None;
            }
        };
        let daemon = Daemon::start();
        let plugins = daemon.folder().join("docker-config/cli-plugins");
        fs_err::create_dir_all(&plugins).unwrap();
        std::os::unix::fs::symlink(programs.join("docker-buildx"), plugins.join("docker-buildx")).unwrap();
        Some(Self { daemon, programs })
    }

    /// `docker ARGS…`, not run yet. It knows buildx, and no builder but the daemon.
    pub(crate) fn docker<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        self.cleaned("docker", args)
    }

    /// `docker buildx ARGS…`, not run yet.
    pub(crate) fn buildx<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.docker(["buildx"]);
        command.args(args);
        command
    }

    /// `buildctl ARGS…`, not run yet.
    pub(crate) fn buildctl<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.cleaned(self.programs.join("buildctl"), ["--addr", &self.daemon.host()]);
        command.args(args);
        command
    }

    /// A program in the test's own folder that finds this daemon, and nothing of what is set on this machine.
    pub(crate) fn cleaned<S: AsRef<OsStr>>(
        &self,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.daemon.folder())
            .env("DOCKER_HOST", self.daemon.host())
            .env("DOCKER_CONFIG", self.daemon.folder().join("docker-config"));
        for name in [
            "BUILDKIT_PROGRESS",
            "BUILDX_BUILDER",
            "BUILDX_CONFIG",
            "DOCKER_BUILDKIT",
            "DOCKER_CONTEXT",
            "SOURCE_DATE_EPOCH",
            "SSH_AUTH_SOCK",
        ] {
            command.env_remove(name);
        }
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
            command.env_remove(name).env_remove(name.to_ascii_lowercase());
        }
        command
    }

    /// Runs `docker buildx build --progress=plain ARGS…`: what is told stands in the standard error, line by line.
    #[track_caller]
    pub(crate) fn build<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        run(self.buildx(["build", "--progress=plain"]).args(args))
    }

    /// What `docker buildx build -q ARGS…` says: nothing but an ID.
    #[track_caller]
    pub(crate) fn build_quietly<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> String {
        let ran = run(self.buildx(["build", "-q"]).args(args)).ok();
        assert_eq!(ran.stderr, "");
        ran.text().to_owned()
    }

    /// The digest of the manifest behind a name at a registry.
    #[track_caller]
    pub(crate) fn pushed(&self, name: &str) -> String {
        let asked =
            run(&mut self.buildx(["imagetools", "inspect", "--format={{json .Manifest}}", name])).ok();
        let manifest: Value = serde_json::from_str(&asked.stdout).unwrap();
        manifest["digest"].as_str().unwrap().to_owned()
    }

    /// Runs `docker buildx build --progress=plain ARGS…` with something on its standard input.
    #[track_caller]
    pub(crate) fn build_fed<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, input: &str) -> Ran {
        run_fed(self.buildx(["build", "--progress=plain"]).args(args), input)
    }

    /// What the daemon says of an image, in Go's template.
    #[track_caller]
    pub(crate) fn inspect(&self, image: &str, template: &str) -> String {
        let ran = run(&mut self.docker(["inspect", "-f", template, image])).ok();
        ran.text().to_owned()
    }

    /// A path in the test's own folder, for an argument.
    pub(crate) fn path(&self, name: &str) -> String {
        let path = self.daemon.folder().join(name);
        path.to_str()
            .expect("temporary folders have plain names")
            .to_owned()
    }

    /// The text of a file in the test's own folder.
    #[track_caller]
    pub(crate) fn text(&self, name: &str) -> String {
        fs_err::read_to_string(self.daemon.folder().join(name)).unwrap()
    }

    /// What a file in the test's own folder says as JSON.
    #[track_caller]
    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.text(name)).unwrap()
    }
}

/// A folder whose image says in `/made` which `WHO` made it, after a stage with a shell.
pub(crate) fn greeting() -> Context {
    Context::with_shell("FROM base\nARG WHO=nobody\nRUN echo made by $WHO > /made\nCMD [\"sh\"]\n")
}

/// Holds that a client's words say all of this.
#[track_caller]
pub(crate) fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

/// What steps printed, out of plain progress: each such line has a number, the seconds since the step began, and the text.
pub(crate) fn said(progress: &str) -> Vec<&str> {
    progress.lines().filter_map(printed).collect()
}

fn printed(line: &str) -> Option<&str> {
    let (number, rest) = line.strip_prefix('#')?.split_once(' ')?;
    let (seconds, text) = rest.split_once(' ')?;
    let (whole, part) = seconds.split_once('.')?;
    let is_number = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
    [number, whole, part].into_iter().all(is_number).then_some(text)
}
