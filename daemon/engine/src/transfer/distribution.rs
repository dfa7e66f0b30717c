//! Questions to a registry about an image that is not fetched; and whether it knows a user.

use bytes::Bytes;
use mica_oci::config::ImageConfig;
use mica_oci::{Descriptor, Platform, Raw, Received, Reference, Repository};
use mica_registry::{Credential, Fetched, Intent, Listener, PushCheck, Which};

use crate::engine::Engine;
use crate::error::Error;
use crate::transfer::manifest::{describe, read};
use crate::transfer::pull::or_latest;
use crate::transfer::words::pull_error;

/// What a registry has under a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// The manifest or index.
    pub descriptor: Descriptor,
    /// What it is for.
    pub platforms: Vec<Platform>,
}

impl Engine {
    /// The manifest or index that a name leads to at its registry.
    pub async fn remote_manifest(
        &self,
        reference: &Reference,
        credential: &Credential,
    ) -> Result<Fetched, Error> {
        let reference = or_latest(reference.clone());
        let which = match (&reference.digest, &reference.tag) {
            (Some(digest), _) => Which::Digest(*digest),
            (None, tag) => Which::Tag(tag.clone().unwrap_or_else(mica_oci::Tag::latest)),
        };
        let remote =
            self.registries()
                .remote(&reference.repository, Intent::Pull, credential, &Listener::deaf());
        let remote = remote.map_err(|error| Error::Registry(Box::new(error)))?;
        remote
            .manifest(&which)
            .await
            .map_err(|error| pull_error(&reference, error))
    }

    /// What a registry has under a name, and for which platforms.
    pub async fn distribution(
        &self,
        reference: &Reference,
        credential: &Credential,
    ) -> Result<Distribution, Error> {
        let fetched = self.remote_manifest(reference, credential).await?;
        let received = read(&fetched, reference)?;
        let descriptor = describe(&fetched, &received);
        let platforms = match received {
            Received::Index(index) => index
                .manifests
                .iter()
                .filter_map(|manifest| manifest.platform.clone())
                .collect(),
            Received::Manifest(manifest) => {
                let config = self.remote_blob(reference, credential, &manifest.config).await?;
                let config = Raw::<ImageConfig>::parse(&config).map_err(|source| Error::Config {
                    reference: reference.familiar(),
                    source,
                })?;
                vec![Platform {
                    architecture: config.architecture.clone(),
                    os: config.os.clone(),
                    os_version: config.os_version.clone(),
                    variant: config.variant.clone(),
                }]
            }
        };
        Ok(Distribution {
            descriptor,
            platforms,
        })
    }

    async fn remote_blob(
        &self,
        reference: &Reference,
        credential: &Credential,
        blob: &Descriptor,
    ) -> Result<Bytes, Error> {
        let remote =
            self.registries()
                .remote(&reference.repository, Intent::Pull, credential, &Listener::deaf());
        let remote = remote.map_err(|error| Error::Registry(Box::new(error)))?;
        let limit = mica_oci::document::CONFIG_LIMIT;
        remote
            .read_blob(blob, limit)
            .await
            .map_err(|error| pull_error(reference, error))
    }

    /// Whether a registry can be reached, and whether the owner of a credential may push to a repository there: an upload is
    /// opened and given up.
    pub async fn check_push(&self, repository: &Repository, credential: &Credential) -> PushCheck {
        self.registries().check_push(repository, credential).await
    }

    /// Shows a credential to a registry; gives a token to be kept in place of the password, if the registry has one.
    pub async fn login(&self, server: &str, credential: &Credential) -> Result<Option<String>, Error> {
        // any repository will do: only the registry is asked
        let name = some_name_at(server)?;
        let remote = self
            .registries()
            .remote(&name.repository, Intent::Push, credential, &Listener::deaf());
        let remote = remote.map_err(|error| Error::Registry(Box::new(error)))?;
        let login = remote.login().await.map_err(|error| match error.refusal() {
            Some(refusal) if refusal.is_about_rights() => Error::LoginRefused {
                said: refusal.to_string(),
            },
            _ => Error::Registry(Box::new(error)),
        })?;
        Ok(login.identity_token)
    }
}

/// A name at the registry that a server's address means. An address that names none must not end up at Docker Hub: a password
/// goes where it says.
fn some_name_at(server: &str) -> Result<Reference, Error> {
    let registry = mica_registry::registry_of_server(server);
    let name: Option<Reference> = format!("{registry}/x").parse().ok();
    name.filter(|name| name.repository.registry().eq_ignore_ascii_case(&registry))
        .ok_or_else(|| Error::Server {
            server: server.to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_goes_to_the_registry_that_was_named_or_nowhere() {
        for (server, registry) in [
            ("", "docker.io"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("ghcr.io", "ghcr.io"),
            ("https://GHCR.io/v2/", "ghcr.io"),
            ("localhost:5000", "localhost:5000"),
        ] {
            let name = some_name_at(server).unwrap();
            assert_eq!(
                name.repository.registry().to_ascii_lowercase(),
                registry,
                "{server}"
            );
        }
        for server in ["foo", "https://foo/v2/", "https://", "/", "a b", "u@ghcr.io"] {
            assert!(
                matches!(some_name_at(server), Err(Error::Server { .. })),
                "{server}"
            );
        }
    }
}
