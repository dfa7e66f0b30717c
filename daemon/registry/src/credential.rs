//! What a user proves who they are with, to one registry.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use mica_oci::Digest;

/// What a caller gave for one registry. It is kept in memory only, and no `Debug` of it shows a secret.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Credential {
    /// Nothing: what everybody may do.
    #[default]
    Anonymous,
    /// A user and a password or access token.
    Basic {
        /// The user's name; for some registries any text will do.
        user: String,
        /// The password or access token.
        password: String,
    },
    /// A refresh token that is exchanged for access tokens (OAuth 2.0, RFC 6749 section 6).
    Identity {
        /// The user's name, if known; empty otherwise.
        user: String,
        /// The refresh token.
        token: String,
    },
    /// An access token that is sent as it is.
    Bearer(String),
}

impl Credential {
    /// Whether there is none.
    pub fn is_anonymous(&self) -> bool {
        *self == Self::Anonymous
    }

    /// The user's name, where one is known.
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::Basic { user, .. } | Self::Identity { user, .. } if !user.is_empty() => Some(user),
            _ => None,
        }
    }

    /// Names whose credential it is at `registry`, without telling anything of the secret: what one account may mount,
    /// another may not be allowed to see.
    pub fn account(&self, registry: &str) -> Digest {
        let kind = match self {
            Self::Anonymous => "anonymous",
            Self::Basic { .. } => "basic",
            Self::Identity { .. } => "identity",
            Self::Bearer(_) => "bearer",
        };
        let mut hasher = mica_oci::Hasher::new();
        for field in [registry, kind, self.user().unwrap_or_default()] {
            hasher.field(field.as_bytes());
        }
        hasher.finish()
    }

    /// Tells equal credentials from others, for a cache in memory.
    pub(crate) fn fingerprint(&self) -> Digest {
        let mut hasher = mica_oci::Hasher::new();
        let (kind, user, secret) = match self {
            Self::Anonymous => ("anonymous", "", ""),
            Self::Basic { user, password } => ("basic", user.as_str(), password.as_str()),
            Self::Identity { user, token } => ("identity", user.as_str(), token.as_str()),
            Self::Bearer(token) => ("bearer", "", token.as_str()),
        };
        for field in [kind, user, secret] {
            hasher.field(field.as_bytes());
        }
        hasher.finish()
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, user) = match self {
            Self::Anonymous => ("Anonymous", None),
            Self::Basic { user, .. } => ("Basic", Some(user)),
            Self::Identity { user, .. } => ("Identity", Some(user)),
            Self::Bearer(_) => ("Bearer", None),
        };
        let mut out = f.debug_struct(name);
        if let Some(user) = user {
            out.field("user", user);
        }
        out.finish_non_exhaustive()
    }
}

/// The credentials of one user for several registries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials(HashMap<String, Credential>);

impl Credentials {
    /// Adds the credential for a registry, `docker.io` for Docker Hub.
    pub fn add(&mut self, registry: String, credential: Credential) {
        if !credential.is_anonymous() {
            self.0.insert(registry, credential);
        }
    }

    /// The credential for a registry.
    pub fn of(&self, registry: &str) -> Credential {
        self.0.get(registry).cloned().unwrap_or_default()
    }
}

/// Knows a user's credentials for registries: all of them, or whom to ask. Clones know the same.
#[derive(Clone)]
pub struct Keyring(Arc<dyn Fn(&str) -> Credential + Send + Sync>);

impl Keyring {
    /// Asks `credential_of` for the credential of a registry, `docker.io` for Docker Hub, on threads that may wait.
    pub fn new(credential_of: impl Fn(&str) -> Credential + Send + Sync + 'static) -> Self {
        Self(Arc::new(credential_of))
    }

    /// The credential for a registry. May wait for whoever knows.
    pub fn of(&self, registry: &str) -> Credential {
        (self.0)(registry)
    }
}

impl Default for Keyring {
    fn default() -> Self {
        Credentials::default().into()
    }
}

impl From<Credentials> for Keyring {
    fn from(known: Credentials) -> Self {
        Self::new(move |registry| known.of(registry))
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring")
    }
}

/// The registry that clients mean by a server's address: without scheme and path, and Docker Hub under its one name.
pub fn registry_of_server(server: &str) -> String {
    let rest = server
        .trim()
        .split_once("://")
        .map_or(server.trim(), |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default();
    match host {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => {
            "docker.io".to_owned()
        }
        "" if server.trim().is_empty() => "docker.io".to_owned(),
        host => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown() {
        let basic = Credential::Basic {
            user: "me".into(),
            password: "hunter2".into(),
        };
        let identity = Credential::Identity {
            user: String::new(),
            token: "hunter2".into(),
        };
        for credential in [basic, identity, Credential::Bearer("hunter2".into())] {
            let text = format!("{credential:?}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn servers_are_known_by_all_their_names() {
        for (server, registry) in [
            ("https://index.docker.io/v1/", "docker.io"),
            ("", "docker.io"),
            ("registry-1.docker.io", "docker.io"),
            ("https://ghcr.io/v2/", "ghcr.io"),
            ("http://localhost:5000", "localhost:5000"),
            ("ghcr.io", "ghcr.io"),
        ] {
            assert_eq!(registry_of_server(server), registry, "{server}");
        }
    }

    #[test]
    fn accounts_differ_by_user_and_registry_and_not_by_secret() {
        let basic = |user: &str, password: &str| Credential::Basic {
            user: user.into(),
            password: password.into(),
        };
        assert_eq!(basic("a", "1").account("r"), basic("a", "2").account("r"));
        assert_ne!(basic("a", "1").account("r"), basic("b", "1").account("r"));
        assert_ne!(basic("a", "1").account("r"), basic("a", "1").account("s"));
        assert_ne!(basic("a", "1").fingerprint(), basic("a", "2").fingerprint());
    }
}
