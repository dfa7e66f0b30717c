//! `mica doctor` with a daemon and without one.

use mica_tests::{Daemon, Ran};
use serde_json::Value;

fn findings(ran: &Ran) -> Vec<Value> {
    let findings: Value =
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    findings.as_array().unwrap().clone()
}

fn about<'a>(findings: &'a [Value], name: &str) -> &'a Value {
    let found = findings.iter().find(|finding| finding["about"] == name);
    found.unwrap_or_else(|| panic!("nothing about {name}: {findings:?}"))
}

#[test]
fn a_machine_is_looked_at_with_a_daemon_and_without() {
    let mut daemon = Daemon::start();
    let ran = daemon.mica(["doctor", "--format", "json"]);
    let with = findings(&ran);
    assert_eq!(about(&with, "socket")["grade"], "ok");
    assert_eq!(about(&with, "daemon")["grade"], "ok");
    let root = daemon.root().display().to_string();
    assert!(
        about(&with, "disk space")["found"]
            .as_str()
            .unwrap()
            .contains(&root)
    );
    for name in [
        "kernel",
        "overlayfs",
        "system calls",
        "control groups",
        "emulators",
        "docker config",
        "proxies",
    ] {
        about(&with, name);
    }
    for finding in &with {
        let is_good = finding["grade"] == "ok";
        assert_eq!(finding.get("remedy").is_none(), is_good, "{finding}");
    }
    let fails = with.iter().any(|finding| finding["grade"] == "fail");
    assert_eq!(ran.code, i32::from(fails), "{ran:?}");

    daemon.stop();
    let without = findings(&daemon.mica(["doctor", "--format", "json"]));
    let socket = about(&without, "socket");
    assert_eq!(socket["grade"], "warn");
    assert!(
        socket["found"].as_str().unwrap().contains("no daemon is running"),
        "{socket}"
    );
    assert!(!without.iter().any(|finding| finding["about"] == "daemon"));
    let text = daemon.mica(["doctor"]);
    assert!(text.stdout.contains("warn  socket"), "{}", text.stdout);
}

#[test]
fn a_credential_helper_that_is_not_there_fails() {
    let daemon = Daemon::start();
    let folder = daemon.folder().join("docker-config");
    fs_err::create_dir_all(&folder).unwrap();
    fs_err::write(folder.join("config.json"), r#"{"credsStore": "no-such-helper"}"#).unwrap();
    let ran = daemon.mica(["doctor"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.stdout.contains("docker-credential-no-such-helper"),
        "{}",
        ran.stdout
    );
}
