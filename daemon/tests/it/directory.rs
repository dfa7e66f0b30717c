//! Settings that name users whom only a directory service knows, which takes its time.

use std::os::unix::fs::PermissionsExt;

use crate::micad::{Micad, command, wait_until};
use crate::running::Log;

/// A daemon that asks a directory service for names, which answers once it is let.
struct Directory {
    micad: Micad,
    log: Log,
    settings: tempfile::NamedTempFile,
    service: tempfile::TempDir,
}

impl Directory {
    fn start() -> Self {
        let service = tempfile::tempdir().unwrap();
        let program = service.path().join("getent");
        let script = "#!/bin/sh\ncd ${0%/*}\necho $3 >> asked\nuntil [ -e open ] || [ ! -e getent ]; do sleep 0.05; done\necho \"$3:x:4242:4242::/:\"\n";
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let settings = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(settings.path(), "{}").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = std::env::var("PATH").unwrap();
        let child = command(folder.path())
            .args(["--config-file", settings.path().to_str().unwrap()])
            .env("PATH", format!("{}:{path}", service.path().display()))
            .spawn()
            .unwrap();
        let mut micad = Micad { child, folder };
        let log = Log::of(&mut micad.child);
        let socket = micad.socket();
        wait_until("it listens", || socket.exists());
        assert_eq!(micad.get("/_ping").text(), "OK");
        Self {
            micad,
            log,
            settings,
            service,
        }
    }

    /// Settings that name this user, taken over as soon as it is known who that is.
    fn reload(&self, user: &str) {
        let text = format!(
            r#"{{"rights": {{"read": {{"users": ["{user}"]}}}}, "registry-mirrors": ["https://{user}.example"]}}"#
        );
        std::fs::write(self.settings.path(), text).unwrap();
        self.micad.signal("HUP");
    }

    /// Whom it was asked for, in this order.
    fn asked(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.service.path().join("asked")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn answer(&self) {
        std::fs::write(self.service.path().join("open"), "").unwrap();
    }
}

#[test]
fn a_directory_that_does_not_answer_keeps_no_signal_from_being_heard() {
    let mut directory = Directory::start();
    directory.reload("first");
    wait_until("it is asked", || directory.asked() == ["first"]);
    assert_eq!(directory.micad.get("/_ping").text(), "OK");
    directory.micad.signal("TERM");
    assert_eq!(directory.micad.left().code(), Some(0));
    let said = directory.log.wait_for("micad leaves");
    assert!(said.contains("it was told to"), "{said}");
    let log = directory.log.text();
    assert!(!log.contains("the settings"), "it waited for them: {log}");
    directory.answer();
}

#[test]
fn settings_that_change_while_others_are_read_are_read_next() {
    let directory = Directory::start();
    directory.reload("first");
    wait_until("it is asked", || directory.asked() == ["first"]);
    directory.reload("second");
    directory.reload("third");
    // when it answers, the signals have been heard
    assert_eq!(directory.micad.get("/_ping").text(), "OK");
    assert_eq!(directory.asked(), ["first"], "one at a time");
    directory.answer();
    let mirrors = || directory.micad.get("/info").json()["RegistryConfig"]["Mirrors"].clone();
    wait_until("the last settings are in force", || {
        mirrors() == serde_json::json!(["https://third.example"])
    });
    assert_eq!(directory.asked(), ["first", "third"]);
}
