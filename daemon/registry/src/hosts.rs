//! Registries: where they are, by every setting that says so, and how a connection to one is made.

mod address;
mod clients;
mod containerd;
mod containers;
mod endpoint;
mod error;
mod file;
mod folders;
mod names;
mod network;
mod plan;
mod proxy;
mod rules;
mod settings;
mod tls;
mod trust;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use mica_oci::Repository;
use reqwest::{Client, Url};

use crate::hosts::clients::{Clients, Direction, Needs};
use crate::hosts::plan::Plan;

pub use crate::hosts::address::{Authority, Scheme};
pub use crate::hosts::endpoint::{Endpoint, Purpose, Security, Source, api_host, credential_key};
pub use crate::hosts::error::{HostError, Rule};
pub use crate::hosts::folders::Folders;
pub use crate::hosts::proxy::Proxies;
pub use crate::hosts::rules::{check_foreign, check_realm, check_redirect, may_carry_credentials};
pub use crate::hosts::settings::Settings;

/// Hosts of which it is remembered how they are spoken to.
const REMEMBERED: usize = 4096;

/// Where registries are and how to connect to them. One serves the whole process: connections are kept in it.
///
/// What is read when: the daemon's settings and registries.conf by [`Hosts::new`]; a registry's folders in certs.d,
/// with hosts.toml, each time its endpoints are asked for, so that what changes there counts from the next pull on; the
/// system's trusted certificates when the first client that verifies is made, once. A mistake is an error in the moment
/// its file is read, and says where it is.
#[derive(Debug)]
pub struct Hosts {
    plan: Plan,
    clients: Clients,
    worked: Mutex<HashMap<Authority, Scheme>>,
}

impl Hosts {
    /// Reads the settings.
    pub fn new(settings: Settings) -> Result<Self, HostError> {
        let Settings {
            mirrors,
            insecure,
            proxies,
            folders,
        } = settings;
        Ok(Self {
            plan: Plan::read(&mirrors, &insecure, folders)?,
            clients: Clients::new(proxies),
            worked: Mutex::default(),
        })
    }

    /// The hosts that may serve a repository, to be tried in this order: mirrors of the daemon's settings, of hosts.toml,
    /// of registries.conf, then the registry itself. Reads a few small files.
    ///
    /// registries.conf may put another name in the place of the registry itself, but not for a push; where it does not,
    /// `server` of hosts.toml may. A list is never empty.
    pub fn endpoints(&self, repository: &Repository, purpose: Purpose) -> Result<Vec<Endpoint>, HostError> {
        self.plan.endpoints(repository, purpose)
    }

    /// The host that is asked when a registry is searched, which is the registry itself: no mirror knows what it has.
    pub fn search_endpoint(&self, registry: &str) -> Result<Endpoint, HostError> {
        self.plan.search_endpoint(registry)
    }

