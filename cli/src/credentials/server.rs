//! The keys credentials are kept under: hosts, addresses, and podman's paths below a host.

use mica_oci::Repository;

/// The key of Docker Hub, whose registry names spell `docker.io`.
pub(crate) const HUB: &str = "https://index.docker.io/v1/";

/// What else files call Docker Hub.
const HUB_HOSTS: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// Whose credentials are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The key docker keeps them under, which helpers are asked for.
    key: String,
    /// A repository's path on that server, if it is about one.
    path: Option<String>,
}

impl Target {
    /// For work on a repository.
    pub(crate) fn repository(repository: &Repository) -> Self {
        Self {
            path: Some(repository.path().to_owned()),
            ..Self::server(repository.registry())
        }
    }

    /// For a server as people write it after `login`: a host or an address, whose scheme and path do not count.
    pub(crate) fn server(text: &str) -> Self {
        let host = host(text);
        let key = if is_hub(host) { HUB } else { host };
        Self {
            key: key.to_owned(),
            path: None,
        }
    }

    /// The key docker keeps them under.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// All keys a helper's entry in `credHelpers` may have.
    pub(super) fn helper_keys(&self) -> impl Iterator<Item = &str> {
        let aliases = HUB_HOSTS.into_iter().filter(|_| self.key == HUB);
        std::iter::once(self.key()).chain(aliases)
    }

    /// The keys that name exactly this in a file, most specific first: podman's `host/path` down to `host/first`,
    /// then the host itself (containers-auth.json(5)).
    pub(super) fn exact_keys(&self) -> Vec<String> {
        let hosts: Vec<&str> = self.helper_keys().collect();
        let mut keys = Vec::new();
        let mut rest = self.path.as_deref();
        while let Some(path) = rest {
            keys.extend(
                hosts
                    .iter()
                    .filter(|host| **host != HUB)
                    .map(|host| format!("{host}/{path}")),
            );
            rest = path.rsplit_once('/').map(|(parent, _)| parent);
        }
        keys.extend(hosts.into_iter().map(str::to_owned));
        keys
    }

    /// Whether a file's key is about this server, if its scheme and path are left out.
    pub(super) fn is_on(&self, key: &str) -> bool {
        let (own, other) = (host(&self.key), host(key));
        own.eq_ignore_ascii_case(other) || (is_hub(own) && is_hub(other))
    }

    /// All keys that earlier logins to this server may have left.
    pub(super) fn left_keys(&self) -> Vec<String> {
        if self.key == HUB {
            return self.helper_keys().map(str::to_owned).collect();
        }
        let host = &self.key;
        vec![host.clone(), format!("http://{host}"), format!("https://{host}")]
    }
}

/// Whether a key is an address, whose path says nothing, and not a path of podman's below a host.
pub(super) fn is_address(key: &str) -> bool {
    key.starts_with("http://") || key.starts_with("https://")
}

/// Whether a key is podman's for a part of a host.
pub(super) fn is_part(key: &str) -> bool {
    !is_address(key) && key.contains('/')
}

/// The host and port of a key.
pub(super) fn host(key: &str) -> &str {
    let rest = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"));
    let rest = rest.unwrap_or(key);
    rest.split_once('/').map_or(rest, |(host, _)| host)
}

fn is_hub(host: &str) -> bool {
    HUB_HOSTS.iter().any(|alias| alias.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(name: &str) -> Target {
        Target::repository(&name.parse().unwrap())
    }

    #[test]
    fn servers_have_one_key_each() {
        for (text, key) in [
            ("ghcr.io", "ghcr.io"),
            ("https://ghcr.io/v2/", "ghcr.io"),
            ("http://localhost:5000", "localhost:5000"),
            ("ghcr.io/org", "ghcr.io"),
            ("docker.io", HUB),
            ("index.docker.io", HUB),
            ("https://index.docker.io/v1/", HUB),
            ("https://index.docker.io/v1", HUB),
            ("registry-1.docker.io", HUB),
            ("hub.docker.io", "hub.docker.io"),
        ] {
            assert_eq!(Target::server(text).key(), key, "{text}");
        }
        assert_eq!(repository("busybox").key(), HUB);
        assert_eq!(repository("localhost:5000/a").key(), "localhost:5000");
    }

    #[test]
    fn the_most_specific_key_comes_first() {
        assert_eq!(
            repository("ghcr.io/a/b/c").exact_keys(),
            ["ghcr.io/a/b/c", "ghcr.io/a/b", "ghcr.io/a", "ghcr.io"]
        );
        let hub = repository("busybox").exact_keys();
        assert_eq!(
            hub[..4],
            [
                "docker.io/library/busybox",
                "index.docker.io/library/busybox",
                "registry-1.docker.io/library/busybox",
                "docker.io/library"
            ]
        );
        assert_eq!(
            hub[6..],
            [HUB, "docker.io", "index.docker.io", "registry-1.docker.io"]
        );
        assert_eq!(Target::server("x:1").exact_keys(), ["x:1"]);
    }

    #[test]
    fn keys_are_on_the_server_they_name() {
        for (server, key, expected) in [
            ("ghcr.io", "ghcr.io", true),
            ("ghcr.io", "https://GHCR.io/v2/", true),
            ("ghcr.io", "ghcr.io/org", true),
            ("ghcr.io", "ghcr.io:443", false),
            ("ghcr.io", "notghcr.io", false),
            ("docker.io", "https://index.docker.io/v1/", true),
            ("docker.io", "docker.io/library", true),
            ("x", "", false),
        ] {
            assert_eq!(Target::server(server).is_on(key), expected, "{server} {key}");
        }
        assert!(is_part("ghcr.io/org") && !is_part("https://ghcr.io/v1/") && !is_part("ghcr.io"));
    }

    #[test]
    fn logouts_know_all_spellings() {
        assert_eq!(
            Target::server("https://x:5000/v2/").left_keys(),
            ["x:5000", "http://x:5000", "https://x:5000"]
        );
        assert_eq!(
            Target::server("docker.io").left_keys(),
            [HUB, "docker.io", "index.docker.io", "registry-1.docker.io"]
        );
    }
}
