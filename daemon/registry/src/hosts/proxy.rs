//! Proxies: which connections go through one, by the variables every tool knows.

use std::fmt;
use std::net::IpAddr;

use reqwest::Url;

use crate::hosts::address::{ip, is_localhost, read_port};
use crate::hosts::error::HostError;
use crate::hosts::network::Network;

/// Proxies for plain and for TLS connections, and what goes without one.
#[derive(Clone, Default)]
pub struct Proxies {
    http: Option<Url>,
    https: Option<Url>,
    exceptions: Exceptions,
}

/// What NO_PROXY lists.
#[derive(Debug, Clone, Default)]
struct Exceptions(Vec<Exception>);

#[derive(Debug, Clone)]
struct Exception {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Debug, Clone)]
enum Hosts {
    All,
    Address(IpAddr),
    Network(Network),
    /// A domain and what is under it.
    Domain(String),
    /// Only what is under a domain.
    Under(String),
}

impl Proxies {
    /// Reads HTTP_PROXY, HTTPS_PROXY, ALL_PROXY (for what the first two leave out) and NO_PROXY, each in upper case
    /// before lower, empty as good as not set. `lookup` gives a variable's value.
    ///
    /// NO_PROXY is a list, separated by commas or blanks, of addresses, networks in CIDR form, domains (themselves and
    /// all under them; with a leading `.` or `*.` only those under them), each with `:port` if wanted; `*` is everything.
    /// Names are not resolved: a network only matches hosts that are written as addresses. This machine is never spoken
    /// to through a proxy.
    ///
    /// A proxy is `http://`, `https://`, `socks4://`, `socks4a://`, `socks5://` or `socks5h://`, http if nothing is said,
    /// with user and password where it wants them. Anything else is an error.
    pub fn from_environment(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, HostError> {
        let variable = |name: &'static str| {
            let set = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
            set(name).or_else(|| set(&name.to_ascii_lowercase()))
        };
        let proxy = |name: &'static str| match variable(name) {
            Some(value) => read_proxy(name, value.trim()).map(Some),
            None => Ok(None),
        };
        let all = proxy("ALL_PROXY")?;
        Ok(Self {
            http: proxy("HTTP_PROXY")?.or_else(|| all.clone()),
            https: proxy("HTTPS_PROXY")?.or(all),
            exceptions: Exceptions::parse(&variable("NO_PROXY").unwrap_or_default()),
        })
    }

    /// The proxy a connection to this address goes through.
    pub fn of(&self, url: &Url) -> Option<&Url> {
        let proxy = match url.scheme() {
            "https" => self.https.as_ref(),
            "http" => self.http.as_ref(),
            _ => None,
        };
        proxy.filter(|_| match (url.host_str(), url.port_or_known_default()) {
            (Some(host), Some(port)) => !self.exceptions.have(host, port),
            _ => false,
        })
    }
}

impl fmt::Debug for Proxies {
    /// Without users and passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |url: &Option<Url>| url.as_ref().map(without_user);
        f.debug_struct("Proxies")
            .field("http", &shown(&self.http))
            .field("https", &shown(&self.https))
            .field("exceptions", &self.exceptions)
            .finish()
    }
}

fn without_user(url: &Url) -> String {
    format!(
        "{}://{}{}",
        url.scheme(),
        url.host_str().unwrap_or_default(),
        url.port().map(|port| format!(":{port}")).unwrap_or_default()
    )
}

fn read_proxy(variable: &str, value: &str) -> Result<Url, HostError> {
    let error = |reason| HostError::Setting {
        setting: variable.to_owned(),
        // what stands before an @ may be a password
        value: value.rsplit('@').next().unwrap_or_default().to_owned(),
        reason,
    };
    let url = match value.contains("://") {
        true => Url::parse(value),
        false => Url::parse(&format!("http://{value}")),
    };
    let url = url.map_err(|_| error("not the address of a proxy"))?;
    match url.scheme() {
        "http" | "https" | "socks4" | "socks4a" | "socks5" | "socks5h" => {}
        _ => return Err(error("a proxy is spoken to by http, https or socks")),
    }
    match url.host_str() {
        Some(host) if !host.is_empty() => Ok(url),
        _ => Err(error("the proxy has no host")),
    }
}

