//! Which hosts serve a repository: all settings laid together.

use std::sync::Arc;
use std::time::Duration;

use mica_oci::Repository;
use mica_oci::reference::DEFAULT_REGISTRY;
use reqwest::header::HeaderMap;

use crate::hosts::address::{Authority, Scheme};
use crate::hosts::containerd::{Address, Host, HostsFile};
use crate::hosts::endpoint::{Endpoint, Purpose, Security, Source, api_host};
use crate::hosts::error::HostError;
use crate::hosts::folders::{Folders, HOSTS_FILE};
use crate::hosts::names::{Fitting, Rules};
use crate::hosts::settings::{Insecure, Mirror, read_mirrors};
use crate::hosts::trust::Trust;

/// Where the API of a registry is that says nothing else.
const ROOT: &str = "/v2";
/// Where the older API is, which knows how to search.
const SEARCH_ROOT: &str = "/v1";
/// Where Docker Hub is searched.
const HUB_INDEX: &str = "index.docker.io";

/// The settings that hold for all registries, and where the others are.
#[derive(Debug)]
pub(crate) struct Plan {
    mirrors: Vec<Mirror>,
    insecure: Insecure,
    rules: Rules,
    folders: Folders,
}

/// What is asked for.
struct Asked<'a> {
    repository: &'a Repository,
    /// Where the registry of its name is.
    origin: Authority,
    purpose: Purpose,
}

/// A host as one of the settings has it.
struct Candidate {
    authority: Authority,
    root: String,
    repository: Repository,
    security: Security,
    source: Source,
    trust: Trust,
    namespaced: bool,
    headers: HeaderMap,
    dial_timeout: Option<Duration>,
}

impl Plan {
    /// Reads the settings that hold for all registries.
    pub(crate) fn read(mirrors: &[String], insecure: &[String], folders: Folders) -> Result<Self, HostError> {
        Ok(Self {
            mirrors: read_mirrors(mirrors)?,
            insecure: Insecure::read(insecure)?,
            rules: Rules::read(&folders.registry_files()?)?,
            folders,
        })
    }

    /// The hosts that may serve a repository, in order.
    pub(crate) fn endpoints(
        &self,
        repository: &Repository,
        purpose: Purpose,
    ) -> Result<Vec<Endpoint>, HostError> {
        let asked = Asked {
            repository,
            origin: authority(repository.registry())?,
            purpose,
        };
        let fitting = self.rules.of(repository);
        if let Some(fitting) = fitting.as_ref().filter(|fitting| fitting.rule.blocked) {
            return Err(HostError::Blocked {
                name: repository.to_string(),
                path: fitting.rule.path.clone(),
            });
        }
        let file = self.hosts_file(repository.registry())?;
        let mut candidates = self.mirrors(&asked, file.as_ref(), fitting.as_ref())?;
        candidates.extend(self.registry(&asked, file.as_ref(), fitting.as_ref())?);
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for candidate in candidates {
            let endpoint = self.endpoint(&asked, candidate)?;
            if !endpoints.iter().any(|earlier| is_same(earlier, &endpoint)) {
                endpoints.push(endpoint);
            }
        }
        match (endpoints.is_empty(), file) {
            (true, Some(file)) => Err(HostError::NoEndpoint {
                registry: repository.registry().to_owned(),
                purpose: purpose.verb(),
                path: file.path,
            }),
            _ => Ok(endpoints),
        }
    }

