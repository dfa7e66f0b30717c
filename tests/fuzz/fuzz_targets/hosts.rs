//! Any text as hosts.toml, registries.conf, daemon.json's lists: settings are read or refused with their place, and no mirror gets a registry's credentials.
#![no_main]

use std::path::Path;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use mica_oci::Repository;
use mica_registry::hosts::{Hosts, Purpose, Scheme, Source};
use mica_registry::{Folders, Proxies, Settings, credential_key};

/// The registry that files say something of.
const REGISTRY: &str = "registry.example";

fuzz_target!(|text: &str| {
    let folder = folder();
    std::fs::write(folder.join("registries.conf"), text).expect("a file can be written");
    std::fs::write(folder.join("certs.d").join(REGISTRY).join("hosts.toml"), text)
        .expect("a file can be written");
    let lines: Vec<String> = text.lines().take(40).map(str::to_owned).collect();
    let none = || Folders::none();
    // each file alone, and the lists
    look(
        vec![],
        vec![],
        Folders {
            registries: vec![folder.join("registries.conf")],
            ..none()
        },
        text,
    );
    look(
        vec![],
        vec![],
        Folders {
            certificates: vec![folder.join("certs.d")],
            ..none()
        },
        text,
    );
    look(lines.clone(), vec![], none(), text);
    look(vec![], lines, none(), text);
    let _ = Proxies::from_environment(|_| text.lines().next().map(str::to_owned));
});

fn folder() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        std::fs::create_dir_all(folder.path().join("certs.d").join(REGISTRY)).expect("a folder can be made");
        folder
    });
    folder.path()
}

fn look(mirrors: Vec<String>, insecure: Vec<String>, folders: Folders, text: &str) {
    // of all files only hosts.toml says anything of pushes
    let by_name_alone = folders.certificates.is_empty();
    let settings = Settings {
        mirrors,
        insecure,
        proxies: Proxies::default(),
        folders,
    };
    let hosts = match Hosts::new(settings) {
        Ok(hosts) => hosts,
        Err(error) => return told(&error.to_string(), text),
    };
    for name in ["registry.example/a/b", "docker.io/library/a"] {
        let repository: Repository = name.parse().expect("a repository");
        for purpose in [Purpose::Resolve, Purpose::Pull, Purpose::Push] {
            let endpoints = match hosts.endpoints(&repository, purpose) {
                Ok(endpoints) => endpoints,
                Err(error) => {
                    told(&error.to_string(), text);
                    continue;
                }
            };
            assert!(!endpoints.is_empty(), "a list is never empty");
            assert!(endpoints.len() < 4096);
            for endpoint in &endpoints {
                let root = endpoint.root(Scheme::Https);
                assert!(matches!(root.scheme(), "https"), "{root}");
                assert!(root.username().is_empty() && root.password().is_none(), "{root}");
                let url = endpoint.url(Scheme::Https, "manifests/x");
                assert_eq!(url.origin(), root.origin(), "{url}");
                let own = credential_key(repository.registry()) == endpoint.credential_key();
                assert!(
                    !endpoint.is_origin() || own,
                    "{root} would get the credentials of {name}"
                );
                if purpose == Purpose::Push {
                    assert!(
                        !by_name_alone || *endpoint.source() == Source::Name,
                        "{root} is not who the name names"
                    );
                    assert!(*endpoint.source() != Source::Mirrors, "{root} is only a mirror");
                    // of the list only the registry itself is pushed to, and where the name says
                    assert!(
                        !endpoint.is_origin() || endpoint.path() == repository.path(),
                        "{name} would be pushed to {} of {root}",
                        endpoint.path()
                    );
                }
            }
        }
    }
}

/// What is wrong is told in one text.
fn told(message: &str, text: &str) {
    // what is wrong is repeated, with its letters escaped
    assert!(!message.is_empty() && message.len() < 10 * text.len() + 4096);
}
