//! Which hosts serve a repository, under every kind of setting.

use std::path::Path;

use mica_registry::hosts::{Folders, HostError, Hosts, Proxies, Purpose, Scheme, Security, Settings, Source};
use tempfile::TempDir;

/// Settings files, by their paths below a folder that stands for /etc.
struct Etc(TempDir);

impl Etc {
    fn new(files: &[(&str, &str)]) -> Self {
        let etc = Self(tempfile::tempdir().unwrap());
        etc.write(files);
        etc
    }

    fn write(&self, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = self.0.path().join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
    }

    fn folders(&self) -> Folders {
        let at = |name: &str| vec![self.0.path().join(name)];
        Folders {
            certificates: at("certs.d"),
            registries: at("registries.conf"),
            registries_more: at("registries.conf.d"),
        }
    }

    fn hosts(&self, mirrors: &[&str], insecure: &[&str]) -> Result<Hosts, HostError> {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        Hosts::new(Settings {
            mirrors: texts(mirrors),
            insecure: texts(insecure),
            proxies: Proxies::default(),
            folders: self.folders(),
        })
    }

    fn shown(&self, error: &HostError) -> String {
        error.to_string().replace(self.0.path().to_str().unwrap(), "ETC")
    }
}

/// Each endpoint as `[*]address[ ns=NAMESPACE]`, with `*` for the registry itself and `!` for insecure ones.
fn shown(hosts: &Hosts, name: &str, purpose: Purpose) -> Vec<String> {
    let endpoints = hosts.endpoints(&name.parse().unwrap(), purpose).unwrap();
    let show = |e: &mica_registry::hosts::Endpoint| {
        let origin = if e.is_origin() { "*" } else { "" };
        let security = match e.security() {
            Security::Unverified | Security::Insecure => "!",
            Security::Verified | Security::Plain => "",
        };
        let namespace = e.namespace().map(|ns| format!(" ns={ns}")).unwrap_or_default();
        format!("{origin}{security}{e}{namespace}")
    };
    endpoints.iter().map(show).collect()
}

#[test]
fn without_settings_a_registry_is_where_its_name_says() {
    let hosts = Etc::new(&[])
        .hosts(&[], &["10.0.0.0/8", "plain.example:5000"])
        .unwrap();
    for (name, expected) in [
        ("busybox", "*https://registry-1.docker.io/v2/library/busybox"),
        ("ghcr.io/o/n", "*https://ghcr.io/v2/o/n"),
        ("r.example:5000/n", "*https://r.example:5000/v2/n"),
        ("localhost/n", "*!localhost/v2/n"),
        ("127.0.0.9:5000/n", "*!127.0.0.9:5000/v2/n"),
        ("[::1]:5000/n", "*![::1]:5000/v2/n"),
        ("10.1.1.1/n", "*!10.1.1.1/v2/n"),
        ("192.168.1.1/n", "*https://192.168.1.1/v2/n"),
        ("plain.example:5000/n", "*!plain.example:5000/v2/n"),
        ("plain.example/n", "*https://plain.example/v2/n"),
    ] {
        for purpose in [Purpose::Resolve, Purpose::Pull, Purpose::Push] {
            assert_eq!(shown(&hosts, name, purpose), [expected], "{name}");
        }
    }
    let error = hosts
        .endpoints(&"r.example:99999/n".parse().unwrap(), Purpose::Pull)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "\"r.example:99999\" is no address of a registry: expected host or host:port"
    );
}

#[test]
fn mirrors_of_docker_hub_serve_its_pulls_only() {
    let etc = Etc::new(&[]);
    let hosts = etc
        .hosts(
            &["https://m.example", "http://n.example:5000/", "https://i.example"],
            &["i.example"],
        )
        .unwrap();
    let origin = "*https://registry-1.docker.io/v2/library/busybox";
    let mirrored = [
        "https://m.example/v2/library/busybox",
        "http://n.example:5000/v2/library/busybox",
        "!https://i.example/v2/library/busybox",
        origin,
    ];
    assert_eq!(shown(&hosts, "busybox", Purpose::Resolve), mirrored);
    assert_eq!(shown(&hosts, "busybox", Purpose::Pull), mirrored);
    assert_eq!(shown(&hosts, "busybox", Purpose::Push), [origin]);
    assert_eq!(
        shown(&hosts, "ghcr.io/o/n", Purpose::Pull),
        ["*https://ghcr.io/v2/o/n"]
    );
    let endpoints = hosts
        .endpoints(&"busybox".parse().unwrap(), Purpose::Pull)
        .unwrap();
    assert_eq!(endpoints[0].source(), &Source::Mirrors);
    assert_eq!(endpoints[0].credential_key(), "m.example");
    assert_eq!(endpoints[3].source(), &Source::Name);
    assert_eq!(endpoints[3].credential_key(), "https://index.docker.io/v1/");
}

