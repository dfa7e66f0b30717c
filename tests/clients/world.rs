//! What every client finds: a daemon of its own, registries with a base image in them, folders to build, archives.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mica_tests::servers::DockerRegistry;
use mica_tests::{Context, Daemon, run};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::web::Web;

/// How long a build may take to start or to end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Who may use the registry with a password.
pub(crate) const USER: &str = "somebody";
/// The password.
pub(crate) const PASSWORD: &str = "open-sesame";

/// What `seed/many:1` is there for.
const PLATFORMS: [&str; 2] = ["linux/amd64", "linux/arm64"];
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What all clients share; each keeps to repositories of its own.
pub(crate) struct Places {
    /// A registry for everybody. It has `seed/base` with the tags `1` and `2`, and `seed/many:1` for [`PLATFORMS`].
    pub(crate) plain: DockerRegistry,
    /// A registry that wants a password. It has `seed/base:1`.
    pub(crate) locked: DockerRegistry,
    /// An index to search; gives `root.tar` and `context.tar` too.
    pub(crate) web: Web,
    folder: TempDir,
}

/// A client's own daemon and the places.
pub(crate) struct World<'a> {
    /// The daemon.
    pub(crate) daemon: Daemon,
    /// What is shared.
    pub(crate) places: &'a Places,
    /// The first part of the names that belong to this client.
    pub(crate) space: &'static str,
    /// How long its build that is given up would take: a number that no other process of this machine has.
    pub(crate) seconds: String,
}

impl Places {
    pub(crate) fn prepare() -> Self {
        let places = Self {
            plain: DockerRegistry::plain(),
            locked: DockerRegistry::htpasswd(USER, PASSWORD),
            web: Web::start(),
            folder: tempfile::Builder::new()
                .prefix("mica-clients-")
                .tempdir()
                .expect("a folder can be made"),
        };
        places.seed();
        places.write();
        places
    }

    /// Puts the base image into both registries.
    fn seed(&self) {
        let daemon = Daemon::start();
        let context =
            Context::with_shell("FROM base\nARG NUMBER\nLABEL number=$NUMBER\nENV BASE=yes\nCMD [\"sh\"]\n");
        let login = ["login", "-u", USER, "--password-stdin", &self.locked.address()];
        daemon.mica_fed(login, PASSWORD).ok();
        let (first, second) = (self.plain.name("seed/base:1"), self.plain.name("seed/base:2"));
        let private = format!("{}/seed/base:1", self.locked.address());
        for (name, number) in [
            (&first, "NUMBER=1"),
            (&second, "NUMBER=2"),
            (&private, "NUMBER=3"),
        ] {
            daemon
                .mica(["build", "-q", "--build-arg", number, "-t", name, context.arg()])
                .ok();
            daemon.mica(["push", name]).ok();
        }
        self.seed_index(&daemon);
    }

