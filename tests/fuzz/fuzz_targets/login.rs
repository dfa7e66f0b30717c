//! Any text as docker's config.json or podman's auth.json: read or refused without a word of what is in it, and what is kept is read again.
#![no_main]
#![allow(
    dead_code,
    reason = "the command line has more in these files than is tried here"
)]

#[path = "../../../cli/src/error.rs"]
mod error;
#[path = "../../../cli/src/program.rs"]
mod program;
#[path = "../../../cli/src/credentials"]
mod credentials {
    mod config;
    mod entry;
    mod helper;
    mod server;

    use self::config::{Config, Matching};
    use self::server::Target;

    /// Reads a file as both programs do and looks for servers.
    pub(crate) fn look(text: &str) {
        for matching in [Matching::Docker, Matching::Podman] {
            let config = match Config::parse("here".to_owned(), matching, text) {
                Ok(config) => config,
                Err(error) => {
                    silent(&error.to_string(), text);
                    continue;
                }
            };
            for name in [
                "docker.io/library/a",
                "registry.example/a/b/c",
                "localhost:5000/x",
            ] {
                let target = Target::repository(&name.parse().expect("a repository"));
                match config.find(&target) {
                    Ok(Some(found)) => kept(&found),
                    Ok(None) => {}
                    Err(error) => assert!(error.to_string().contains("cannot be used"), "{error}"),
                }
                let _ = config.helper(&target);
            }
            for key in config.keys() {
                if let Ok(Some(found)) = config.entry(key) {
                    assert_eq!(&found.serveraddress, key);
                    kept(&found);
                }
            }
        }
    }

    /// A message holds nothing of the file that is longer than a few letters.
    fn silent(message: &str, text: &str) {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric());
        for word in words.filter(|word| word.len() > 12) {
            assert!(!message.contains(word), "{message:?} repeats {word:?}");
        }
    }

    /// What would be written of an entry says the same.
    fn kept(found: &mica_api::AuthConfig) {
        if found.username.contains(':')
            || found.password.contains('\0')
            || found.username == entry::TOKEN_USER
        {
            return;
        }
        let written = entry::written(found);
        let again = entry::read(&found.serveraddress, &written).expect("it was written here");
        assert_eq!(
            (
                &again.username,
                &again.password,
                &again.identitytoken,
                &again.registrytoken
            ),
            (
                &found.username,
                &found.password,
                &found.identitytoken,
                &found.registrytoken
            )
        );
        // of two passwords nobody can tell which it is
        let other = mica_api::AuthConfig {
            password: format!("{}x", found.password),
            ..found.clone()
        };
        assert!(found.password.is_empty() || format!("{found:?}") == format!("{other:?}"));
    }
}

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| credentials::look(text));
