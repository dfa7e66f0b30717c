//! The stock docker command line, classic builder, on our socket.

use mica_tests::{Context, Daemon};

#[test]
fn build_images_tag_history_inspect_rmi() {
    let daemon = Daemon::start();
    let context = Context::with_shell("FROM base\nENV A=b\nRUN echo out; echo err >&2\nCMD [\"sh\"]\n")
        .file(".dockerignore", "ignored\n")
        .file("ignored", "x");
    let built = daemon.docker(["build", "-t", "x", context.arg()]).ok();
    assert!(
        built.stdout.contains("Successfully tagged x:latest"),
        "{}",
        built.stdout
    );
    assert!(
        built.stdout.contains("\nout\n") && built.stdout.contains("err\n"),
        "{}",
        built.stdout
    );
    let again = daemon.docker(["build", "-q", "-t", "x", context.arg()]).ok();
    let id = again.text().to_owned();
    assert!(id.starts_with("sha256:"), "{id}");

    let images = daemon.docker(["images"]).ok();
    let row = images
        .stdout
        .lines()
        .find(|line| line.starts_with("x "))
        .expect("the image is listed");
    assert!(
        row.contains("latest") && row.contains(&id["sha256:".len()..][..12]),
        "{row}"
    );
    daemon.docker(["tag", "x", "other/name:2"]).ok();
    assert_eq!(
        daemon
            .docker(["images", "-q", "--no-trunc", "other/name"])
            .ok()
            .text(),
        id
    );
    let history = daemon
        .docker(["history", "--no-trunc", "--format", "{{.CreatedBy}}", "x"])
        .ok();
    assert!(
        history
            .stdout
            .starts_with("CMD [\"sh\"]\nRUN /bin/sh -c echo out; echo err >&2 # buildkit\nENV A=b\n"),
        "{}",
        history.stdout
    );
    let inspected = daemon
        .docker(["inspect", "-f", "{{.Id}} {{.Config.Cmd}} {{.Os}}", "x"])
        .ok();
    assert_eq!(inspected.text(), format!("{id} [sh] linux"));
    let missing = daemon.docker(["inspect", "nothing-of-that-name"]);
    assert_eq!(missing.code, 1);
    assert!(
        missing.stderr.contains("No such object: nothing-of-that-name"),
        "{}",
        missing.stderr
    );

    let untagged = daemon.docker(["rmi", "other/name:2"]).ok();
    assert_eq!(untagged.text(), "Untagged: other/name:2");
    let removed = daemon.docker(["rmi", "x"]).ok();
    assert!(
        removed
            .stdout
            .starts_with(&format!("Untagged: x:latest\nDeleted: {id}\n")),
        "{}",
        removed.stdout
    );
    assert!(daemon.docker(["images", "-q"]).ok().stdout.is_empty());
    let gone = daemon.docker(["rmi", "x"]);
    assert_eq!(gone.code, 1);
    assert!(gone.stderr.contains("No such image: x:latest"), "{}", gone.stderr);
}

#[test]
fn exit_codes_are_those_of_the_step() {
    let daemon = Daemon::start();
    let context = Context::with_shell("FROM base\nRUN exit 7\n");
    let ran = daemon.docker(["build", context.arg()]);
    assert_eq!(ran.code, 7);
    assert!(
        ran.stderr
            .contains("The command '/bin/sh -c exit 7' returned a non-zero code: 7"),
        "{}",
        ran.stderr
    );
    let context = Context::new("FROM scratch\nCOPPY a b\n");
    let ran = daemon.docker(["build", context.arg()]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.contains("unknown instruction: COPPY"),
        "{}",
        ran.stderr
    );
}

#[test]
fn save_load_info_version_and_prune() {
    let daemon = Daemon::start();
    let context = Context::new("FROM scratch\nCOPY f /f\n").file("f", "x");
    daemon.docker(["build", "-t", "x:1", context.arg()]).ok();
    let archive = daemon.folder().join("x.tar");
    let id = daemon.docker(["inspect", "-f", "{{.Id}}", "x:1"]).ok().stdout;
    daemon
        .docker(["save", "-o", archive.to_str().unwrap(), "x:1"])
        .ok();
    daemon.docker(["rmi", "x:1"]).ok();
    daemon.docker(["builder", "prune", "-af"]).ok();
    let loaded = daemon.docker(["load", "-i", archive.to_str().unwrap()]).ok();
    assert!(loaded.stdout.contains("Loaded image: x:1"), "{}", loaded.stdout);
    assert_eq!(daemon.docker(["inspect", "-f", "{{.Id}}", "x:1"]).ok().stdout, id);
    assert!(daemon.docker(["version"]).ok().stdout.contains("Server:"));
    assert!(daemon.docker(["info"]).ok().stdout.contains("Images: 1"));
    daemon.docker(["image", "prune", "-af"]).ok();
    assert!(daemon.docker(["images", "-q"]).ok().stdout.is_empty());
}
