//! Repositories, served by git's own program and as plain files.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use crate::server::{Answer, Request, Server};
use crate::world::World;

/// When the commits of tests were made.
const TIME: i64 = 1_234_567_890;

/// Repositories in a folder.
struct Repositories {
    folder: tempfile::TempDir,
}

impl Repositories {
    /// `app` with two commits, a branch, an annotated tag, and `part` as a submodule of it.
    fn new() -> Self {
        let own = Self {
            folder: tempfile::TempDir::new().unwrap(),
        };
        own.start("part");
        own.write("part", "inside", "part");
        own.commit("part", "only");
        own.start("app");
        own.write("app", "version", "1");
        own.write("app", "sub/dir/deep", "d");
        own.git("app", &["add", "-A"]);
        std::os::unix::fs::symlink("/etc/passwd", own.path("app").join("link")).unwrap();
        own.write("app", "tool", "#!/bin/sh\n");
        own.mode("app", "tool", 0o700);
        own.commit("app", "first");
        own.git("app", &["tag", "-a", "-m", "one", "v1"]);
        own.git("app", &["checkout", "-q", "-b", "side"]);
        own.write("app", "version", "side");
        own.commit("app", "on the side");
        own.git("app", &["checkout", "-q", "main"]);
        own.write("app", "version", "2");
        own.commit("app", "second");
        own
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn git(&self, name: &str, arguments: &[&str]) -> String {
        let time = format!("{TIME} +0000");
        let done = Command::new("git")
            .args([
                "-c",
                "user.name=t",
                "-c",
                "user.email=t@t",
                "-c",
                "protocol.file.allow=always",
            ])
            .args(arguments)
            .env("GIT_AUTHOR_DATE", &time)
            .env("GIT_COMMITTER_DATE", &time)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .current_dir(self.path(name))
            .output()
            .expect("git is installed: tests/needs");
        assert!(
            done.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    fn start(&self, name: &str) {
        fs_err::create_dir(self.path(name)).unwrap();
        self.git(name, &["init", "-q", "-b", "main"]);
    }

    fn write(&self, name: &str, file: &str, text: &str) {
        let path = self.path(name).join(file);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    fn mode(&self, name: &str, file: &str, mode: u32) {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs_err::set_permissions(self.path(name).join(file), mode).unwrap();
    }

    fn commit(&self, name: &str, message: &str) -> String {
        self.git(name, &["add", "-A"]);
        self.git(name, &["commit", "-q", "-m", message]);
        self.git(name, &["rev-parse", "HEAD"])
    }

    /// Serves the repositories as git does it.
    fn serve(&self) -> Server {
        let root = self.folder.path().to_owned();
        Server::start(move |request| backend(&root, request))
    }

    /// Serves the files of the repositories and nothing else.
    fn serve_plainly(&self) -> Server {
        for name in ["app", "part"] {
            self.git(name, &["update-server-info"]);
        }
        let root = self.folder.path().to_owned();
        Server::start(move |request| {
            let path = request.target.split('?').next().unwrap().trim_start_matches('/');
            let path = path.replace(".git/", "/.git/");
            match fs_err::read(root.join(path)) {
                Ok(bytes) => Answer::of(200, bytes),
                Err(_) => Answer::of(404, ""),
            }
        })
    }
}

/// Answers with `git http-backend`, as a web server runs it (RFC 3875).
fn backend(root: &Path, request: &Request) -> Answer {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let header = |name: &str| request.header(name).unwrap_or_default().to_owned();
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", path.replace(".git/", "/.git/"))
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", &request.method)
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .env("REMOTE_ADDR", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // it may have read enough before the end
    let _ = child.stdin.take().unwrap().write_all(&request.body);
    let output = child.wait_with_output().unwrap().stdout;
    let end = output
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap_or(0);
    let mut answer = Answer::of(200, &output[(end + 4).min(output.len())..]);
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        match line.split_once(": ") {
            Some(("Status", status)) => answer.status = status[..3].parse().unwrap(),
            Some((name, value)) => answer = answer.with(name, value),
            None => {}
        }
    }
    answer
}

fn add(source: &str) -> String {
    format!("FROM scratch\nADD {source} /\n")
}

fn version(world: &World, source: &str) -> String {
    world.make(&add(source))["version"].2.clone()
}

fn fetches(server: &Server) -> usize {
    let requests = server.requests();
    requests
        .iter()
        .filter(|request| {
            request.method == "POST" && String::from_utf8_lossy(&request.body).contains("fetch")
        })
        .count()
}

#[test]
fn branches_tags_commits_and_the_default_are_found() {
    let repositories = Repositories::new();
    let server = repositories.serve();
    let world = World::new();
    let url = server.url("app.git");
    let first = repositories.git("app", &["rev-parse", "v1^{commit}"]);
    for (asked, found) in [
        ("", "2"),
        ("#main", "2"),
        ("#side", "side"),
        ("?branch=side", "side"),
        ("#refs/heads/side", "side"),
        ("#v1", "1"),
        ("?tag=v1", "1"),
        (format!("#{first}").as_str(), "1"),
        (format!("?ref=v1&checksum={}", &first[..10]).as_str(), "1"),
    ] {
        assert_eq!(version(&world, &format!("{url}{asked}")), found, "{asked}");
    }
    for (asked, said) in [
        ("#nothing", "does not contain ref nothing"),
        ("?checksum=0123456", "expected 0123456, got"),
        (
            format!("#{}", "0".repeat(40)).as_str(),
            "does not contain ref 0000",
        ),
    ] {
        let error = world.build(&add(&format!("{url}{asked}"))).unwrap_err();
        assert!(error.contains(said), "{asked}: {error}");
    }
    let error = world.build(&add(&server.url("none.git"))).unwrap_err();
    assert!(
        error.contains("cannot ask for the references of") && error.contains("not found"),
        "{error}"
    );
}

#[test]
fn files_are_what_git_has_and_as_old_as_the_commit() {
    let repositories = Repositories::new();
    let server = repositories.serve();
    let world = World::new();
    let files = world.make(&format!("FROM scratch\nADD {} /src\n", server.url("app.git#v1")));
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "src/",
            "src/link",
            "src/sub/",
            "src/sub/dir/",
            "src/sub/dir/deep",
            "src/tool",
            "src/version"
        ]
    );
    assert_eq!(files["src/version"], (0o644, TIME, "1".to_owned()));
    assert_eq!(
        (files["src/tool"].0, files["src/sub/"].0, files["src/sub/"].1),
        (0o755, 0o755, TIME)
    );
    assert_eq!(files["src/link"].2, "-> /etc/passwd");
    let files = world.make(&add(&server.url("app.git#v1:sub/dir")));
    assert_eq!(files.keys().collect::<Vec<_>>(), ["deep"]);
    let error = world.build(&add(&server.url("app.git#v1:link"))).unwrap_err();
    assert!(
        error.contains("no directory /link"),
        "a link leads nowhere outside: {error}"
    );
}

#[test]
fn a_commit_is_fetched_once() {
    let repositories = Repositories::new();
    let server = repositories.serve();
    let world = World::new();
    let url = server.url("app.git");
    assert_eq!(version(&world, &url), "2");
    assert!(fetches(&server) > 0);
    assert_eq!(version(&world, &url), "2");
    assert_eq!(
        fetches(&server),
        0,
        "the branch is asked for, and nothing fetched"
    );
    // another instruction takes what is kept
    world.make(&format!("FROM scratch\nADD {url}#:sub /sub\n"));
    assert_eq!(fetches(&server), 0);
    // and nobody is asked for what a commit is
    let second = repositories.git("app", &["rev-parse", "main"]);
    world.make(&format!("FROM scratch\nADD {url}#{second} /other\n"));
    assert!(server.requests().is_empty());
    repositories.write("app", "version", "3");
    repositories.commit("app", "third");
    assert_eq!(version(&world, &url), "3");
}

#[test]
fn what_git_knows_stays_only_on_request() {
    let repositories = Repositories::new();
    let server = repositories.serve();
    let world = World::new();
    let url = server.url("app.git");
    let keep = |source: &str| {
        let files = world.make(&format!("FROM scratch\nADD {source} /\n"));
        let head = files.get(".git/HEAD").map(|head| head.2.trim().to_owned());
        (head, files)
    };
    assert_eq!(keep(&url).0, None);
    let second = repositories.git("app", &["rev-parse", "main"]);
    assert_eq!(keep(&format!("--keep-git-dir=true {url}")).0, Some(second));
    let (head, files) = keep(&format!("{url}?branch=side&keep-git-dir=true"));
    assert_eq!(head.as_deref(), Some("ref: refs/heads/side"));
    assert!(
        files[".git/config"].2.contains(&url),
        "where it came from is known"
    );
    let with_user = url.replace("http://", "http://me:secret@");
    let (_, files) = keep(&format!("--keep-git-dir=true {with_user}#v1"));
    assert!(
        files.values().all(|file| !file.2.contains("secret")),
        "no password stays"
    );
}

#[test]
fn submodules_come_along() {
    let repositories = Repositories::new();
    let server = repositories.serve();
    repositories.git(
        "app",
        &["submodule", "--quiet", "add", &server.url("part.git"), "part"],
    );
    repositories.commit("app", "with a part");
    let world = World::new();
    let url = server.url("app.git");
    let files = world.make(&add(&url));
    assert_eq!(files["part/inside"].2, "part");
    assert!(!files.contains_key("part/.git"));
    assert!(
        !world
            .make(&add(&format!("{url}?submodules=false")))
            .contains_key("part/inside")
    );
}

#[test]
fn a_submodule_reaches_nothing_of_this_machine() {
    let repositories = Repositories::new();
    let server = repositories.serve();
    let outside = repositories.path("part").display().to_string();
    repositories.git("app", &["submodule", "--quiet", "add", &outside, "part"]);
    repositories.commit("app", "with somebody else's part");
    let world = World::new();
    let error = world.build(&add(&server.url("app.git"))).unwrap_err();
    assert!(
        error.contains("cannot fetch the submodules of") && error.contains("not allowed"),
        "{error}"
    );
}

#[test]
fn a_tree_with_a_git_folder_in_it_is_refused() {
    let repositories = Repositories::new();
    let blob = repositories.git("app", &["rev-parse", "main:version"]);
    // made by hand: no git puts such a name into its index
    let tree = {
        let mut bytes = b"40000 .git\0".to_vec();
        let inner = hash_object(
            &repositories,
            "tree",
            &[b"100644 config\0".as_slice(), &hex(&blob)].concat(),
        );
        bytes.extend(hex(&inner));
        hash_object(&repositories, "tree", &bytes)
    };
    let commit = repositories.git("app", &["commit-tree", "-m", "bad", &tree]);
    repositories.git("app", &["update-ref", "refs/heads/bad", &commit]);
    let server = repositories.serve();
    let world = World::new();
    let built = world.build(&format!(
        "FROM scratch\nADD --keep-git-dir=true {}#bad /\n",
        server.url("app.git")
    ));
    let error = built.unwrap_err();
    assert!(error.contains("invalid path '.git"), "{error}");
}

fn hex(digits: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn hash_object(repositories: &Repositories, kind: &str, bytes: &[u8]) -> String {
    let file = repositories.path("object");
    fs_err::write(&file, bytes).unwrap();
    let file = file.display().to_string();
    repositories.git("app", &["hash-object", "-w", "--literally", "-t", kind, &file])
}

#[test]
fn a_server_of_plain_files_will_do() {
    let repositories = Repositories::new();
    let server = repositories.serve_plainly();
    let world = World::new();
    assert_eq!(version(&world, &server.url("app.git#side")), "side");
    let first = repositories.git("app", &["rev-parse", "v1^{commit}"]);
    assert_eq!(
        version(&world, &format!("{}#{first}", server.url("app.git"))),
        "1"
    );
}

#[test]
fn a_repository_is_a_context() {
    let repositories = Repositories::new();
    repositories.write("app", "sub/Dockerfile", "FROM scratch\nCOPY . /\n");
    repositories.write("app", "sub/.dockerignore", "dir");
    repositories.commit("app", "buildable");
    let server = repositories.serve();
    let world = World::new();
    let files = world.build_at(&server.url("app.git#main:sub")).unwrap();
    assert_eq!(files["dir/deep"], (0o644, TIME, "d".to_owned()));
}

#[test]
fn a_build_that_is_cancelled_kills_git() {
    let waiting = Mutex::new(());
    let held = std::sync::Arc::new(waiting);
    let own = held.clone();
    let lock = held.lock().unwrap();
    let server = Server::start(move |_| {
        drop(own.lock());
        Answer::of(404, "")
    });
    let world = World::new();
    let cancel = world.cancel.clone();
    let begun = std::time::Instant::now();
    std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        cancel.cancel();
    });
    let error = world.build(&add(&server.url("app.git"))).unwrap_err();
    assert!(error.contains("cancelled"), "{error}");
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
    drop(lock);
}