impl Exceptions {
    fn parse(text: &str) -> Self {
        let words = text.split([',', ' ', '\t', '\n', '\r']);
        Self(words.filter_map(Exception::parse).collect())
    }

    /// Whether a host is spoken to without a proxy.
    fn have(&self, host: &str, port: u16) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let address = ip(&host);
        if is_localhost(&host) || address.is_some_and(|a| a.is_loopback()) {
            return true;
        }
        self.0
            .iter()
            .any(|exception| exception.port.is_none_or(|p| p == port) && exception.hosts.have(&host, address))
    }
}

impl Exception {
    /// Reads one word; what cannot be a host matches nothing.
    fn parse(word: &str) -> Option<Self> {
        let word = word.to_ascii_lowercase();
        let everywhere = |hosts| Some(Self { hosts, port: None });
        if let Some(network) = Network::parse(&word) {
            return everywhere(Hosts::Network(network));
        }
        if let Some(address) = ip(&word) {
            return everywhere(Hosts::Address(address));
        }
        let (host, port) = match word.rsplit_once(':') {
            Some((host, port)) => (host, Some(read_port(port)?)),
            None => (word.as_str(), None),
        };
        let hosts = match (host, ip(host)) {
            ("*", _) => Hosts::All,
            (_, Some(address)) => Hosts::Address(address),
            (host, None) => {
                let host = host.strip_suffix('.').unwrap_or(host);
                let under = host.strip_prefix('*').unwrap_or(host).strip_prefix('.');
                match under.unwrap_or(host) {
                    "" => return None,
                    domain if under.is_some() => Hosts::Under(domain.to_owned()),
                    domain => Hosts::Domain(domain.to_owned()),
                }
            }
        };
        Some(Self { hosts, port })
    }
}

