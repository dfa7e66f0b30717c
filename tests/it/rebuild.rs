//! A daemon whose database is lost: what it says, and how it gets it again.

use std::process::Command;

use mica_tests::{Context, Daemon, FakeRegistry, binary, run};

/// All names with their images, and the images without one.
fn images(daemon: &Daemon) -> String {
    let format = "{{.Repository}}:{{.Tag}} {{.Digest}} {{.ID}}";
    let listed = daemon.mica(["images", "-a", "--no-trunc", "--digests", "--format", format]);
    listed.ok().stdout
}

#[test]
fn a_lost_database_is_made_again_and_everything_goes_on() {
    let registry = FakeRegistry::start();
    let mut daemon = Daemon::start();
    let context =
        Context::with_shell("FROM base\nCOPY file /file\nRUN cat /file > /made\n").file("file", "text");
    let name = format!("{}/team/app:1", registry.host());
    let build = |daemon: &Daemon| {
        let built = daemon.mica(["build", "-q", "-t", &name, "-t", "app:latest", context.arg()]);
        built.ok().text().to_owned()
    };
    let built = build(&daemon);
    daemon.mica(["push", &name]).ok();
    // another that nobody has looked into: it comes back from the registry
    let other = Context::new("FROM scratch\nCOPY file /other\n").file("file", "other");
    let other_name = format!("{}/team/other:1", registry.host());
    daemon.mica(["build", "-q", "-t", &other_name, other.arg()]).ok();
    daemon.mica(["push", &other_name]).ok();
    daemon.mica(["rmi", &other_name]).ok();
    daemon.mica(["pull", &other_name]).ok();
    let before = images(&daemon);
    assert_eq!(before.lines().count(), 3, "{before}");

    let rebuild = |daemon: &Daemon| {
        let mut command = daemon.command(["system", "check", "--rebuild"]);
        run(command.env("MICA_DATA_ROOT", daemon.root()))
    };
    let refused = rebuild(&daemon);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("stop it first"), "{}", refused.stderr);
    assert_eq!(images(&daemon), before);

    daemon.kill();
    let own = daemon.root().join("mica");
    fs_err::write(own.join("db.sqlite"), "no database at all").unwrap();
    for log in ["db.sqlite-wal", "db.sqlite-shm"] {
        fs_err::remove_file(own.join(log)).unwrap();
    }
    let root = daemon.root();
    let mut micad = Command::new(binary("micad"));
    let failed = run(micad
        .arg("--host")
        .arg(daemon.host())
        .arg("--data-root")
        .arg(&root));
    assert_eq!(failed.code, 1);
    let next_step = format!("\"micad --rebuild --data-root {}\"", root.display());
    assert!(
        failed.stderr.contains("\"mica system check --rebuild\"") && failed.stderr.contains(&next_step),
        "{}",
        failed.stderr
    );

    let done = rebuild(&daemon).ok();
    assert!(
        done.stdout.contains("was made again from mica/refs.json"),
        "{}",
        done.stdout
    );
    assert!(done.stdout.contains("Lost: the build cache"), "{}", done.stdout);
    daemon.spawn();
    assert_eq!(images(&daemon), before);
    let checked = daemon.mica(["system", "check", "--trees"]).ok();
    assert!(checked.stdout.contains("Nothing found"), "{}", checked.stdout);
    build(&daemon);
    daemon.mica(["push", &name]).ok();
    daemon.mica(["push", &other_name]).ok();
    daemon
        .mica([
            "save",
            "-o",
            root.with_file_name("all.tar").to_str().unwrap(),
            &built,
        ])
        .ok();
}
