//! The Debian package: what is in it, and that it can be installed, used, removed and purged.

use std::path::{Path, PathBuf};
use std::process::Command;

use mica_tests::{binary, run};

fn exists(program: &str) -> bool {
    run(Command::new("sh").args(["-c", "command -v \"$0\"", program])).code == 0
}

/// Makes the package of the binaries of this build.
fn package(folder: &Path) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/deb");
    let micad = binary("micad");
    let made = run(Command::new(script)
        .args(["--fast", "--bin"])
        .arg(micad.parent().unwrap())
        .arg(folder)
        .env("SOURCE_DATE_EPOCH", "1700000000"));
    PathBuf::from(made.ok().text())
}

#[test]
fn the_package_has_all_that_belongs_in_it_and_works() {
    if !exists("dpkg-shlibdeps") || !exists("strip") {
        println!("skipped: dpkg-dev and binutils are not there to make a package");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let package = package(folder.path());
    let again = self::package(&folder.path().join("again"));
    assert_eq!(
        fs_err::read(&package).unwrap(),
        fs_err::read(again).unwrap(),
        "the same each time"
    );
    let listed = run(Command::new("dpkg-deb").arg("--contents").arg(&package))
        .ok()
        .stdout;
    for line in [
        "-rwxr-xr-x root/root ./usr/bin/mica",
        "-rwxr-xr-x root/root ./usr/bin/micad",
        "-rw-r--r-- root/root ./lib/systemd/system/micad.service",
        "-rw-r--r-- root/root ./lib/systemd/system/micad.socket",
        "-rw-r--r-- root/root ./usr/lib/systemd/user/micad.socket",
        "-rw-r--r-- root/root ./usr/lib/sysusers.d/mica.conf",
        "-rw-r--r-- root/root ./usr/lib/tmpfiles.d/mica.conf",
        "-rw-r--r-- root/root ./usr/share/man/man1/mica-doctor.1.gz",
        "-rw-r--r-- root/root ./usr/share/man/man5/mica-daemon.json.5.gz",
        "-rw-r--r-- root/root ./usr/share/man/man8/micad.8.gz",
        "-rw-r--r-- root/root ./usr/share/bash-completion/completions/mica",
        "-rw-r--r-- root/root ./usr/share/zsh/vendor-completions/_mica",
        "-rw-r--r-- root/root ./usr/share/fish/vendor_completions.d/mica.fish",
        "-rw-r--r-- root/root ./usr/share/doc/mica/copyright",
        "-rw-r--r-- root/root ./etc/mica/daemon.json",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let is_there = |own: &str| {
            words
                .iter()
                .all(|word| own.split_whitespace().any(|part| part == *word))
        };
        assert!(listed.lines().any(is_there), "{line}\n{listed}");
    }
    let fields = run(Command::new("dpkg-deb").arg("--field").arg(&package))
        .ok()
        .stdout;
    assert!(fields.contains("Depends: libc6 (>= "), "{fields}");
    let root = folder.path().join("root");
    run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&root)).ok();
    for program in ["mica", "micad"] {
        let ran = run(Command::new(root.join("usr/bin").join(program)).arg("--version")).ok();
        assert!(ran.stdout.contains(env!("CARGO_PKG_VERSION")), "{}", ran.stdout);
    }
    let settings = root.join("etc/mica/daemon.json");
    run(Command::new(root.join("usr/bin/micad"))
        .args(["--check-config", "--config-file"])
        .arg(settings))
    .ok();
    match exists("lintian") {
        true => {
            let found = run(Command::new("lintian")
                .args(["--allow-root", "--fail-on", "error,warning"])
                .arg(&package));
            assert_eq!(found.code, 0, "{}", found.stdout);
        }
        false => println!("skipped: lintian is not there to look at the package"),
    }
}

#[test]
fn the_package_is_installed_removed_and_purged() {
    if !exists("dpkg-shlibdeps") || !exists("strip") || !rustix::process::geteuid().is_root() {
        println!("skipped: only root can install a package, and only where one can be made");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let package = package(folder.path());
    let root = folder.path().join("root");
    fs_err::create_dir_all(root.join("var/lib/dpkg")).unwrap();
    fs_err::create_dir_all(root.join("etc")).unwrap();
    fs_err::write(root.join("var/lib/dpkg/status"), "").unwrap();
    fs_err::write(root.join("etc/group"), "root:x:0:\n").unwrap();
    // scripts run on this machine's programs and change only what is below the root
    let dpkg = |arguments: &[&str]| {
        let mut command = Command::new("dpkg");
        command.arg(format!("--root={}", root.display()));
        command
            .args(["--force-script-chrootless", "--force-depends"])
            .args(arguments);
        run(&mut command).ok()
    };
    let path = package.to_str().unwrap();
    dpkg(&["--install", path]);
    let group = || fs_err::read_to_string(root.join("etc/group")).unwrap();
    assert_eq!(group().matches("\nmica:x:").count(), 1, "{}", group());
    let wanted = root.join("etc/systemd/system/sockets.target.wants/micad.socket");
    assert!(fs_err::symlink_metadata(&wanted).is_ok(), "the socket is enabled");
    // what an administrator wrote is not overwritten
    let settings = root.join("etc/mica/daemon.json");
    fs_err::write(&settings, r#"{"log-level": "debug"}"#).unwrap();
    dpkg(&["--force-confold", "--install", path]);
    assert!(fs_err::read_to_string(&settings).unwrap().contains("debug"));
    assert_eq!(group().matches("\nmica:x:").count(), 1, "{}", group());
    dpkg(&["--remove", "mica"]);
    assert!(settings.exists() && !root.join("usr/bin/micad").exists());
    dpkg(&["--purge", "mica"]);
    assert!(!settings.exists() && fs_err::symlink_metadata(&wanted).is_err());
}