impl Hosts {
    fn have(&self, host: &str, address: Option<IpAddr>) -> bool {
        let is_under = |domain: &str| {
            let rest = host.strip_suffix(domain);
            address.is_none() && rest.is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
        };
        match self {
            Self::All => true,
            Self::Address(a) => address == Some(*a),
            Self::Network(network) => address.is_some_and(|a| network.contains(a)),
            Self::Domain(domain) => host == domain || is_under(domain),
            Self::Under(domain) => is_under(domain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn proxies(variables: &[(&str, &str)]) -> Result<Proxies, HostError> {
        Proxies::from_environment(|name| {
            let found = variables.iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn used(proxies: &Proxies, url: &str) -> Option<String> {
        proxies.of(&url.parse().unwrap()).map(Url::to_string)
    }

    #[test]
    fn variables_are_found_in_both_cases() {
        for (variables, http, https) in [
            (&[("HTTP_PROXY", "p:1")][..], Some("http://p:1/"), None),
            (&[("https_proxy", "https://p:1")], None, Some("https://p:1/")),
            (
                &[("HTTPS_PROXY", "a:1"), ("https_proxy", "b:1")],
                None,
                Some("http://a:1/"),
            ),
            (
                &[("HTTPS_PROXY", " "), ("https_proxy", "b:1")],
                None,
                Some("http://b:1/"),
            ),
            (
                &[("ALL_PROXY", "socks5://s:1")],
                Some("socks5://s:1"),
                Some("socks5://s:1"),
            ),
            (
                &[("all_proxy", "a:1"), ("http_proxy", "h:1")],
                Some("http://h:1/"),
                Some("http://a:1/"),
            ),
            (&[], None, None),
        ] {
            let proxies = proxies(variables).unwrap();
            assert_eq!(
                used(&proxies, "http://r.example/").as_deref(),
                http,
                "{variables:?}"
            );
            assert_eq!(
                used(&proxies, "https://r.example/").as_deref(),
                https,
                "{variables:?}"
            );
        }
    }

    #[test]
    fn a_bad_proxy_is_an_error_that_keeps_its_password() {
        for value in [
            "ftp://u:secret@p",
            "http://u:secret@",
            "u:secret@p:99999",
            "u:secret@p q",
        ] {
            let error = proxies(&[("https_proxy", value)]).unwrap_err().to_string();
            assert!(error.starts_with("HTTPS_PROXY: "), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let good = proxies(&[("HTTP_PROXY", "http://u:secret@p:1")]).unwrap();
        assert!(!format!("{good:?}").contains("secret"));
        assert_eq!(used(&good, "http://a/").as_deref(), Some("http://u:secret@p:1/"));
    }

    #[test]
    fn exceptions() {
        for (list, url, excepted) in [
            ("example.com", "https://example.com/", true),
            ("example.com", "https://a.example.com/", true),
            ("example.com", "https://notexample.com/", false),
            ("EXAMPLE.com", "https://A.Example.COM./", true),
            (".example.com", "https://a.example.com/", true),
            (".example.com", "https://example.com/", false),
            ("*.example.com", "https://a.b.example.com/", true),
            ("*.example.com", "https://example.com/", false),
            ("example.com:443", "https://example.com/", true),
            ("example.com:443", "https://example.com:8443/", false),
            ("example.com:80", "http://example.com/", true),
            ("a, b c.example ,", "https://c.example/", true),
            ("*", "https://anything.example/", true),
            ("*:8080", "https://anything.example:8080/", true),
            ("*:8080", "https://anything.example/", false),
            ("10.0.0.0/8", "https://10.9.8.7:5000/", true),
            ("10.0.0.0/8", "https://11.9.8.7:5000/", false),
            ("10.0.0.0/8", "https://ten.example/", false),
            ("10.0.0.1", "https://10.0.0.1/", true),
            ("10.0.0.1:5000", "https://10.0.0.1:5000/", true),
            ("10.0.0.1:5000", "https://10.0.0.1/", false),
            ("0.0.1", "https://10.0.0.1/", false),
            ("fd00::/8", "https://[fd00::7]/", true),
            ("fd00::7", "https://[fd00::7]/", true),
            ("[fd00::7]:443", "https://[fd00::7]/", true),
            ("[fd00::7]:443", "https://[fd00::7]:5000/", false),
            ("10.0.0.0/8", "https://[::ffff:10.1.1.1]/", true),
            ("", "https://example.com/", false),
            (".", "https://example.com/", false),
            (":80", "http://example.com/", false),
            ("", "https://localhost:5000/", true),
            ("", "https://127.8.8.8/", true),
            ("", "https://[::1]/", true),
        ] {
            let variables = [("ALL_PROXY", "p:1"), ("no_proxy", list)];
            let proxies = proxies(&variables).unwrap();
            assert_eq!(used(&proxies, url).is_none(), excepted, "{list:?} {url}");
        }
    }

    proptest! {
        #[test]
        fn a_domain_excepts_itself_and_all_under_it(domain in "[a-z]{1,8}(\\.[a-z]{1,5}){0,2}", label in "[a-z0-9]{1,6}", port: u16) {
            let list = Exceptions::parse(&domain);
            let under = format!("{label}.{domain}");
            let beside = format!("{label}{domain}");
            prop_assert!(list.have(&domain, port));
            prop_assert!(list.have(&under, port));
            prop_assert!(!list.have(&beside, port));
            let dotted = Exceptions::parse(&format!(".{domain}"));
            prop_assert!(dotted.have(&under, port));
            prop_assert!(is_localhost(&domain) || !dotted.have(&domain, port));
        }

        #[test]
        fn a_port_narrows(host in "[a-z]{1,8}\\.example", port in 1u16.., other in 1u16..) {
            let list = Exceptions::parse(&format!("{host}:{port}"));
            prop_assert!(list.have(&host, port));
            prop_assert_eq!(list.have(&host, other), port == other);
        }

        #[test]
        fn a_network_excepts_its_addresses_only(network: u32, bits in 0u32..=32, address: u32) {
            let list = Exceptions::parse(&format!("{}/{bits}", Ipv4Addr::from(network)));
            let v4 = Ipv4Addr::from(address);
            let expected = (network ^ address).leading_zeros() >= bits || v4.is_loopback();
            prop_assert_eq!(list.have(&v4.to_string(), 443), expected);
        }

        #[test]
        fn any_list_is_read(list in "[a-z0-9*.:/, \\[\\]é-]{0,40}", host in "[a-z0-9.:\\[\\]]{0,20}", port: u16) {
            Exceptions::parse(&list).have(&host, port);
        }
    }
}
