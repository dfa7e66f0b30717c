//! What cases are built with: their folders on disk, the bases, a server for what is fetched.

use std::collections::BTreeMap;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use tempfile::TempDir;

use crate::conformance::archive::{Format, tar};
use crate::conformance::base::bases;
use crate::conformance::case::Case;
use crate::conformance::describe::{Facts, describe};
use crate::conformance::entry::{Content, Entry, Kind};
use crate::conformance::image::Image;
use crate::conformance::served::Server;
use crate::conformance::tree::plant;
use crate::{Ran, run};

/// The folder of a run and everything that lives as long as it.
pub struct Workshop {
    folder: TempDir,
    server: Server,
    bases: BTreeMap<String, Facts>,
    agents: Mutex<Vec<UnixListener>>,
}

/// A case on disk.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// Its folder; the context is in a folder of a name of its own.
    pub(crate) folder: PathBuf,
    /// The context.
    pub(crate) context: PathBuf,
    /// Name in the case's text, what stands for it.
    pub(crate) places: Vec<(String, String)>,
}

impl Prepared {
    /// Text with the places filled in.
    pub(crate) fn filled(&self, text: &str) -> String {
        let places = self.places.iter();
        places.fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("@{name}@"), value)
        })
    }
}

impl Prepared {
    /// Text with the names of the places where they were filled in.
    pub(crate) fn named(&self, text: &str) -> String {
        let places = self.places.iter();
        places.fold(text.to_owned(), |text, (name, value)| {
            text.replace(value.as_str(), &format!("@{name}@"))
        })
    }
}

impl Workshop {
    /// A folder with the bases' archives, and a running server.
    pub fn open() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("mica-conformance-")
            .tempdir()
            .expect("a folder can be made");
        let repositories = folder.path().join("git");
        fs_err::create_dir_all(&repositories).expect("folders can be made");
        let mut known = BTreeMap::from([("scratch".to_owned(), scratch())]);
        fs_err::create_dir_all(folder.path().join("bases")).expect("folders can be made");
        for (name, archive) in bases() {
            fs_err::write(folder.path().join(format!("bases/{name}.tar")), &archive)
                .expect("files can be written");
            let image = Image::read(&archive).expect("it was made here");
            known.insert(name.to_owned(), describe(&image, i64::MAX));
        }
        Self {
            server: Server::start(repositories),
            folder,
            bases: known,
            agents: Mutex::default(),
        }
    }

    /// Archives to load before anything is built.
    pub fn archives(&self) -> Vec<PathBuf> {
        let names = self.bases.keys().filter(|name| *name != "scratch");
        names
            .map(|name| self.folder.path().join(format!("bases/{name}.tar")))
            .collect()
    }

    /// What a base looks like.
    pub fn base(&self, name: &str) -> Option<&Facts> {
        self.bases.get(name)
    }

    /// Puts a case on disk; `build` tells its builds apart.
    ///
    /// # Panics
    /// If the disk is full or a program is missing.
    pub(crate) fn prepare(&self, case: &Case, build: &str) -> Prepared {
        let folder = self.folder.path().join(format!("{}-{build}", case.name));
        // BuildKit takes what it has of a context of the same name for unchanged
        let context = folder.join(format!("{}-{}-{build}", case.name, std::process::id()));
        let mut prepared = Prepared {
            context,
            places: Vec::new(),
            folder,
        };
        self.fill_places(case, &mut prepared);
        let mut entries = case.context.clone();
        for archive in &case.archives {
            entries.push(packed(&prepared.folder, &archive.name, &archive.entries));
        }
        let dockerfile = prepared.filled(&case.dockerfile);
        if !dockerfile.is_empty() {
            let mut entry = Entry::parse(&format!("f 644 0:0 {} \"\"", case.file)).expect("it is one");
            entry.kind = Kind::File(Content::Bytes(dockerfile.into_bytes()));
            entries.push(entry);
        }
        plant(&prepared.context, &entries);
        if case.send == crate::conformance::Send::Http {
            let bytes = context_tar(&prepared.context);
            let mut entry = Entry::parse("f 644 0:0 context.tar \"\"").expect("it is one");
            entry.kind = Kind::File(Content::Bytes(bytes));
            self.server.put(format!("/{}/context.tar", case.name), entry);
        }
        if case.send == crate::conformance::Send::HttpDockerfile {
            let entry = entries.pop().expect("the Dockerfile was the last");
            self.server.put(format!("/{}/Dockerfile", case.name), entry);
        }
        if let crate::conformance::Send::Git(_) = case.send {
            self.commit(&case.name, &entries, &prepared);
        }
        prepared
    }

    fn fill_places(&self, case: &Case, prepared: &mut Prepared) {
        let mut place = |name: &str, value: String| prepared.places.push((name.to_owned(), value));
        place("HTTP", format!("{}/{}", self.server.address(), case.name));
        place("GIT", format!("{}/git/{}.git", self.server.address(), case.name));
        // two builds of a case share nothing that a daemon keeps
        place(
            "RUN",
            prepared
                .folder
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
        );
        // longer than any line may be
        place("LONG", format!("LABEL long={}", "x".repeat(70_000)));
        place("SITE", self.server.address());
        for files in &case.folders {
            let folder = prepared.folder.join("folders").join(&files.name);
            plant(&folder, &files.entries);
            place(&files.name, folder.display().to_string());
        }
        if case.flags.iter().any(|flag| flag.contains("@OCI@")) {
            place("OCI", self.layout(&prepared.folder).display().to_string());
        }
        for entry in &case.served {
            // a name from the root of the server is taken as it is
            let path = match entry.path.starts_with('/') {
                true => entry.path.clone(),
                false => format!("/{}/{}", case.name, entry.path),
            };
            self.server.put(path, entry.clone());
        }
        for archive in &case.served_archives {
            let entry = packed(&prepared.folder, &archive.name, &archive.entries);
            self.server.put(format!("/{}/{}", case.name, entry.path), entry);
        }
        if case.flags.iter().any(|flag| flag.contains("@AGENT@")) {
            let socket = prepared.folder.join("agent");
            self.listen(&socket);
            prepared
                .places
                .push(("AGENT".to_owned(), socket.display().to_string()));
        }
        if !case.repository.is_empty() {
            let commit = self.commit(&case.name, &case.repository, prepared);
            prepared.places.push(("COMMIT".to_owned(), commit));
        }
    }

    /// Listens as an agent of keys that never says anything.
    fn listen(&self, socket: &Path) {
        fs_err::create_dir_all(socket.parent().expect("it lies in a folder")).expect("folders can be made");
        let agent = UnixListener::bind(socket).expect("sockets can be made");
        self.agents.lock().expect("nobody panics with it").push(agent);
    }

    /// Makes a repository of two commits: the entries with the tag `v1`, then a file `second` on `main`; gives the second's name.
    fn commit(&self, name: &str, entries: &[Entry], prepared: &Prepared) -> String {
        let tree = prepared.folder.join("tree");
        plant(&tree, entries);
        git(&tree, &["init", "-q", "-b", "main"]);
        git(&tree, &["add", "-A"]);
        git(&tree, &["commit", "-q", "-m", "first"]);
        git(&tree, &["tag", "v1"]);
        fs_err::write(tree.join("second"), "2\n").expect("files can be written");
        git(&tree, &["add", "-A"]);
        git(&tree, &["commit", "-q", "-m", "second"]);
        let bare = self.folder.path().join(format!("git/{name}.git"));
        if !bare.exists() {
            git(
                &tree,
                &[
                    "clone",
                    "-q",
                    "--bare",
                    ".",
                    bare.to_str().expect("its name is plain"),
                ],
            );
            git(&bare, &["config", "uploadpack.allowAnySHA1InWant", "true"]);
        }
        git(&tree, &["rev-parse", "HEAD"]).text().to_owned()
    }

    /// `base` as an OCI layout.
    fn layout(&self, folder: &Path) -> PathBuf {
        let layout = folder.join("layout");
        fs_err::create_dir_all(folder).expect("folders can be made");
        let from = format!(
            "docker-archive:{}",
            self.folder.path().join("bases/base.tar").display()
        );
        let mut copy = Command::new("skopeo");
        copy.args(["copy", "-q", &from, &format!("oci:{}:latest", layout.display())]);
        run(&mut copy).ok();
        layout
    }
}

