//! A real distribution: a Debian base made by debootstrap, and packages installed on it.

use std::path::{Path, PathBuf};
use std::process::Command;

use mica_tests::{Context, Daemon, run};

/// A minimal Debian 12 as a tar; made once per machine, as it takes minutes.
fn rootfs() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(|| PathBuf::from("/var/cache"), PathBuf::from);
    let tar = cache.join("mica-tests/debian-bookworm.tar");
    if tar.exists() {
        return tar;
    }
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args(["--variant=minbase", "bookworm"]).arg(&tree);
    if let Some(mirror) = mirror() {
        debootstrap.arg(mirror);
    }
    run(&mut debootstrap).ok();
    fs_err::create_dir_all(tar.parent().unwrap()).unwrap();
    let unfinished = tar.with_extension("unfinished");
    let mut pack = Command::new("tar");
    pack.arg("--numeric-owner")
        .arg("-C")
        .arg(&tree)
        .args(["-cf"])
        .arg(&unfinished)
        .args(["--exclude=./dev/*", "."]);
    run(&mut pack).ok();
    fs_err::rename(&unfinished, &tar).unwrap();
    tar
}

/// The first package source of this machine.
fn mirror() -> Option<String> {
    let sources = sources();
    let lines = sources.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines
        .flat_map(str::split_whitespace)
        .find(|word| word.starts_with("http"))
        .map(str::to_owned)
}

/// This machine's own package sources for its release, as one old-style or new-style list.
fn sources() -> String {
    let folder = fs_err::read_dir("/etc/apt/sources.list.d")
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    let listed = |path: &PathBuf| path.extension().is_some_and(|e| e == "list" || e == "sources");
    let files = folder
        .map(|entry| entry.path())
        .filter(listed)
        .chain([PathBuf::from("/etc/apt/sources.list")]);
    files
        .filter_map(|file| fs_err::read_to_string(file).ok())
        .collect::<Vec<_>>()
        .join("\n")
}

fn copy_apt(from: &Path, to: &Path) {
    run(Command::new("cp").args(["-aL"]).arg(from).arg(to)).ok();
}

#[test]
fn python_is_installed_on_a_debian_base() {
    let daemon = Daemon::start();
    let base = Context::new("FROM scratch\nADD rootfs.tar /\nCMD [\"bash\"]\n");
    // a hard link where that is possible: the tar is big
    let tar = rootfs();
    run(Command::new("cp")
        .arg("--reflink=auto")
        .arg(&tar)
        .arg(base.path().join("rootfs.tar")))
    .ok();
    daemon.mica(["build", "-t", "debian:12", base.arg()]).ok();
    let context = Context::new(
        "FROM debian:12\nCOPY apt /etc/apt/\n\
         RUN apt-get update && apt-get install -y --no-install-recommends python3\n\
         RUN python3 -c 'print(\"sum\", sum(range(101)))'\n",
    );
    copy_apt(Path::new("/etc/apt"), &context.path().join("apt"));
    let built = daemon.mica(["build", "-t", "python", context.arg()]).ok();
    assert!(built.stderr.contains("sum 5050"), "{}", built.stderr);
    let again = daemon.mica(["build", "-t", "python", context.arg()]).ok();
    assert_eq!(
        again.stderr.matches("---> Using cache").count(),
        3,
        "{}",
        again.stderr
    );
    // setuid programs and owners of a real base survive
    let look = Context::new("FROM python\nRUN stat -c '%a %U:%G %n' /bin/su /var/mail /etc/shadow\n");
    let seen = daemon.mica(["build", look.arg()]).ok().stderr;
    for line in [
        "4755 root:root /bin/su",
        "2775 root:mail /var/mail",
        "640 root:shadow /etc/shadow",
    ] {
        assert!(seen.contains(line), "{seen}");
    }
}