    /// Puts an index of two images there.
    fn seed_index(&self, daemon: &Daemon) {
        let repository = format!("http://{}/v2/seed/many/manifests", self.plain.address());
        let context = Context::new("FROM scratch\nCOPY file /file\n").file("file", "text\n");
        let manifests = PLATFORMS.map(|platform| {
            let architecture = platform.trim_start_matches("linux/");
            let name = self.plain.name(&format!("seed/many:{architecture}"));
            daemon
                .mica(["build", "-q", "--platform", platform, "-t", &name, context.arg()])
                .ok();
            daemon.mica(["push", &name]).ok();
            let address = format!("{repository}/{architecture}");
            let accept = format!("Accept: {MANIFEST}");
            let manifest = run(Command::new("curl").args(["-sSf", "-H", &accept, &address])).ok();
            let digest = daemon
                .mica(["inspect", "-f", "{{index .RepoDigests 0}}", &name])
                .ok();
            json!({
                "mediaType": MANIFEST,
                "digest": digest.text().split_once('@').expect("it was pushed").1,
                "size": manifest.stdout.len(),
                "platform": {"os": "linux", "architecture": architecture},
            })
        });
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).to_string();
        let (kind, address) = (format!("Content-Type: {INDEX}"), format!("{repository}/1"));
        let put = [
            "-sSf",
            "-X",
            "PUT",
            "-H",
            &kind,
            "--data-binary",
            &index,
            &address,
        ];
        run(Command::new("curl").args(put)).ok();
    }

    /// Writes the folders to build and the archives.
    fn write(&self) {
        let base = self.plain.name("seed/base:1");
        let files = [
            (
                "context/Dockerfile",
                format!(
                    "FROM {base} AS first\nARG WORD=none\nCOPY . /src\nRUN echo \"the word is $WORD\"; echo loud >&2; \
                     ls -a /src > /list; test ! -e /src/ignored\nLABEL made=here\n\
                     FROM first AS last\nENV A=b\nEXPOSE 80/tcp\nENTRYPOINT [\"sh\", \"-c\"]\nCMD [\"true\"]\n"
                ),
            ),
            ("context/.dockerignore", "ignored\n".to_owned()),
            ("context/ignored", "must not be sent\n".to_owned()),
            ("context/file", "text\n".to_owned()),
            (
                "failing/Dockerfile",
                format!("FROM {base}\nRUN echo before; exit 7\n"),
            ),
            (
                "limited/Dockerfile",
                format!(
                    "FROM {base}\nRUN grep -w somewhere /etc/hosts; df -k /dev/shm | tail -1; ls /sys/class/net\n"
                ),
            ),
            (
                "endless/Dockerfile",
                format!("FROM {base}\nARG SECONDS\nRUN sleep $SECONDS\n"),
            ),
            (
                "private/Dockerfile",
                format!("FROM {}/seed/base:1\nLABEL private=yes\n", self.locked.address()),
            ),
            ("small/Dockerfile", "FROM scratch\nCOPY file /file\n".to_owned()),
            ("small/file", "text\n".to_owned()),
            ("root/etc/name", "imported\n".to_owned()),
            ("garbage.tar", "this is no archive of anything\n".repeat(100)),
        ];
        for (name, text) in files {
            let path = self.file(name);
            fs_err::create_dir_all(path.parent().expect("it is below the folder"))
                .expect("folders can be made");
            fs_err::write(path, text).expect("files can be written");
        }
        for name in ["root", "small"] {
            let archive = self.file(&format!("{name}.tar"));
            let mut tar = Command::new("tar");
            tar.arg("-cf")
                .arg(&archive)
                .arg("-C")
                .arg(self.file(name))
                .arg(".");
            run(&mut tar).ok();
            let bytes = fs_err::read(archive).expect("tar wrote it");
            self.web.put(&format!("{name}.tar"), bytes);
        }
    }

    /// A file or folder of these: `context`, `limited`, `failing`, `endless`, `private` and `small` to build, `small.tar` the same in an archive,
    /// `root.tar` to import, `garbage.tar`.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl<'a> World<'a> {
    pub(crate) fn new(places: &'a Places, space: &'static str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self {
            daemon: Daemon::start(),
            places,
            space,
            seconds: format!("{}{number:02}", std::process::id()),
        }
    }

    /// Waits until the build that would take so long runs, or until it does not.
    #[track_caller]
    pub(crate) fn await_sleep(&self, runs: bool) {
        let wanted = format!("sleep\0{}\0", self.seconds);
        let sleeps = || {
            let processes = fs_err::read_dir("/proc").expect("/proc is mounted").flatten();
            let mut commands = processes.filter_map(|entry| fs_err::read(entry.path().join("cmdline")).ok());
            commands.any(|command| command == wanted.as_bytes())
        };
        let began = Instant::now();
        while sleeps() != runs {
            assert!(began.elapsed() < PATIENCE, "it sleeps: {}", !runs);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The base image in the registry for everybody.
    pub(crate) fn base(&self, tag: &str) -> String {
        self.places.plain.name(&format!("seed/base:{tag}"))
    }

    /// A name of this client's own in the registry for everybody.
    pub(crate) fn own(&self, rest: &str) -> String {
        self.places.plain.name(&format!("{}/{rest}", self.space))
    }

    /// A name of this client's own in the registry that wants a password.
    pub(crate) fn locked(&self, rest: &str) -> String {
        format!("{}/{}/{rest}", self.places.locked.address(), self.space)
    }

    /// A file or folder to work with as an argument.
    pub(crate) fn arg(&self, name: &str) -> String {
        let path = self.places.file(name);
        path.to_str()
            .expect("temporary folders have plain names")
            .to_owned()
    }

    /// A file of this client's own as an argument.
    pub(crate) fn scratch(&self, name: &str) -> String {
        let path: &Path = self.daemon.folder();
        let path = path.join(name);
        path.to_str()
            .expect("temporary folders have plain names")
            .to_owned()
    }

    /// All of this for programs in other languages.
    pub(crate) fn facts(&self) -> Value {
        json!({
            "socket": self.daemon.socket(),
            "plain": self.places.plain.name("").trim_end_matches('/'),
            "locked": self.places.locked.address(),
            "web": self.places.web.address(),
            "user": USER,
            "password": PASSWORD,
            "space": self.space,
            "seconds": self.seconds,
            "files": self.places.file(""),
            "folder": self.daemon.folder(),
        })
    }
}

/// Holds what a build of `limited` told against what it was asked for: a host `somewhere` at 10.1.2.3, 8 MiB of shared memory, no network.
#[track_caller]
pub(crate) fn limited_as_asked(told: &str) {
    let lines: Vec<Vec<_>> = told
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let memory = |line: &&Vec<&str>| line.last() == Some(&"/dev/shm") && line[1] == "8192";
    assert!(
        lines.iter().any(|line| line[..] == ["10.1.2.3", "somewhere"]),
        "{told}"
    );
    assert!(lines.iter().find(memory).is_some(), "{told}");
    assert!(
        lines.iter().any(|line| line[..] == ["lo"]) && !told.contains("eth0"),
        "{told}"
    );
}