/// What an empty image is said to have.
fn scratch() -> Facts {
    let image = Image {
        config: serde_json::json!({"architecture": "amd64", "os": "linux"}),
        ..Image::default()
    };
    describe(&image, 0)
}

fn git(folder: &Path, args: &[&str]) -> Ran {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(args);
    for who in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{who}_NAME"), "A")
            .env(format!("GIT_{who}_EMAIL"), "a@b");
        command.env(format!("GIT_{who}_DATE"), "2001-09-09T01:46:40Z");
    }
    run(command
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null"))
    .ok()
}

/// `NAME [FORMAT] [PROGRAM]`: a tar of entries, packed by a program.
fn packed(folder: &Path, heading: &str, entries: &[Entry]) -> Entry {
    let mut words = heading.split(' ');
    let name = words.next().unwrap_or_default();
    let mut bytes = None;
    for word in words {
        bytes = Some(match word {
            "pax" => tar(entries, Format::Pax),
            "gnu" => tar(entries, Format::Gnu),
            "ustar" => tar(entries, Format::Ustar),
            program => compressed(
                folder,
                program,
                &bytes.unwrap_or_else(|| tar(entries, Format::Pax)),
            ),
        });
    }
    let mut entry = Entry::parse(&format!("f 644 0:0 {name} \"\"")).expect("it is one");
    entry.kind = Kind::File(Content::Bytes(bytes.unwrap_or_else(|| tar(entries, Format::Pax))));
    entry
}

/// What a program makes of bytes.
pub(crate) fn compressed(folder: &Path, program: &str, bytes: &[u8]) -> Vec<u8> {
    let mut input = tempfile::tempfile_in(folder.parent().expect("it lies in the run's folder"))
        .expect("files can be made");
    std::io::Write::write_all(&mut input, bytes).expect("files can be written");
    std::io::Seek::rewind(&mut input).expect("files can be rewound");
    let output = Command::new(program).arg("-c").stdin(Stdio::from(input)).output();
    output
        .unwrap_or_else(|e| panic!("cannot run {program}: {e}"))
        .stdout
}

/// The tar of a folder that a client of the plain API sends.
pub(crate) fn context_tar(folder: &Path) -> Vec<u8> {
    let mut pack = Command::new("tar");
    pack.args([
        "--format=pax",
        "--sort=name",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "--warning=no-file-ignored",
        "-cf",
        "-",
    ]);
    let output = pack
        .arg("-C")
        .arg(folder)
        .arg(".")
        .output()
        .expect("tar is installed");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}