#[test]
fn hosts_toml_names_hosts_and_what_they_can() {
    let file = r#"
        server = "https://docker.io"
        [host."https://pull.example"]
        capabilities = ["pull"]
        [host."https://both.example/cache"]
        capabilities = ["pull", "resolve"]
        header = { x-key = "1" }
        [host."http://all.example:5000"]
        [host."both.example/raw"]
        override_path = true
        capabilities = ["resolve"]
        [host."https://registry-1.docker.io"]
        capabilities = ["push"]
    "#;
    let etc = Etc::new(&[("certs.d/docker.io/hosts.toml", file)]);
    let hosts = etc.hosts(&[], &[]).unwrap();
    let pull = "https://pull.example/v2/o/n ns=docker.io";
    let both = "https://both.example/cache/v2/o/n ns=docker.io";
    let all = "http://all.example:5000/v2/o/n ns=docker.io";
    let raw = "https://both.example/raw/o/n ns=docker.io";
    let hub = "*https://registry-1.docker.io/v2/o/n";
    assert_eq!(shown(&hosts, "o/n", Purpose::Pull), [pull, both, all, hub]);
    assert_eq!(shown(&hosts, "o/n", Purpose::Resolve), [both, all, raw, hub]);
    // the registry is among its own mirrors: it is asked once
    assert_eq!(shown(&hosts, "o/n", Purpose::Push), [all, hub]);
    let endpoints = hosts
        .endpoints(&"o/n".parse().unwrap(), Purpose::Resolve)
        .unwrap();
    assert_eq!(endpoints[0].headers()["x-key"], "1");
    assert!(endpoints[1].headers().is_empty());
    assert_eq!(
        endpoints[0].url(Scheme::Https, "manifests/latest").as_str(),
        "https://both.example/cache/v2/o/n/manifests/latest?ns=docker.io"
    );
}

#[test]
fn folders_of_hosts_are_found_by_any_of_their_names() {
    let closed = "server = \"https://m.example\"\ncapabilities = [\"pull\"]\nskip_verify = true";
    let any = "[host.\"https://any.example\"]\ncapabilities = [\"pull\"]";
    let etc = Etc::new(&[
        ("certs.d/closed.example/hosts.toml", closed),
        ("certs.d/local.example_5000_/hosts.toml", "skip_verify = true"),
        ("certs.d/localhost:5000/hosts.toml", "skip_verify = false"),
        ("certs.d/_default/hosts.toml", any),
        ("certs.d/empty.example/ca.txt", ""),
    ]);
    let hosts = etc.hosts(&[], &[]).unwrap();
    for (name, purpose, expected) in [
        (
            "closed.example/n",
            Purpose::Pull,
            &["!https://m.example/v2/n ns=closed.example"][..],
        ),
        (
            "local.example:5000/n",
            Purpose::Push,
            &["*!https://local.example:5000/v2/n"],
        ),
        (
            "localhost:5000/n",
            Purpose::Push,
            &["*https://localhost:5000/v2/n"],
        ),
        (
            "other.example/n",
            Purpose::Pull,
            &[
                "https://any.example/v2/n ns=other.example",
                "*https://other.example/v2/n",
            ],
        ),
        ("other.example/n", Purpose::Push, &["*https://other.example/v2/n"]),
        ("empty.example/n", Purpose::Pull, &["*https://empty.example/v2/n"]),
    ] {
        assert_eq!(shown(&hosts, name, purpose), expected, "{name} {purpose:?}");
    }
    let error = hosts
        .endpoints(&"closed.example/n".parse().unwrap(), Purpose::Push)
        .unwrap_err();
    assert_eq!(
        etc.shown(&error),
        "no host of closed.example may be used to push: see ETC/certs.d/closed.example/hosts.toml"
    );
}

