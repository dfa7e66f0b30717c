//! A host and port, in one spelling.

use std::fmt;
use std::net::IpAddr;

use reqwest::Url;

use crate::hosts::network::without_mapping;

/// The two ways to speak to a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Over TLS.
    Https,
    /// In the clear.
    Http,
}

impl Scheme {
    /// The scheme's name in an address.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Https => 443,
            Self::Http => 80,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `host` or `host:port`, the host as addresses spell it: lower case, IPv4 in four decimal numbers, IPv6 shortest and
/// in brackets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Authority {
    host: String,
    port: Option<u16>,
}

impl Authority {
    /// Reads `host`, `host:port`, `[v6]` or `[v6]:port`.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(_) => {
                let (host, rest) = text.split_at(text.find(']')? + 1);
                match rest.is_empty() {
                    true => (host, None),
                    false => (host, Some(rest.strip_prefix(':')?)),
                }
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = match port {
            Some(digits) => Some(read_port(digits)?),
            None => None,
        };
        if host
            .bytes()
            .any(|b| matches!(b, b'/' | b'\\' | b'?' | b'#' | b'@' | b'%') || b <= b' ')
        {
            return None;
        }
        let url = Url::parse(&format!("http://{host}/")).ok()?;
        Self::new(url.host_str()?, port)
    }

    /// The host of an address, and its port unless it is the scheme's own.
    pub fn of(url: &Url) -> Option<Self> {
        Self::new(url.host_str()?, url.port())
    }

    /// Takes a host that an address was found to have, if it can stand in a path of a folder.
    fn new(host: &str, port: Option<u16>) -> Option<Self> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'[' | b']' | b':');
        let valid = host.bytes().all(plain) && host.bytes().any(|b| b.is_ascii_alphanumeric() || b == b':');
        valid.then(|| Self {
            host: host.to_owned(),
            port,
        })
    }

    /// The host, IPv6 in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, if one is named.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The host as a number, if it is one.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        ip(&self.host)
    }

    /// Whether this is the machine we run on: `localhost`, 127.0.0.0/8 or ::1.
    pub fn is_loopback(&self) -> bool {
        is_localhost(&self.host) || self.ip().is_some_and(|ip| ip.is_loopback())
    }

    /// Whether both are the same port of the same host when spoken to by this scheme.
    pub(crate) fn is_same(&self, other: &Self, scheme: Scheme) -> bool {
        let port = |a: &Self| a.port.unwrap_or(scheme.default_port());
        self.host == other.host && port(self) == port(other)
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

/// A port in decimal digits and nothing else.
pub(crate) fn read_port(digits: &str) -> Option<u16> {
    let valid = digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|port| valid && *port != 0)
}

/// The address a host is, if it is one and not a name; IPv4 in IPv6's clothes is IPv4.
pub(crate) fn ip(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    bare.unwrap_or(host).parse().ok().map(without_mapping)
}

/// Whether a name means this machine: RFC 6761 section 6.3, and what /etc/hosts commonly has.
pub(crate) fn is_localhost(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.ends_with(".localhost")
        || matches!(
            host,
            "localhost" | "localhost.localdomain" | "ip6-localhost" | "ip6-loopback"
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hosts_have_one_spelling() {
        for (text, host, port) in [
            ("ghcr.io", "ghcr.io", None),
            ("Host:5000", "host", Some(5000)),
            ("localhost:443", "localhost", Some(443)),
            ("127.1:80", "127.0.0.1", Some(80)),
            ("0x7f000001", "127.0.0.1", None),
            ("[::1]:5000", "[::1]", Some(5000)),
            ("[0:0::1]", "[::1]", None),
            ("under_score", "under_score", None),
        ] {
            let authority = Authority::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((authority.host(), authority.port()), (host, port), "{text}");
        }
        for text in [
            "",
            ":80",
            "a:",
            "a:0",
            "a:65536",
            "a:+1",
            "a/b",
            "u@a",
            "a?b",
            "a#b",
            "..",
            ".",
            "a b",
            "[::1",
            "[::1]x",
            "[zz]",
            "a%2fb",
            "a:1:2",
            "256.0.0.1",
        ] {
            assert_eq!(Authority::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn this_machine_has_many_names() {
        for text in [
            "localhost",
            "LOCALHOST:1",
            "a.localhost",
            "127.0.0.1",
            "127.255.0.1:5",
            "[::1]",
        ] {
            assert!(Authority::parse(text).unwrap().is_loopback(), "{text}");
        }
        let mapped = Authority::parse("[::ffff:127.0.0.1]").unwrap();
        assert!(mapped.is_loopback());
        for text in [
            "localhost.example",
            "128.0.0.1",
            "notlocalhost",
            "[::2]",
            "10.0.0.1",
        ] {
            assert!(!Authority::parse(text).unwrap().is_loopback(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_and_read_the_same(text in "[\\[\\]a-zA-Z0-9.:/@_-]{0,20}") {
            if let Some(authority) = Authority::parse(&text) {
                let again = Authority::parse(&authority.to_string());
                prop_assert_eq!(again.as_ref(), Some(&authority));
                let url = Url::parse(&format!("http://{authority}/")).unwrap();
                prop_assert_eq!(url.host_str(), Some(authority.host()));
                prop_assert_eq!(url.path(), "/");
            }
        }
    }
}