    /// The schemes to try with a host, in order. There is more than one only for an insecure registry: https without
    /// verification, then http; what worked before goes first, and https that worked is not given up for http.
    pub fn attempts(&self, endpoint: &Endpoint) -> &'static [Scheme] {
        match endpoint.security {
            Security::Verified | Security::Unverified => &[Scheme::Https],
            Security::Plain => &[Scheme::Http],
            Security::Insecure => {
                let worked = self.worked.lock().unwrap_or_else(PoisonError::into_inner);
                match worked.get(&endpoint.authority) {
                    Some(Scheme::Https) => &[Scheme::Https],
                    Some(Scheme::Http) => &[Scheme::Http, Scheme::Https],
                    None => &[Scheme::Https, Scheme::Http],
                }
            }
        }
    }

    /// Whether requests to an address go through a proxy.
    pub(crate) fn has_proxy(&self, url: &Url) -> bool {
        self.clients.has_proxy(url)
    }

    /// Remembers that a host answered, whatever it said, when spoken to by this scheme.
    pub fn remember(&self, endpoint: &Endpoint, scheme: Scheme) {
        if endpoint.security == Security::Insecure {
            let mut worked = self.worked.lock().unwrap_or_else(PoisonError::into_inner);
            if worked.len() >= REMEMBERED {
                worked.clear();
            }
            worked.insert(endpoint.authority.clone(), scheme);
        }
    }

    /// The client for requests to a host, for all but uploads. It follows no redirects, decodes nothing, retries nothing,
    /// speaks HTTP/1.1, and gives up after 30 s without a connection or 60 s without a byte.
    ///
    /// The first call that needs the system's trusted certificates reads them, which takes some milliseconds.
    pub fn client(&self, endpoint: &Endpoint) -> Result<Client, HostError> {
        self.client_for(endpoint, Direction::Down)
    }

    /// The client for requests with a large body: as [`Hosts::client`], but silence of the host is no reason to give up,
    /// as it has nothing to say before it has all. The connection ends when it takes no bytes for 60 s; how long
    /// to wait for the answer once the body is sent is for the caller to say.
    pub fn upload_client(&self, endpoint: &Endpoint) -> Result<Client, HostError> {
        self.client_for(endpoint, Direction::Up)
    }

    /// The client for an address that is not the registry's: a token realm, where a redirect leads, a layer's own address.
    /// It trusts whom the system trusts, the registry's authorities, and those in the folder of the address's host in
    /// certs.d. A client certificate is shown only to the host it is for; certificates go unverified only at an insecure
    /// registry's own host, and at hosts that are said to be insecure themselves.
    ///
    /// Whether the address may be followed at all is for [`check_realm`], [`check_redirect`] and [`check_foreign`] to say.
    pub fn client_elsewhere(&self, registry: &Endpoint, url: &Url) -> Result<Client, HostError> {
        self.elsewhere(registry, url, Direction::Down)
    }

    /// As [`Hosts::client_elsewhere`], for an upload that a `Location` leads to another host.
    pub fn upload_client_elsewhere(&self, registry: &Endpoint, url: &Url) -> Result<Client, HostError> {
        self.elsewhere(registry, url, Direction::Up)
    }

    /// The client for an address that has nothing to do with a registry.
    pub fn client_anywhere(&self, url: &Url) -> Result<Client, HostError> {
        let there = Authority::of(url).ok_or_else(|| HostError::Registry {
            registry: url.host_str().unwrap_or_default().to_owned(),
        })?;
        self.clients.get(Needs {
            trust: Arc::new(self.plan.trust(&there)?),
            verified: !self.plan.is_insecure(&there),
            dial_timeout: None,
            direction: Direction::Down,
        })
    }

    fn client_for(&self, endpoint: &Endpoint, direction: Direction) -> Result<Client, HostError> {
        self.clients.get(Needs {
            trust: Arc::clone(&endpoint.trust),
            verified: endpoint.security == Security::Verified,
            dial_timeout: endpoint.dial_timeout,
            direction,
        })
    }

    fn elsewhere(&self, registry: &Endpoint, url: &Url, direction: Direction) -> Result<Client, HostError> {
        let there = Authority::of(url).ok_or_else(|| HostError::Registry {
            registry: url.host_str().unwrap_or_default().to_owned(),
        })?;
        if there.host() == registry.authority.host() {
            return self.client_for(registry, direction);
        }
        let mut trust = registry.trust.as_ref().clone().without_identities();
        trust.add(&self.plan.trust(&there)?);
        self.clients.get(Needs {
            trust: Arc::new(trust),
            verified: !self.plan.is_insecure(&there),
            dial_timeout: None,
            direction,
        })
    }
}

/// Whether what went wrong says that the scheme is the wrong one, so that the next attempt is due: nobody at the port,
/// or no TLS there. A host that cannot be found will not be found by another scheme.
pub fn is_wrong_scheme(error: &reqwest::Error) -> bool {
    error.is_connect() && !error.is_dns()
}
