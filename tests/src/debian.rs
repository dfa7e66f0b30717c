//! A Debian to build on: made by debootstrap from this machine's own package sources.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::output::run;

/// A minimal Debian 12 as a tar; made once per machine, as it takes minutes.
///
/// # Panics
/// If it cannot be made.
pub fn debian_rootfs() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(|| PathBuf::from("/var/cache"), PathBuf::from);
    let tar = cache.join("mica-tests/debian-bookworm.tar");
    if tar.exists() {
        return tar;
    }
    let folder = tempfile::tempdir().expect("a folder can be made");
    let tree = folder.path().join("tree");
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args(["--variant=minbase", "bookworm"]).arg(&tree);
    if let Some(mirror) = mirror() {
        debootstrap.arg(mirror);
    }
    run(&mut debootstrap).ok();
    fs_err::create_dir_all(tar.parent().expect("it lies in a folder")).expect("folders can be made");
    let unfinished = tar.with_extension("unfinished");
    let mut pack = Command::new("tar");
    pack.arg("--numeric-owner")
        .arg("-C")
        .arg(&tree)
        .args(["-cf"])
        .arg(&unfinished)
        .args(["--exclude=./dev/*", "."]);
    run(&mut pack).ok();
    fs_err::rename(&unfinished, &tar).expect("files can be renamed");
    tar
}

/// Puts that tar at a path; a shared copy where that is possible, as it is big.
pub fn put_debian_rootfs(to: &Path) {
    run(Command::new("cp")
        .arg("--reflink=auto")
        .arg(debian_rootfs())
        .arg(to))
    .ok();
}

/// Copies this machine's package sources and their keys to a folder that becomes `/etc/apt`.
pub fn copy_apt(to: &Path) {
    run(Command::new("cp").args(["-aL", "/etc/apt"]).arg(to)).ok();
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
