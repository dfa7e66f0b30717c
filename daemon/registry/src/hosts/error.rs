//! Why a registry cannot be found, connected to or trusted.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a registry cannot be found, connected to or trusted.
#[derive(Debug, Error)]
pub enum HostError {
    /// A settings file or certificate cannot be read.
    #[error("cannot read the settings of registries")]
    Read {
        /// What the system said, with the path.
        #[source]
        source: io::Error,
    },
    /// A settings file or folder is larger than one is let be.
    #[error("{} is too large: {what} is the limit", path.display())]
    TooLarge {
        /// The file or folder.
        path: PathBuf,
        /// The limit and its unit.
        what: String,
    },
    /// A settings file does not say what one can say.
    #[error("{}: line {line}, column {column}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
        /// What is wrong there.
        reason: String,
    },
    /// One of the daemon's own settings, or a variable of its environment.
    #[error("{setting}: {value:?}: {reason}")]
    Setting {
        /// The setting, as it is spelled where it is made.
        setting: String,
        /// What it says; for a proxy without user and password.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The registry of a name is no address.
    #[error("{registry:?} is no address of a registry: expected host or host:port")]
    Registry {
        /// What the name says.
        registry: String,
    },
    /// registries.conf forbids it.
    #[error("{name} is blocked by {}", path.display())]
    Blocked {
        /// The repository.
        name: String,
        /// The file that blocks it.
        path: PathBuf,
    },
    /// registries.conf sends a name somewhere that is no name.
    #[error("{}: location {location:?} makes {name} into {result:?}, which is no name", path.display())]
    Location {
        /// The repository.
        name: String,
        /// The location.
        location: String,
        /// What comes out.
        result: String,
        /// The file.
        path: PathBuf,
    },
    /// All hosts of a registry are kept from what is to be done.
    #[error("no host of {registry} may be used to {purpose}: see {}", path.display())]
    NoEndpoint {
        /// The registry.
        registry: String,
        /// What was to be done.
        purpose: &'static str,
        /// The file that names the hosts.
        path: PathBuf,
    },
    /// A certificate or its key is of no use.
    #[error("{}: {reason}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A client certificate without its key, or a key without its certificate.
    #[error(
        "{} needs {} beside it (certificates of authorities end in .crt)",
        path.display(),
        missing.display()
    )]
    Unpaired {
        /// The file that is there.
        path: PathBuf,
        /// The file that is not.
        missing: PathBuf,
    },
    /// The system trusts nobody, so that no registry can be verified.
    #[error("cannot load the system's trusted certificates: {reason}")]
    Roots {
        /// What was found instead.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls {
        /// What rustls said.
        #[source]
        source: rustls::Error,
    },
    /// The HTTP client cannot be set up.
    #[error("cannot set up the HTTP client")]
    Client {
        /// What reqwest said.
        #[source]
        source: reqwest::Error,
    },
    /// A registry sends us somewhere it must not.
    #[error("{registry} names {address} as its {what}, which is refused: {rule}")]
    Refused {
        /// The registry that did.
        registry: String,
        /// What it was to be: token realm, redirect, layer address.
        what: &'static str,
        /// Scheme, host and port of where it leads.
        address: String,
        /// The rule that forbids it.
        rule: Rule,
    },
}

/// What a registry may not lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Rule {
    /// Neither http nor https.
    #[error("only http and https are followed")]
    Scheme,
    /// Plain http, from a registry that is not insecure.
    #[error("plain http is for insecure registries")]
    PlainHttp,
    /// A user name or password in the address.
    #[error("an address must not bring a user name or password")]
    User,
    /// This machine by name, from a registry elsewhere.
    #[error("only a registry of this machine may lead to this machine")]
    Localhost,
    /// An address of no public network, from another host.
    #[error("a registry may not lead to an address of another host that is {0}")]
    Special(&'static str),
}