    /// The registry itself, to be searched. It is spoken to as for a push, where no other name stands in for it.
    pub(crate) fn search_endpoint(&self, registry: &str) -> Result<Endpoint, HostError> {
        let malformed = || HostError::Registry {
            registry: registry.to_owned(),
        };
        // settings are looked up by repositories: any of the registry's will do
        let repository: Option<Repository> = format!("{registry}/search").parse().ok();
        let repository = repository.ok_or_else(malformed)?;
        let origin = match registry {
            DEFAULT_REGISTRY => Authority::parse(HUB_INDEX),
            registry => Authority::parse(registry),
        };
        let asked = Asked {
            repository: &repository,
            origin: origin.ok_or_else(malformed)?,
            purpose: Purpose::Push,
        };
        let fitting = self.rules.of(&repository);
        if let Some(fitting) = fitting.as_ref().filter(|fitting| fitting.rule.blocked) {
            return Err(HostError::Blocked {
                name: registry.to_owned(),
                path: fitting.rule.path.clone(),
            });
        }
        let flagged = fitting.is_some_and(|fitting| fitting.rule.insecure);
        // what is said of Docker Hub is said of another host than the one that searches it
        let file = match registry {
            DEFAULT_REGISTRY => None,
            registry => self.hosts_file(registry)?,
        };
        let server = file.as_ref().map(|file| &file.server).filter(|server| {
            let elsewhere = |address: &Address| address.authority != asked.origin;
            !server.address.as_ref().is_some_and(elsewhere)
        });
        let scheme = server.and_then(|server| server.address.as_ref()?.scheme);
        let security = self.security(scheme, &asked.origin, flagged);
        let mut candidate = Candidate::new(asked.origin.clone(), &repository, security, Source::Name);
        if let Some(server) = server {
            candidate.security = judged(candidate.security, server.skip_verify);
            candidate.take(server);
        }
        candidate.root = SEARCH_ROOT.to_owned();
        self.endpoint(&asked, candidate)
    }

    /// What a host is trusted by, and shown, by its folders in certs.d.
    pub(crate) fn trust(&self, authority: &Authority) -> Result<Trust, HostError> {
        let mut trust = Trust::default();
        for folder in self.folders.about(&names(&authority.to_string()))? {
            trust.add_folder(&folder)?;
        }
        Ok(trust)
    }

    /// Whether the settings say that a host needs no good certificate.
    pub(crate) fn is_insecure(&self, authority: &Authority) -> bool {
        self.insecure.lists(authority)
    }