#[test]
fn registries_conf_moves_names_blocks_them_and_has_mirrors() {
    let etc = Etc::new(&[
        (
            "registries.conf",
            r#"
            [[registry]]
            prefix = "a.example/team"
            location = "b.example:5000/x"
            insecure = true
            [[registry.mirror]]
            location = "m.example/y"
            [[registry.mirror]]
            location = "n.example"
            insecure = true
            pull-from-mirror = "digest-only"
            [[registry]]
            location = "bad.example"
            "#,
        ),
        (
            "registries.conf.d/10.conf",
            "[[registry]]\nlocation = \"bad.example\"\nblocked = true",
        ),
        (
            "registries.conf.d/20.conf",
            "[[registry]]\nprefix = \"c.example\"\nlocation = \"docker.io\"",
        ),
        ("registries.conf.d/30.txt", "not read"),
    ]);
    let hosts = etc.hosts(&["https://hub.example"], &[]).unwrap();
    for (name, purpose, expected) in [
        (
            "a.example/team/n",
            Purpose::Pull,
            &[
                "https://m.example/v2/y/n",
                "!n.example/v2/n",
                "!b.example:5000/v2/x/n",
            ][..],
        ),
        (
            "a.example/team/n",
            Purpose::Resolve,
            &["https://m.example/v2/y/n", "!b.example:5000/v2/x/n"],
        ),
        ("a.example/team/n", Purpose::Push, &["*!a.example/v2/team/n"]),
        ("a.example/other", Purpose::Pull, &["*https://a.example/v2/other"]),
        (
            "c.example/n",
            Purpose::Pull,
            &["https://registry-1.docker.io/v2/library/n"],
        ),
    ] {
        assert_eq!(shown(&hosts, name, purpose), expected, "{name} {purpose:?}");
    }
    for purpose in [Purpose::Resolve, Purpose::Pull, Purpose::Push] {
        let error = hosts
            .endpoints(&"bad.example/n".parse().unwrap(), purpose)
            .unwrap_err();
        assert_eq!(
            etc.shown(&error),
            "bad.example/n is blocked by ETC/registries.conf.d/10.conf"
        );
    }
}

#[test]
fn a_file_is_read_when_it_is_needed_and_its_mistakes_are_told_then() {
    let etc = Etc::new(&[("certs.d/r.example/hosts.toml", "x = 1\ncapabilities = 2\n")]);
    let hosts = etc.hosts(&[], &[]).unwrap();
    assert_eq!(
        shown(&hosts, "s.example/n", Purpose::Pull),
        ["*https://s.example/v2/n"]
    );
    let ask = || hosts.endpoints(&"r.example/n".parse().unwrap(), Purpose::Pull);
    let message = etc.shown(&ask().unwrap_err());
    assert!(
        message.starts_with("ETC/certs.d/r.example/hosts.toml: line 2, column 16: "),
        "{message}"
    );
    etc.write(&[("certs.d/r.example/hosts.toml", "")]);
    assert_eq!(ask().unwrap().len(), 1);
    etc.write(&[("certs.d/r.example/client.cert", "")]);
    assert!(matches!(ask(), Err(HostError::Unpaired { .. })));
    // a mirror's folder is read for the registry it serves
    etc.write(&[
        ("certs.d/s.example/hosts.toml", "[host.\"https://r.example\"]"),
        ("registries.conf", "[[registry]]\nlocation = \"x\""),
    ]);
    let mirrored = hosts.endpoints(&"s.example/n".parse().unwrap(), Purpose::Pull);
    assert!(matches!(mirrored, Err(HostError::Unpaired { .. })));
    let message = etc.shown(&etc.hosts(&[], &[]).unwrap_err());
    assert!(
        message.starts_with("ETC/registries.conf: line 2, column 12: "),
        "{message}"
    );
}

#[test]
fn no_settings_are_no_mistake() {
    let folders = Folders {
        certificates: vec![Path::new("/nonexistent/certs.d").into()],
        registries: vec![Path::new("/nonexistent/registries.conf").into()],
        registries_more: vec![Path::new("/nonexistent/registries.conf.d").into()],
    };
    let hosts = Hosts::new(Settings {
        folders,
        ..Settings::default()
    });
    assert_eq!(shown(&hosts.unwrap(), "ghcr.io/o/n", Purpose::Pull).len(), 1);
}
