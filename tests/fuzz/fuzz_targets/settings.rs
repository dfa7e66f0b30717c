//! Any text as micad's daemon.json: settings, or one error that names the file; what is not known is refused and no setting is lost.
#![no_main]
#![allow(dead_code, unused_imports, reason = "the daemon has more in these files than is tried here")]

#[path = "../../../daemon/src"]
mod daemon {
    pub(crate) mod accounts;
    pub(crate) mod config;
    pub(crate) mod error;
    pub(crate) mod log;
    pub(crate) mod rights;
}

use std::path::PathBuf;
use std::sync::OnceLock;

use clap::Parser;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

use crate::daemon::{accounts, config, error, log, rights};

fuzz_target!(|text: &str| {
    let path = file();
    std::fs::write(path, text).expect("a file can be written");
    let arguments = config::Arguments::parse_from(["micad", "--config-file", path.to_str().expect("a text")]);
    match config::Settings::read(arguments) {
        Ok(settings) => {
            let value: Value = serde_json::from_str(text).expect("it was read");
            let count = |key: &str| value.get(key).and_then(Value::as_array).map_or(0, Vec::len);
            assert_eq!(settings.registries.mirrors.len(), count("registry-mirrors"));
            assert_eq!(settings.registries.insecure.len(), count("insecure-registries"));
            assert_eq!(settings.addresses.len(), count("hosts"));
            assert!(settings.root.is_absolute());
            let asked = value.pointer("/builder/entitlements/security-insecure");
            assert_eq!(settings.insecure_allowed, asked == Some(&Value::Bool(true)));
        }
        Err(error) => assert!(error.to_string().len() < 4096 + text.len()),
    }
});

fn file() -> &'static PathBuf {
    static FILE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = FILE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("daemon.json");
        (folder, path)
    });
    path
}
