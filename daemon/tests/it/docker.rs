//! Docker's own command line against the daemon. Skipped where it is not installed.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::archive::{image, small_image};
use crate::micad::Micad;

struct Docker(Micad);

impl Docker {
    /// A daemon and the command line, if it is here.
    fn start() -> Option<Self> {
        if Command::new("docker").arg("--version").output().is_err() {
            eprintln!("skipped: docker is not installed");
            return None;
        }
        Some(Self(Micad::start()))
    }

    fn run(&self, arguments: &[&str], input: &[u8]) -> Output {
        let folder = self.0.folder.path();
        let mut child = Command::new("docker")
            .args(arguments)
            .env("DOCKER_HOST", format!("unix://{}", self.0.socket().display()))
            .env("DOCKER_CONFIG", folder.join("docker"))
            .env("DOCKER_BUILDKIT", "0")
            .env("TZ", "UTC")
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let feed = std::thread::spawn(move || {
            // who does not want its input may leave without it
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().unwrap();
        feed.join().unwrap();
        output
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments, b"");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn fails(&self, arguments: &[&str], code: i32, part: &str) {
        let output = self.run(arguments, b"");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(part), "{arguments:?}: {error}");
    }

    #[track_caller]
    fn load(&self, archive: &[u8]) -> String {
        let output = self.run(&["load"], archive);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn version_and_info() {
    let Some(docker) = Docker::start() else { return };
    assert_eq!(
        docker.ok(&["version", "--format", "{{.Server.APIVersion}}"]),
        "1.51\n"
    );
    let info = docker.ok(&["info", "--format", "{{json .}}"]);
    let info: Value = serde_json::from_str(&info).unwrap();
    assert_eq!(info["Images"], 0);
    assert!(info.get("ServerErrors").is_none(), "{info}");
    docker.ok(&["version"]);
    docker.ok(&["info"]);
    assert_eq!(docker.ok(&["ps", "-q"]), "");
}

#[test]
fn images_come_are_named_and_go() {
    let Some(docker) = Docker::start() else { return };
    let loaded = small_image(&["one:1"]);
    assert_eq!(docker.load(&loaded.archive), "Loaded image: one:1\n");
    let short = &loaded.id[7..19];
    assert_eq!(docker.ok(&["images", "-q"]), format!("{short}\n"));
    docker.ok(&["tag", "one:1", "me/two"]);
    let listed = docker.ok(&["images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}} {{.Size}}"]);
    let mut lines: Vec<&str> = listed.lines().collect();
    // docker lists the repositories of one image in the order of a map, which changes from run to run
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            format!("me/two:latest {short} 2.05kB"),
            format!("one:1 {short} 2.05kB")
        ]
    );
    assert_eq!(
        docker.ok(&["images", "-q", "--no-trunc", "one"]),
        format!("{}\n", loaded.id)
    );
    assert_eq!(docker.ok(&["images", "-q", "-f", "reference=x"]), "");
    let inspected: Value = serde_json::from_str(&docker.ok(&["inspect", short])).unwrap();
    assert_eq!(inspected[0]["RepoTags"], json!(["one:1", "me/two:latest"]));
    assert_eq!(
        docker.ok(&["image", "inspect", "one:1", "--format", "{{.Id}}"]),
        format!("{}\n", loaded.id)
    );
    docker.fails(&["inspect", "nope"], 1, "No such object: nope");
    docker.fails(&["image", "inspect", "nope"], 1, "No such image: nope:latest");
    let history = docker.ok(&["history", "one:1", "--format", "{{.ID}} {{.CreatedBy}} {{.Size}}"]);
    assert_eq!(history, format!("{short} ENV A=b 0B\n<missing> layer 0 2.05kB\n"));
    assert_eq!(docker.ok(&["rmi", "me/two"]), "Untagged: me/two:latest\n");
    docker.fails(&["rmi", "nope"], 1, "No such image: nope:latest");
    assert!(
        docker
            .ok(&["rmi", short])
            .starts_with(&format!("Untagged: one:1\nDeleted: {}\n", loaded.id))
    );
    docker.ok(&["rmi", "-f", "nope"]);
    assert_eq!(docker.ok(&["images", "-q"]), "");
}

#[test]
fn saving_and_loading() {
    let Some(docker) = Docker::start() else { return };
    let loaded = small_image(&["one:1"]);
    docker.load(&loaded.archive);
    docker.ok(&["tag", "one:1", "two:2"]);
    docker.ok(&["save", "-o", "out.tar", "one:1", "two:2"]);
    docker.ok(&["rmi", "one:1", "two:2"]);
    assert_eq!(
        docker.ok(&["load", "-i", "out.tar"]),
        "Loaded image: one:1\nLoaded image: two:2\n"
    );
    let gzip = Command::new("gzip")
        .arg("-c")
        .arg(docker.0.folder.path().join("out.tar"))
        .output()
        .unwrap();
    assert_eq!(
        docker.load(&gzip.stdout),
        "Loaded image: one:1\nLoaded image: two:2\n"
    );
    docker.fails(&["save", "-o", "x.tar", "nope"], 1, "No such image: nope:latest");
    let output = docker.run(&["load"], b"garbage");
    assert!(!output.status.success());
}

#[test]
fn pruning() {
    let Some(docker) = Docker::start() else { return };
    docker.load(&image(&[], "2026-01-01T00:00:00Z", &json!({}), &[&[("a", b"b")]]).archive);
    docker.load(&small_image(&["one:1"]).archive);
    assert_eq!(docker.ok(&["images", "-qf", "dangling=true"]).lines().count(), 1);
    let pruned = docker.ok(&["image", "prune", "-f"]);
    assert!(
        pruned.contains("deleted: sha256:") && pruned.contains("Total reclaimed space: "),
        "{pruned}"
    );
    assert!(
        docker
            .ok(&["image", "prune", "-f"])
            .contains("Total reclaimed space: 0B")
    );
    assert_eq!(docker.ok(&["images", "-q"]).lines().count(), 1);
    assert!(
        docker
            .ok(&["system", "prune", "-af", "--volumes"])
            .contains("untagged: one:1")
    );
    assert_eq!(docker.ok(&["images", "-q"]), "");
}

#[test]
fn building() {
    let Some(docker) = Docker::start() else { return };
    let context = docker.0.folder.path().join("context");
    std::fs::create_dir(&context).unwrap();
    std::fs::write(
        context.join("Dockerfile"),
        "FROM scratch\nARG X\nCOPY f /\nLABEL x=$X\n",
    )
    .unwrap();
    std::fs::write(context.join("f"), "x").unwrap();
    let arguments = [
        "build",
        "-t",
        "built:1",
        "--build-arg",
        "X=y",
        "--iidfile",
        "iid",
        "context",
    ];
    let told = docker.ok(&arguments);
    assert!(told.contains("Successfully tagged built:1\n"), "{told}");
    let id = std::fs::read_to_string(docker.0.folder.path().join("iid")).unwrap();
    assert_eq!(docker.ok(&["images", "-q", "--no-trunc"]), format!("{id}\n"));
    assert_eq!(
        docker.ok(&["image", "inspect", "built:1", "-f", "{{.Config.Labels.x}}"]),
        "y\n"
    );
    assert_eq!(
        docker.ok(&["build", "-q", "--build-arg", "X=y", "context"]),
        format!("{id}\n")
    );
    std::fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY nope /\n").unwrap();
    docker.fails(
        &["build", "context"],
        1,
        "file not found in build context or excluded by .dockerignore",
    );
    std::fs::write(context.join("Dockerfile"), "NOPE\n").unwrap();
    docker.fails(&["build", "context"], 1, "unknown instruction: NOPE");
    docker.fails(&["search", "127.0.0.1:1/busybox"], 1, "cannot search 127.0.0.1:1");
    docker.fails(
        &["push", "nothing-here"],
        1,
        "An image does not exist locally with the tag: nothing-here",
    );
    docker.fails(&["run", "busybox"], 125, "micad does not run containers");
}
