//! `mica system check` on stores that are damaged, and what `--repair` makes of them with a real registry.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use mica_tests::servers::DockerRegistry;
use mica_tests::{Context, Daemon, Ran, run};

/// Builds an image of two layers, one of which a process made.
fn build(daemon: &Daemon, name: &str) -> String {
    let context = Context::with_shell("FROM base\nRUN echo made > /made\nCMD [\"sh\"]\n");
    let built = daemon.mica(["build", "-q", "-t", name, context.arg()]).ok();
    built.text().to_owned()
}

fn id(daemon: &Daemon, name: &str) -> String {
    daemon
        .mica(["inspect", "-f", "{{.Id}}", name])
        .ok()
        .text()
        .to_owned()
}

fn blob(daemon: &Daemon, digest: &str) -> PathBuf {
    let hex = digest.trim_start_matches("sha256:");
    daemon.root().join("blobs/sha256").join(hex)
}

/// The file of the largest blob.
fn largest(daemon: &Daemon) -> PathBuf {
    let blobs = fs_err::read_dir(daemon.root().join("blobs/sha256")).unwrap();
    let paths = blobs.map(|blob| blob.unwrap().path());
    paths.max_by_key(|path| path.metadata().unwrap().len()).unwrap()
}

fn hex(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// One byte of a file, changed.
fn flip(path: &Path) {
    let mut bytes = fs_err::read(path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs_err::write(path, bytes).unwrap();
}

fn check(daemon: &Daemon, args: &[&str]) -> Ran {
    daemon.mica(["system", "check"].iter().chain(args))
}

/// Makes sure that a check ends with this exit code and says these words.
#[track_caller]
fn expect(ran: &Ran, code: i32, words: &[&str]) {
    let told = format!("{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.code, code, "{told}");
    for word in words {
        assert!(told.contains(word), "{word:?} is not in: {told}");
    }
}

#[test]
fn each_level_finds_what_it_looks_for() {
    let daemon = Daemon::start();
    build(&daemon, "made");
    let context = Context::new("FROM scratch\nCOPY large /\n").file("large", &"large ".repeat(50_000));
    daemon.mica(["build", "-t", "app", context.arg()]).ok();
    for level in [&[][..], &["--full"], &["--trees"], &["--level", "full"]] {
        expect(&check(&daemon, level), 0, &["Nothing found"]);
    }
    // a flipped byte shows once all is read
    let tar = largest(&daemon);
    let before = fs_err::read(&tar).unwrap();
    flip(&tar);
    expect(&check(&daemon, &[]), 0, &["Nothing found"]);
    let found = ["1. the tar of layer", "harms image", "app:latest", "1 found"];
    expect(&check(&daemon, &["--full"]), 1, &found);
    expect(&check(&daemon, &["--trees"]), 1, &found);
    // and a shorter file at once
    fs_err::write(&tar, b"short").unwrap();
    expect(&check(&daemon, &[]), 1, &["has 5 bytes instead of"]);
    // for programs, every line is an object
    let told = check(&daemon, &["--format", "json"]);
    assert_eq!(told.code, 1);
    let lines: Vec<serde_json::Value> = told
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let finding = lines.iter().find_map(|line| line.get("Finding")).unwrap();
    assert_eq!(finding["Kind"], "layer-tar");
    assert_eq!(finding["Digest"], format!("sha256:{}", hex(&tar)));
    assert_eq!(finding["Images"][0]["Names"][0], "app:latest");
    let summary = &lines.last().unwrap()["Summary"];
    assert_eq!((&summary["Findings"], &summary["Left"]), (&1.into(), &1.into()));
    fs_err::write(&tar, before).unwrap();
    expect(&check(&daemon, &["--trees"]), 0, &["Nothing found"]);
    // an unpacked layer is only looked into by the last level
    let trees = daemon.root().join("mica/trees");
    let tree = fs_err::read_dir(trees).unwrap().next().unwrap().unwrap().path();
    fs_err::write(tree.join("fs/stranger"), "").unwrap();
    expect(&check(&daemon, &["--full"]), 0, &["Nothing found"]);
    expect(&check(&daemon, &["--trees"]), 1, &["the unpacked layer"]);
    // an odd level is refused
    assert_eq!(check(&daemon, &["--level", "deep"]).code, 125);
}

#[test]
fn what_is_damaged_is_fetched_from_where_it_came() {
    let registry = DockerRegistry::plain();
    let name = registry.name("team/app:1");
    let maker = Daemon::start();
    let made = build(&maker, &name);
    let pushed = maker.mica(["push", &name]).ok();
    let digest = pushed.stdout.split("digest: ").nth(1).unwrap();
    let digest = digest.split_whitespace().next().unwrap().to_owned();

    let mut daemon = Daemon::start();
    daemon.mica(["pull", &name]).ok();
    // nothing is in memory
    daemon.stop();
    daemon.spawn();
    let layer = largest(&daemon);
    let damaged = [layer.clone(), blob(&daemon, &made), blob(&daemon, &digest)];
    let before: Vec<Vec<u8>> = damaged.iter().map(|path| fs_err::read(path).unwrap()).collect();
    damaged.iter().for_each(|path| flip(path));
    expect(&check(&daemon, &["--full"]), 1, &["3 found"]);
    let config = damaged[1].clone();
    let warned = fs_err::read_to_string(daemon.log()).unwrap();
    assert!(!warned.contains("config cannot be read"), "{warned}");
    for _ in 0..3 {
        assert_ne!(daemon.mica(["inspect", &name]).code, 0);
    }
    let warned = fs_err::read_to_string(daemon.log()).unwrap();
    let told = warned
        .lines()
        .filter(|line| line.contains("config cannot be read"));
    assert!(told.clone().all(|line| line.contains(&hex(&config))), "{warned}");
    assert_eq!(told.count(), 1, "{warned}");

    let from = registry.name("team/app");
    let repaired = check(&daemon, &["--full", "--repair"]);
    let words = [
        "mended 1. the config of image",
        "the manifest sha256:",
        "the compressed blob sha256:",
        &format!("was fetched again from {from}"),
        "3 found, all mended",
    ];
    expect(&repaired, 0, &words);
    assert_eq!(
        repaired.stdout.matches("was fetched again").count(),
        3,
        "{}",
        repaired.stdout
    );
    for (path, before) in damaged.iter().zip(&before) {
        assert_eq!(&fs_err::read(path).unwrap(), before);
        assert!(daemon.root().join("mica/bad").join(hex(path)).exists());
    }
    expect(&check(&daemon, &["--trees"]), 0, &["Nothing found"]);

    // all is as it was: built on, pushed as it came, read by others
    assert_eq!(id(&daemon, &name), made);
    let context = Context::new(&format!("FROM {name}\nRUN cat /made\n"));
    let built = daemon.mica(["build", "-t", "on-top", context.arg()]).ok();
    assert!(built.stdout.contains("made") || built.stderr.contains("made"));
    let other = registry.name("team/again:1");
    daemon.mica(["tag", &name, &other]).ok();
    let pushed = daemon.mica(["push", &other]).ok();
    assert!(pushed.stdout.contains(&digest), "{}", pushed.stdout);
    let place = format!("oci:{}:{name}", daemon.root().display());
    let inspected =
        run(std::process::Command::new("skopeo").args(["inspect", "--format", "{{.Digest}}", &place]));
    assert_eq!(inspected.ok().text(), digest);
}

#[test]
fn what_nobody_has_is_set_aside_and_named_until_it_is_pulled_again() {
    let mut registry = DockerRegistry::plain();
    let name = registry.name("team/app:1");
    let maker = Daemon::start();
    let made = build(&maker, &name);
    maker.mica(["push", &name]).ok();
    let mut daemon = Daemon::start();
    daemon.mica(["pull", &name]).ok();
    build(&daemon, "sound");
    daemon.stop();
    daemon.spawn();
    let config = blob(&daemon, &made);
    let layers = daemon
        .mica(["inspect", "-f", "{{json .RootFS.Layers}}", &name])
        .ok()
        .text()
        .to_owned();
    daemon.stop();
    daemon.spawn();
    registry.stop();

    // what was built here is made again, and needs no registry
    flip(&config);
    let repaired = check(&daemon, &["--full", "--repair"]);
    let words = [
        "NOT mended 1. the config of image",
        "it cannot be fetched again",
        &name,
        "set aside at",
        &format!("next: `mica pull {name}`"),
        "1 found: ",
    ];
    expect(&repaired, 1, &words);
    assert!(!config.exists() && daemon.root().join("mica/bad").join(hex(&config)).exists());
    // it is named as long as it is broken, and nothing else is harmed
    expect(&check(&daemon, &[]), 1, &["the config of image", "is not there"]);
    assert_ne!(daemon.mica(["inspect", &name]).code, 0);
    build(&daemon, "sound:2");
    daemon.mica(["images"]).ok();

    registry.spawn();
    daemon.mica(["pull", &name]).ok();
    assert_eq!(id(&daemon, &name), made);
    let again = daemon
        .mica(["inspect", "-f", "{{json .RootFS.Layers}}", &name])
        .ok();
    assert_eq!(again.text(), layers);
    expect(&check(&daemon, &["--trees"]), 0, &["Nothing found"]);
    // or it is done without
    daemon.stop();
    daemon.spawn();
    flip(&config);
    registry.stop();
    expect(&check(&daemon, &["--repair"]), 1, &["NOT mended"]);
    daemon.mica(["rmi", &name]).ok();
    expect(&check(&daemon, &["--trees"]), 0, &["Nothing found"]);
}

#[test]
fn what_a_registry_may_have_that_does_not_answer_is_left_until_it_does() {
    let mut registry = DockerRegistry::plain();
    let name = registry.name("team/app:1");
    let maker = Daemon::start();
    build(&maker, &name);
    let pushed = maker.mica(["push", &name]).ok();
    let digest = pushed.stdout.split("digest: ").nth(1).unwrap();
    let digest = digest.split_whitespace().next().unwrap().to_owned();
    let daemon = Daemon::start();
    daemon.mica(["pull", &name]).ok();
    // its layers are unpacked: a manifest that is made here would not be the one that came
    let context = Context::new(&format!("FROM {name}\nRUN cat /made\n"));
    daemon.mica(["build", "-t", "on-top", context.arg()]).ok();
    let manifest = blob(&daemon, &digest);
    flip(&manifest);
    registry.stop();
    let words = [
        "NOT mended 1. the manifest",
        "it cannot be fetched again",
        "next: repair again once the registry answers",
    ];
    expect(&check(&daemon, &["--repair"]), 1, &words);
    assert!(manifest.exists(), "no other one stands in for it");
    registry.spawn();
    let repaired = check(&daemon, &["--repair"]);
    expect(&repaired, 0, &["was fetched again", "1 found, all mended"]);
    expect(&check(&daemon, &["--full"]), 0, &["Nothing found"]);
}

#[test]
fn a_pull_fetches_what_is_cut_or_gone() {
    let registry = DockerRegistry::plain();
    let name = registry.name("team/app:1");
    let maker = Daemon::start();
    build(&maker, &name);
    maker.mica(["push", &name]).ok();
    let daemon = Daemon::start();
    daemon.mica(["pull", &name]).ok();
    let layer = largest(&daemon);
    let whole = fs_err::read(&layer).unwrap();
    for damage in ["cut", "gone"] {
        match damage {
            "cut" => fs_err::write(&layer, &whole[..100]).unwrap(),
            _ => fs_err::remove_file(&layer).unwrap(),
        }
        let pulled = daemon.mica(["pull", &name]).ok();
        assert!(
            pulled.stderr.contains("Pull complete"),
            "{damage}: {}",
            pulled.stderr
        );
        assert_eq!(fs_err::read(&layer).unwrap(), whole, "{damage}");
        expect(&check(&daemon, &["--trees"]), 0, &["Nothing found"]);
    }
}

#[test]
fn a_repair_shows_who_it_is_to_registries_that_want_to_know() {
    let registry = DockerRegistry::htpasswd("me", "secret");
    let name = registry.name("team/app:1");
    let maker = Daemon::start();
    build(&maker, &name);
    let server = registry.name("");
    let server = server.trim_end_matches('/');
    let log_in = |daemon: &Daemon| {
        let args = ["login", "-u", "me", "--password-stdin", server];
        daemon.mica_fed(args, "secret").ok();
    };
    log_in(&maker);
    maker.mica(["push", &name]).ok();
    let daemon = Daemon::start();
    log_in(&daemon);
    daemon.mica(["pull", &name]).ok();
    flip(&largest(&daemon));
    expect(
        &check(&daemon, &["--full", "--repair"]),
        0,
        &["was fetched again", "1 found, all mended"],
    );
    daemon.mica(["logout", server]).ok();
    flip(&largest(&daemon));
    let refused = check(&daemon, &["--full", "--repair"]);
    expect(
        &refused,
        1,
        &["NOT mended 1. the compressed blob", "it cannot be fetched again"],
    );
}

#[test]
fn a_repair_ends_with_its_client() {
    let mut registry = DockerRegistry::plain();
    let name = registry.name("team/app:1");
    let maker = Daemon::start();
    build(&maker, &name);
    maker.mica(["push", &name]).ok();
    let daemon = Daemon::start();
    daemon.mica(["pull", &name]).ok();
    let layer = largest(&daemon);
    flip(&layer);
    registry.stop();
    // somebody who listens and never says anything
    let silent = std::net::TcpListener::bind(registry.address()).unwrap();
    let mut client = daemon.command(["system", "check", "--full", "--repair"]);
    let mut client = client
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut asked, _) = silent.accept().unwrap();
    client.kill().unwrap();
    client.wait().unwrap();
    // the question is taken back; whether by an end or a reset does not matter
    let _ = asked.read_to_end(&mut Vec::new());
    // and nothing was given up for want of an answer
    assert!(layer.exists());
    expect(&check(&daemon, &[]), 0, &["Nothing found"]);
}
