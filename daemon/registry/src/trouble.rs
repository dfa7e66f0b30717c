//! What keeps a registry from doing what it is asked for, told apart by what a person does about it.

use std::io;

use reqwest::Url;

use crate::error::Error;
use crate::hosts::{Hosts, Scheme};

/// What keeps a registry from doing what it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// It said no to this user.
    Refused,
    /// No address belongs to its name.
    Name,
    /// No connection comes about: nobody listens, or there is no way there.
    Connection,
    /// The proxy on the way there cannot be used, or does not lead there.
    Proxy,
    /// TLS fails over certificates: nobody vouches for its own, or it wants one from us.
    Certificate,
    /// It was to speak TLS and does not.
    NoTls,
    /// It was to speak plain http and does not.
    NeedsTls,
    /// It takes connections and says nothing.
    Silence,
    /// The settings, certificates or rules of this machine are wrong or do not allow it.
    Settings,
    /// Anything else; trying again later may help.
    Other,
}

impl Trouble {
    /// What is behind a failure.
    pub(crate) fn of(error: &Error, hosts: &Hosts) -> Self {
        match error {
            Error::Refused(refusal) if refusal.is_about_rights() => Self::Refused,
            Error::Refused(refusal) if refusal.status == PROXY_AUTHENTICATION => Self::Proxy,
            Error::Host(_) => Self::Settings,
            Error::Stalled { .. } => Self::Silence,
            Error::Everywhere { origin, .. } => Self::of(origin, hosts),
            Error::Network { url, source } => of_network(url, source, hosts),
            _ => Self::Other,
        }
    }
}

/// A proxy wants to know who we are (RFC 9110, section 15.5.8).
const PROXY_AUTHENTICATION: u16 = 407;

fn of_network(url: &str, source: &reqwest::Error, hosts: &Hosts) -> Trouble {
    let url = Url::parse(url).ok();
    let is_plain = url
        .as_ref()
        .is_some_and(|url| url.scheme() == Scheme::Http.as_str());
    let has_proxy = url.as_ref().is_some_and(|url| hosts.has_proxy(url));
    match tls_failure(source) {
        Some(rustls::Error::InvalidMessage(_)) => return Trouble::NoTls,
        Some(
            rustls::Error::InvalidCertificate(_)
            | rustls::Error::NoCertificatesPresented
            | rustls::Error::AlertReceived(_),
        ) => return Trouble::Certificate,
        _ => {}
    }
    if source.is_connect() {
        // with a proxy it is the proxy's name that was looked up
        return match (has_proxy, source.is_dns(), source.is_timeout()) {
            (true, ..) => Trouble::Proxy,
            (false, true, _) => Trouble::Name,
            (false, false, _) => Trouble::Connection,
        };
    }
    match (source.is_timeout(), is_plain && source.is_request()) {
        (true, _) => Trouble::Silence,
        // the answer to plain http is an alert of TLS, or the end of the connection
        (false, true) => Trouble::NeedsTls,
        (false, false) => Trouble::Other,
    }
}

/// What TLS has to say about a failure.
fn tls_failure(error: &reqwest::Error) -> Option<&rustls::Error> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(failure) = error.downcast_ref() {
            return Some(failure);
        }
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
            .map(|inner| inner as &(dyn std::error::Error + 'static));
        cause = inner.or_else(|| error.source());
    }
    None
}
