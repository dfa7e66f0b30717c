//! A repository on a registry, as one user sees it; all places it may be read from, in order.

use std::future::Future;
use std::sync::Arc;

use mica_oci::{Digest, Repository};

use crate::credential::Credential;
use crate::error::Error;
use crate::hosts::{Hosts, Purpose, Settings};
use crate::ports::{Listener, Notice};
use crate::scope::Scope;
use crate::site::{Shared, Site, chain};

/// Speaks to registries. Clones share connections, tokens, and what was learned of each host.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

/// What is to be done with a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// Only reading.
    Pull,
    /// Reading and writing, at the registry itself and at no mirror.
    Push,
}

/// A repository on a registry.
pub struct Remote {
    pub(crate) repository: Repository,
    /// Where tags are looked up.
    pub(crate) resolving: Vec<Site>,
    /// Where content is read.
    pub(crate) reading: Vec<Site>,
    account: Digest,
}

impl Client {
    /// A client that follows these settings.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        Ok(Self(Arc::new(Shared::new(Hosts::new(settings)?))))
    }

    /// A client that follows other settings, and goes on counting where this one is; work that goes on keeps this one.
    pub fn renewed(&self, settings: Settings) -> Result<Self, Error> {
        let mut shared = Shared::new(Hosts::new(settings)?);
        shared.traffic = self.0.traffic.clone();
        Ok(Self(Arc::new(shared)))
    }

    /// Bytes of blobs that came from registries, and that were sent to them.
    pub fn traffic(&self) -> (u64, u64) {
        self.0.traffic.so_far()
    }

    pub(crate) fn hosts(&self) -> &Hosts {
        &self.0.hosts
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }

    /// A repository as the owner of `credential` sees it; nothing is asked yet.
    pub fn remote(
        &self,
        repository: &Repository,
        intent: Intent,
        credential: &Credential,
        listener: &Listener,
    ) -> Result<Remote, Error> {
        let sites = |purpose| -> Result<Vec<Site>, Error> {
            let endpoints = self.0.hosts.endpoints(repository, purpose)?;
            Ok(endpoints
                .into_iter()
                .map(|endpoint| Site {
                    // a mirror must never see what was meant for the registry
                    credential: match endpoint.is_origin() {
                        true => credential.clone(),
                        false => Credential::Anonymous,
                    },
                    shared: self.0.clone(),
                    listener: listener.clone(),
                    registry: repository.registry().to_owned(),
                    scopes: vec![match intent {
                        Intent::Pull => Scope::pull(endpoint.path()),
                        Intent::Push => Scope::push(endpoint.path()),
                    }],
                    endpoint,
                })
                .collect())
        };
        let account = credential.account(repository.registry());
        Ok(match intent {
            Intent::Pull => Remote {
                resolving: sites(Purpose::Resolve)?,
                reading: sites(Purpose::Pull)?,
                account,
                repository: repository.clone(),
            },
            Intent::Push => Remote {
                resolving: sites(Purpose::Push)?,
                reading: sites(Purpose::Push)?,
                account,
                repository: repository.clone(),
            },
        })
    }
}

impl Remote {
    /// Which repository it is.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Whose eyes it is seen with, without anything secret.
    pub fn account(&self) -> &Digest {
        &self.account
    }

    /// The registry itself, which alone may see what is meant for it: neither credentials nor pushes go to a host that the
    /// settings put in its place.
    pub(crate) fn origin(&self) -> Result<&Site, Error> {
        self.resolving
            .iter()
            .find(|site| site.endpoint.is_origin())
            .ok_or_else(|| Error::Protocol {
                host: self.repository.registry().to_owned(),
                reason: format!(
                    "hosts.toml or registries.conf put {} in its place, where neither logins nor pushes meant for it go: \
                     use that host by its own name, or change the file",
                    self.resolving.iter().map(Site::host).collect::<Vec<_>>().join(", ")
                ),
            })
    }

    /// Asks one place after the other until one has it. If none does, what the registry itself said is the reason.
    pub(crate) async fn at_any<'a, T, F>(
        &self,
        sites: &'a [Site],
        mut ask: impl FnMut(&'a Site) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut attempts = Vec::new();
        let mut origin = None;
        for site in sites {
            let at = site.host();
            match ask(site).await {
                Ok(found) => {
                    if !site.endpoint.is_origin() {
                        site.listener.tell(Notice::Mirror { host: at });
                    }
                    return Ok(found);
                }
                // nobody is left to get it from another place for
                Err(Error::Unwanted) => return Err(Error::Unwanted),
                Err(error) => {
                    let reason = chain(&error);
                    if !site.endpoint.is_origin() {
                        site.listener.tell(Notice::MirrorFailed {
                            host: at.clone(),
                            reason: reason.clone(),
                        });
                    }
                    attempts.push(format!("{at}: {reason}"));
                    origin = Some(error);
                }
            }
        }
        match origin {
            Some(error) if attempts.len() == 1 => Err(error),
            Some(error) => Err(Error::Everywhere {
                registry: self.repository.registry().to_owned(),
                attempts: attempts.join("; "),
                origin: Box::new(error),
            }),
            None => Err(Error::Protocol {
                host: self.repository.registry().to_owned(),
                reason: "no place is configured that it can be read from".to_owned(),
            }),
        }
    }
}
