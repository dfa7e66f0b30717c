//! One host that may serve a repository, and how it is spoken to.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mica_oci::Repository;
use reqwest::Url;
use reqwest::header::HeaderMap;

use crate::hosts::address::{Authority, Scheme};
use crate::hosts::trust::Trust;

/// Docker Hub's name in names of images, and its old one.
const HUB: [&str; 2] = ["docker.io", "index.docker.io"];
/// Where Docker Hub's API is.
const HUB_HOST: &str = "registry-1.docker.io";
/// Under which name Docker Hub's credentials are kept.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// What a host is asked for. Some mirrors are not to be asked for everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To tell what a tag means. What it leads to may be pulled from the same host.
    Resolve,
    /// For what a digest names: manifests and blobs.
    Pull,
    /// To take an image.
    Push,
}

impl Purpose {
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::Resolve => "resolve tags",
            Self::Pull => "pull",
            Self::Push => "push",
        }
    }
}

/// How far a connection is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Security {
    /// TLS with a certificate that must be good.
    Verified,
    /// TLS with any certificate: `skip_verify`, or an address with `https://` that was said to be insecure.
    Unverified,
    /// TLS with any certificate, then plain http: an insecure registry.
    Insecure,
    /// Plain http: an address with `http://`.
    Plain,
}

/// Which setting an endpoint is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The name of the image.
    Name,
    /// The daemon's `registry-mirrors`.
    Mirrors,
    /// A hosts.toml or registries.conf.
    File(PathBuf),
}

/// One host that may serve a repository. Made by [`crate::hosts::Hosts::endpoints`].
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub(crate) authority: Authority,
    /// The root of the API.
    pub(crate) root: String,
    pub(crate) repository: Repository,
    pub(crate) is_origin: bool,
    pub(crate) namespace: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) security: Security,
    pub(crate) trust: Arc<Trust>,
    pub(crate) dial_timeout: Option<Duration>,
    pub(crate) source: Source,
}

impl Endpoint {
    /// The host and port.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The repository's path at this host, which registries.conf may have changed. It is also the path of a token's
    /// scope.
    pub fn path(&self) -> &str {
        self.repository.path()
    }

    /// Whether this is the registry that the image's name names. Only it may be given the credentials that were sent
    /// along for that name.
    pub fn is_origin(&self) -> bool {
        self.is_origin
    }

    /// The key of credentials for this host: see [`credential_key`].
    pub fn credential_key(&self) -> String {
        credential_key(&self.authority.to_string())
    }

    /// The registry whose content is asked for, where a host serves that of several (`?ns=`, which
    /// [`Endpoint::url`] adds).
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Headers to send with every request to this host, and to no other. Their values may be secrets.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// How far a connection is trusted.
    pub fn security(&self) -> Security {
        self.security
    }

    /// Which setting names this endpoint.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The root of the API (`/v2/`), where a registry says how it wants to be asked.
    pub fn root(&self, scheme: Scheme) -> Url {
        self.at(scheme, &format!("{}/", self.root))
    }

    /// The address of something in the repository: `rest` is `manifests/latest`, `blobs/uploads/` and the like, without
    /// a query.
    pub fn url(&self, scheme: Scheme, rest: &str) -> Url {
        let mut url = self.at(scheme, &format!("{}/{}/{rest}", self.root, self.path()));
        if let Some(namespace) = &self.namespace {
            url.query_pairs_mut().append_pair("ns", namespace);
        }
        url
    }

    fn at(&self, scheme: Scheme, path: &str) -> Url {
        let mut url = Url::parse(&format!("{scheme}://{}/", self.authority))
            .expect("an authority is what an address was found to have");
        url.set_path(path);
        url
    }
}

impl fmt::Display for Endpoint {
    /// The address without the scheme where that is still to be found out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.security {
            Security::Verified | Security::Unverified => write!(f, "https://")?,
            Security::Plain => write!(f, "http://")?,
            Security::Insecure => {}
        }
        write!(f, "{}{}/{}", self.authority, self.root, self.path())
    }
}

/// The host that answers for a registry: Docker Hub's is not the one of its name, every other's is.
pub fn api_host(registry: &str) -> &str {
    match HUB.contains(&registry) {
        true => HUB_HOST,
        false => registry,
    }
}

/// The key under which credentials for a registry are kept: `https://index.docker.io/v1/` for Docker Hub, else the
/// registry's host and port.
pub fn credential_key(registry: &str) -> String {
    match HUB.contains(&registry) || registry == HUB_HOST {
        true => HUB_KEY.to_owned(),
        false => registry.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(authority: &str, root: &str, namespace: Option<&str>) -> Endpoint {
        Endpoint {
            authority: Authority::parse(authority).unwrap(),
            root: root.to_owned(),
            repository: "ghcr.io/o/n".parse().unwrap(),
            is_origin: namespace.is_none(),
            namespace: namespace.map(str::to_owned),
            headers: HeaderMap::new(),
            security: Security::Verified,
            trust: Arc::default(),
            dial_timeout: None,
            source: Source::Name,
        }
    }

    #[test]
    fn addresses_of_things() {
        let plain = endpoint("ghcr.io", "/v2", None);
        assert_eq!(plain.root(Scheme::Https).as_str(), "https://ghcr.io/v2/");
        assert_eq!(
            plain.url(Scheme::Http, "blobs/uploads/").as_str(),
            "http://ghcr.io/v2/o/n/blobs/uploads/"
        );
        let mirror = endpoint("[::1]:5000", "", Some("ghcr.io:1"));
        assert_eq!(
            mirror.url(Scheme::Https, "manifests/a?b#c").as_str(),
            "https://[::1]:5000/o/n/manifests/a%3Fb%23c?ns=ghcr.io%3A1"
        );
        assert_eq!(mirror.root(Scheme::Https).as_str(), "https://[::1]:5000/");
        assert_eq!(mirror.to_string(), "https://[::1]:5000/o/n");
    }

    #[test]
    fn only_docker_hub_has_other_names() {
        for (registry, host, key) in [
            ("docker.io", "registry-1.docker.io", "https://index.docker.io/v1/"),
            (
                "index.docker.io",
                "registry-1.docker.io",
                "https://index.docker.io/v1/",
            ),
            (
                "registry-1.docker.io",
                "registry-1.docker.io",
                "https://index.docker.io/v1/",
            ),
            ("hub.docker.io", "hub.docker.io", "hub.docker.io"),
            ("docker.io:443", "docker.io:443", "docker.io:443"),
            ("ghcr.io", "ghcr.io", "ghcr.io"),
        ] {
            assert_eq!(
                (api_host(registry), credential_key(registry).as_str()),
                (host, key)
            );
        }
    }
}