    fn hosts_file(&self, registry: &str) -> Result<Option<HostsFile>, HostError> {
        for folder in self.folders.about(&names(registry))? {
            if let Some(file) = HostsFile::read(&folder.join(HOSTS_FILE))? {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }

    /// What may stand in for the registry.
    fn mirrors(
        &self,
        asked: &Asked<'_>,
        file: Option<&HostsFile>,
        fitting: Option<&Fitting<'_>>,
    ) -> Result<Vec<Candidate>, HostError> {
        let mut found = Vec::new();
        if asked.repository.registry() == DEFAULT_REGISTRY && asked.purpose != Purpose::Push {
            for mirror in &self.mirrors {
                let security = self.security(Some(mirror.scheme), &mirror.authority, false);
                let (authority, source) = (mirror.authority.clone(), Source::Mirrors);
                found.push(Candidate::new(authority, asked.repository, security, source));
            }
        }
        if let Some(file) = file {
            let hosts = file.hosts.iter().filter(|host| host.serves(asked.purpose));
            found.extend(hosts.filter_map(|host| self.listed(asked, host, file)));
        }
        if let Some(fitting) = fitting {
            for (mirror, repository) in fitting.mirrors(asked.purpose)? {
                let authority = authority(repository.registry())?;
                let security = self.security(None, &authority, mirror.insecure);
                let source = Source::File(fitting.rule.path.clone());
                found.push(Candidate::new(authority, &repository, security, source));
            }
        }
        Ok(found)
    }

    /// The registry itself, or what the settings put in its place; `None` if it is not to be asked for this.
    fn registry(
        &self,
        asked: &Asked<'_>,
        file: Option<&HostsFile>,
        fitting: Option<&Fitting<'_>>,
    ) -> Result<Option<Candidate>, HostError> {
        let flagged = fitting.is_some_and(|fitting| fitting.rule.insecure);
        let located = match fitting {
            // podman, too, pushes where the name says
            Some(fitting) if asked.purpose != Purpose::Push => fitting.located()?,
            _ => None,
        };
        if let (Some(located), Some(fitting)) = (located, fitting)
            && located != *asked.repository
        {
            let authority = authority(located.registry())?;
            let security = self.security(None, &authority, flagged);
            let source = Source::File(fitting.rule.path.clone());
            return Ok(Some(Candidate::new(authority, &located, security, source)));
        }
        let server = file.map(|file| (file, &file.server));
        match server {
            Some((_, server)) if !server.serves(asked.purpose) => Ok(None),
            Some((file, server)) if server.address.is_some() => Ok(self.listed(asked, server, file)),
            server => {
                let security = self.security(None, &asked.origin, flagged);
                let mut candidate =
                    Candidate::new(asked.origin.clone(), asked.repository, security, Source::Name);
                if let Some((_, server)) = server {
                    candidate.security = judged(candidate.security, server.skip_verify);
                    candidate.take(server);
                }
                Ok(Some(candidate))
            }
        }
    }

    /// A host of hosts.toml that has an address.
    fn listed(&self, asked: &Asked<'_>, host: &Host, file: &HostsFile) -> Option<Candidate> {
        let address = host.address.as_ref()?;
        let authority = canonical(&address.authority);
        let security = judged(self.security(address.scheme, &authority, false), host.skip_verify);
        let source = Source::File(file.path.clone());
        let mut candidate = Candidate::new(authority, asked.repository, security, source);
        candidate.root.clone_from(&address.root);
        candidate.namespaced = true;
        candidate.take(host);
        Some(candidate)
    }

    /// How far a host is trusted: by the scheme of its address if one is written, else by what it is.
    fn security(&self, written: Option<Scheme>, authority: &Authority, flagged: bool) -> Security {
        let insecure = flagged || self.insecure.lists(authority);
        match written {
            Some(Scheme::Http) => Security::Plain,
            Some(Scheme::Https) if insecure => Security::Unverified,
            Some(Scheme::Https) => Security::Verified,
            None if insecure || authority.is_loopback() => Security::Insecure,
            None => Security::Verified,
        }
    }

    fn endpoint(&self, asked: &Asked<'_>, candidate: Candidate) -> Result<Endpoint, HostError> {
        let scheme = match candidate.security {
            Security::Plain => Scheme::Http,
            _ => Scheme::Https,
        };
        let is_origin = candidate.authority.is_same(&asked.origin, scheme);
        let mut trust = self.trust(&candidate.authority)?;
        trust.add(&candidate.trust);
        Ok(Endpoint {
            is_origin,
            namespace: (candidate.namespaced && !is_origin).then(|| asked.repository.registry().to_owned()),
            authority: candidate.authority,
            root: candidate.root,
            repository: candidate.repository,
            headers: candidate.headers,
            security: candidate.security,
            trust: Arc::new(trust),
            dial_timeout: candidate.dial_timeout,
            source: candidate.source,
        })
    }
}

impl Candidate {
    fn new(authority: Authority, repository: &Repository, security: Security, source: Source) -> Self {
        Self {
            authority,
            root: ROOT.to_owned(),
            repository: repository.clone(),
            security,
            source,
            trust: Trust::default(),
            namespaced: false,
            headers: HeaderMap::new(),
            dial_timeout: None,
        }
    }

    /// Takes over what hosts.toml says of a host.
    fn take(&mut self, host: &Host) {
        self.trust = host.trust.clone();
        self.headers.clone_from(&host.headers);
        self.dial_timeout = host.dial_timeout;
    }
}

/// What `skip_verify` makes of a host's security. Plain http of a host whose certificate is not to be verified means
/// that it may have one, as containerd has it.
fn judged(security: Security, skip_verify: Option<bool>) -> Security {
    match (skip_verify, security) {
        (Some(true), Security::Verified) => Security::Unverified,
        (Some(true), Security::Plain) => Security::Insecure,
        (Some(false), Security::Unverified | Security::Insecure) => Security::Verified,
        (_, security) => security,
    }
}

/// Where a registry is.
fn authority(registry: &str) -> Result<Authority, HostError> {
    Authority::parse(api_host(registry)).ok_or_else(|| HostError::Registry {
        registry: registry.to_owned(),
    })
}

/// Docker Hub's host where its name is written as a host.
fn canonical(authority: &Authority) -> Authority {
    let text = authority.to_string();
    Authority::parse(api_host(&text)).unwrap_or_else(|| authority.clone())
}

/// The names a registry's folder may have.
fn names(registry: &str) -> Vec<String> {
    let host = api_host(registry);
    let mut names = vec![registry.to_owned()];
    if host == api_host(DEFAULT_REGISTRY) {
        names = vec![DEFAULT_REGISTRY.to_owned(), host.to_owned()];
    }
    names
}

fn is_same(a: &Endpoint, b: &Endpoint) -> bool {
    a.authority == b.authority && a.root == b.root && a.repository == b.repository && a.security == b.security
}
