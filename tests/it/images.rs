//! Images by their names: listing, tags, removal, archives, and what other tools make of the store.

use std::process::Command;

use mica_tests::{Context, Daemon, run};

#[test]
fn an_image_answers_to_every_name_it_has() {
    let daemon = Daemon::start();
    let context = Context::new("FROM scratch\nLABEL a=b\n");
    let id = daemon
        .mica(["build", "-q", "-t", "ghcr.io/o/n:1", context.arg()])
        .ok()
        .text()
        .to_owned();
    daemon.mica(["tag", &id, "n"]).ok();
    let hex = &id["sha256:".len()..];
    for name in [
        id.as_str(),
        hex,
        &hex[..12],
        &hex[..6],
        "ghcr.io/o/n:1",
        "n",
        "n:latest",
        "docker.io/library/n",
    ] {
        assert_eq!(
            daemon.mica(["inspect", "-f", "{{.Id}}", name]).ok().text(),
            id,
            "{name}"
        );
        // FROM takes the same names
        let child = Context::new(&format!("FROM {name}\nLABEL c=d\n"));
        daemon.mica(["build", "-q", child.arg()]).ok();
    }
    let conflict = daemon.mica(["rmi", &hex[..12]]);
    assert_eq!(conflict.code, 1);
    assert!(
        conflict
            .stderr
            .contains("image is referenced in multiple repositories"),
        "{}",
        conflict.stderr
    );
    daemon.mica(["rmi", "-f", &hex[..12]]).ok();
    assert_eq!(daemon.mica(["inspect", "n"]).code, 1);
}

#[test]
fn a_tag_that_moves_leaves_its_image_dangling_until_pruned() {
    let daemon = Daemon::start();
    for label in ["a=1", "a=2"] {
        let context = Context::new(&format!("FROM scratch\nLABEL {label}\n"));
        daemon.mica(["build", "-t", "x", context.arg()]).ok();
    }
    let listed = |args: &[&str]| {
        daemon
            .mica([&["images", "-q"], args].concat())
            .ok()
            .stdout
            .lines()
            .count()
    };
    assert_eq!(listed(&[]), 2);
    assert_eq!(listed(&["--filter", "dangling=true"]), 1);
    assert_eq!(listed(&["--filter", "label=a=2"]), 1);
    assert_eq!(listed(&["--filter", "reference=x*"]), 1);
    daemon.mica(["image", "prune", "-f"]).ok();
    assert_eq!(listed(&[]), 1);
}

#[test]
fn skopeo_reads_what_is_saved_and_what_it_writes_is_loaded() {
    let daemon = Daemon::start();
    let context = Context::with_shell("FROM base\nRUN echo made > /by-run\nCOPY f /f\n").file("f", "x");
    let id = daemon
        .mica(["build", "-q", "-t", "x:1", context.arg()])
        .ok()
        .text()
        .to_owned();
    let path = |name: &str| daemon.folder().join(name).to_str().unwrap().to_owned();
    daemon.mica(["save", "-o", &path("x.tar"), "x:1"]).ok();
    let skopeo = |args: &[&str]| run(Command::new("skopeo").arg("--insecure-policy").args(args)).ok();
    skopeo(&[
        "copy",
        &format!("docker-archive:{}", path("x.tar")),
        &format!("oci-archive:{}:y:1", path("y.tar")),
    ]);
    skopeo(&[
        "copy",
        &format!("oci-archive:{}", path("x.tar")),
        &format!("docker-archive:{}:z:1", path("z.tar")),
    ]);
    daemon.mica(["rmi", "x:1"]).ok();
    daemon.mica(["builder", "prune", "-af"]).ok();
    // skopeo compresses layers in OCI archives
    daemon.mica(["load", "-i", &path("y.tar")]).ok();
    daemon.mica(["load", "-i", &path("z.tar")]).ok();
    assert_eq!(daemon.mica(["inspect", "-f", "{{.Id}}", "z:1"]).ok().text(), id);
    let context = Context::new("FROM z:1\nRUN cat /by-run /f\n");
    let ran = daemon.mica(["build", context.arg()]).ok();
    assert!(ran.stderr.contains("made\nx"), "{}", ran.stderr);
}

#[test]
fn a_second_daemon_on_the_same_store_is_refused() {
    let daemon = Daemon::start();
    let second = run(Command::new(mica_tests::binary("micad"))
        .args([
            "--host",
            &format!("unix://{}", daemon.folder().join("second.sock").display()),
        ])
        .args(["--data-root", daemon.root().to_str().unwrap()]));
    assert_eq!(second.code, 1);
    assert!(
        second.stderr.contains(&daemon.pid().to_string()),
        "{}",
        second.stderr
    );
}

#[test]
fn trouble_in_the_background_is_told_by_info() {
    let mut daemon = Daemon::start();
    assert!(!daemon.mica(["info"]).ok().stderr.contains("WARNING"));
    daemon.kill();
    let stuck = daemon.root().join("mica/trash/stuck");
    fs_err::create_dir(&stuck).unwrap();
    fs_err::write(stuck.join("file"), "x").unwrap();
    let mark = |flag: &str| run(Command::new("chattr").arg(flag).arg(&stuck)).code == 0;
    if !mark("+i") {
        eprintln!("skipped: nothing can be made immutable here");
        return;
    }
    daemon.spawn();
    let started = std::time::Instant::now();
    let told = loop {
        let ran = daemon.mica(["info"]).ok();
        let text = format!("{}{}", ran.stdout, ran.stderr);
        if text.contains("trash") || started.elapsed() > std::time::Duration::from_secs(60) {
            break text;
        }
    };
    assert!(mark("-i"), "the mark can be taken off again");
    assert!(told.contains("trash"), "{told}");
}
