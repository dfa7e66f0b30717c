//! `mica doctor` with a daemon and without one.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use mica_tests::registry::Options as RegistryOptions;
use mica_tests::servers::ConnectProxy;
use mica_tests::{Daemon, FakeRegistry, Options, Ran, binary};
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

/// A user that no machine has.
const READER: u32 = 700_001;

/// What is found of a registry where none can be pushed to.
fn unreached(ran: &Ran) -> (String, String) {
    assert_eq!(ran.code, 1, "{ran:?}");
    let found = findings(ran);
    assert!(
        !found.iter().any(|finding| finding["about"] == "push"),
        "{found:?}"
    );
    let registry = about(&found, "registry");
    assert_eq!(registry["grade"], "fail");
    let text = |key: &str| registry[key].as_str().unwrap().to_owned();
    assert!(!text("remedy").contains("login"), "{registry}");
    (text("found"), text("remedy"))
}

#[test]
fn a_registry_that_cannot_be_reached_is_told_by_what_is_in_the_way() {
    let tls = FakeRegistry::with(RegistryOptions {
        tls: true,
        ..RegistryOptions::default()
    });
    let plain = FakeRegistry::start();
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let ways = [
        ("tls.example:443", at(tls.port())),
        ("plain.example:443", at(plain.port())),
    ];
    let proxy = ConnectProxy::start(&ways);
    let options = Options::default()
        .env("HTTPS_PROXY", proxy.url())
        .env("NO_PROXY", "127.0.0.1,.invalid");
    let daemon = Daemon::with(options);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (host, remedy) in [
        (closed.to_string(), "host and port"),
        ("no-such-registry.invalid".to_owned(), "/etc/resolv.conf"),
        ("tls.example".to_owned(), "certs.d/tls.example/ca.crt"),
        ("plain.example".to_owned(), "insecure-registries"),
        ("elsewhere.example".to_owned(), "NO_PROXY=elsewhere.example"),
    ] {
        let ran = daemon.mica(["doctor", "--format", "json", &format!("{host}/team/app")]);
        let (found, told) = unreached(&ran);
        assert!(found.contains(&host), "{found}");
        assert!(told.contains(remedy), "{host}: {found} {told}");
    }
}

#[test]
fn a_user_who_may_not_ask_registries_is_told_which_right_is_missing() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can become somebody else");
        return;
    }
    let settings = format!(r#"{{"rights": {{"read": {{"users": ["{READER}"]}}}}}}"#);
    let daemon = Daemon::with(Options::default().settings(settings));
    let registry = FakeRegistry::start();
    // where the program was built others may not go
    let program = daemon.folder().join("mica-of-all");
    fs_err::copy(binary("mica"), &program).unwrap();
    fs_err::set_permissions(daemon.folder(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new("setpriv")
        .args([&format!("--reuid={READER}"), "--regid=700000", "--clear-groups"])
        .arg(&program)
        .args([
            "doctor",
            "--format",
            "json",
            &format!("{}/team/app", registry.host()),
        ])
        .env("MICA_HOST", daemon.host())
        .env("MICA_NO_START", "1")
        .env("DOCKER_CONFIG", "/nonexistent")
        .output()
        .unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = found.as_array().unwrap();
    assert_eq!(about(found, "daemon")["grade"], "ok", "{found:?}");
    let rights = about(found, "rights");
    assert_eq!(rights["grade"], "fail");
    let text = rights["found"].as_str().unwrap();
    assert!(
        text.contains("\"build\"") && text.contains(&READER.to_string()),
        "{text}"
    );
    assert!(
        rights["remedy"]
            .as_str()
            .unwrap()
            .contains("systemctl reload micad")
    );
    assert!(!found.iter().any(|finding| finding["about"] == "push"));
    assert!(registry.requests().is_empty());
}
