//! What every client finds: a daemon of its own, registries with a base image in them, folders to build, archives.

use std::path::{Path, PathBuf};
use std::process::Command;

use mica_tests::servers::DockerRegistry;
use mica_tests::{Context, Daemon, run};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::web::Web;

/// Who may use the registry with a password.
pub(crate) const USER: &str = "somebody";
/// The password.
pub(crate) const PASSWORD: &str = "open-sesame";

/// What all clients share; each keeps to repositories of its own.
pub(crate) struct Places {
    /// A registry for everybody. It has `seed/base` with the tags `1` and `2`.
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

    /// A file or folder of these: `context`, `failing`, `private` and `small` to build, `small.tar` the same in an archive,
    /// `root.tar` to import, `garbage.tar`.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl<'a> World<'a> {
    pub(crate) fn new(places: &'a Places, space: &'static str) -> Self {
        Self {
            daemon: Daemon::start(),
            places,
            space,
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
            "files": self.places.file(""),
            "folder": self.daemon.folder(),
        })
    }
}
