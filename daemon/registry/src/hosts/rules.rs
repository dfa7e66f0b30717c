//! Where a registry may lead us, and where credentials may go.

use reqwest::Url;

use crate::hosts::address::{Authority, ip, is_localhost};
use crate::hosts::endpoint::{Endpoint, Security};
use crate::hosts::error::{HostError, Rule};
use crate::hosts::network::special;

/// Whether a token may be asked for where the registry says. A realm is https unless the registry is insecure, brings
/// no user or password, and is no address of a private, link-local, loopback or otherwise special network unless the
/// registry is at the same host; a registry of this machine may name this machine.
///
/// Only what is written is judged: a name that resolves to a private address is followed, as it is for every other
/// request.
pub fn check_realm(registry: &Endpoint, realm: &Url) -> Result<(), HostError> {
    check(registry, realm, "token realm", may_be_plain(registry))
}

/// Whether a redirect or the `Location` of an upload may be followed; the rules are those of [`check_realm`].
pub fn check_redirect(registry: &Endpoint, to: &Url) -> Result<(), HostError> {
    check(registry, to, "redirect", may_be_plain(registry))
}

/// Whether a layer may be fetched from an address in its descriptor (`urls`): as [`check_realm`], but plain http will
/// do, as what comes is known by its digest. No credentials are ever sent there.
pub fn check_foreign(registry: &Endpoint, url: &Url) -> Result<(), HostError> {
    check(registry, url, "layer address", true)
}

/// Whether credentials, tokens or cookies for one address may be sent to another: same scheme, host and port.
pub fn may_carry_credentials(from: &Url, to: &Url) -> bool {
    // origins other than those of http and https are equal to nothing
    from.origin() == to.origin()
}

fn may_be_plain(registry: &Endpoint) -> bool {
    matches!(registry.security, Security::Insecure | Security::Plain)
}

fn check(registry: &Endpoint, url: &Url, what: &'static str, plain: bool) -> Result<(), HostError> {
    match broken(&registry.authority, url, plain) {
        None => Ok(()),
        Some(rule) => Err(HostError::Refused {
            registry: registry.authority.to_string(),
            what,
            // path and query may be signed, user and password are nobody's business
            address: match url.host_str() {
                Some(host) => match url.port() {
                    Some(port) => format!("{}://{host}:{port}", url.scheme()),
                    None => format!("{}://{host}", url.scheme()),
                },
                None => url.scheme().to_owned(),
            },
            rule,
        }),
    }
}

/// The first rule that an address breaks.
fn broken(registry: &Authority, url: &Url, plain: bool) -> Option<Rule> {
    match url.scheme() {
        "https" => {}
        "http" if plain => {}
        "http" => return Some(Rule::PlainHttp),
        _ => return Some(Rule::Scheme),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Some(Rule::User);
    }
    let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
        return Some(Rule::Scheme);
    };
    if host == registry.host() {
        return None;
    }
    let address = ip(host.strip_suffix('.').unwrap_or(host));
    if is_localhost(host) || address.is_some_and(|a| a.is_loopback()) {
        return (!registry.is_loopback()).then_some(Rule::Localhost);
    }
    address.and_then(special).map(Rule::Special)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::endpoint::Source;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn judge(registry: &str, url: &str, plain: bool) -> Option<Rule> {
        broken(&Authority::parse(registry).unwrap(), &url.parse().unwrap(), plain)
    }

    const PRIVATE: Rule = Rule::Special("private (RFC 1918)");
    const LINK_LOCAL: Rule = Rule::Special("link-local (RFC 3927)");

    #[test]
    fn what_may_be_followed_by_all() {
        for (registry, url, rule) in [
            ("r.example", "https://auth.example/token", None),
            ("r.example", "ftp://r.example/token", Some(Rule::Scheme)),
            ("r.example", "file:///etc/passwd", Some(Rule::Scheme)),
            ("r.example", "https://u@auth.example/", Some(Rule::User)),
            ("r.example", "https://:p@r.example/", Some(Rule::User)),
            ("r.example", "https://8.8.8.8/", None),
            ("r.example", "https://10.0.0.1/", Some(PRIVATE)),
            ("r.example", "https://0xa.1/", Some(PRIVATE)),
            ("r.example", "https://167772161./", Some(PRIVATE)),
            ("r.example", "https://[::ffff:a00:1]/", Some(PRIVATE)),
            ("10.0.0.1:5000", "https://10.0.0.1/auth", None),
            ("10.0.0.1", "https://[::ffff:10.0.0.1]/", Some(PRIVATE)),
            ("10.0.0.1", "https://10.0.0.2/", Some(PRIVATE)),
            ("127.0.0.1", "https://169.254.169.254/", Some(LINK_LOCAL)),
            ("r.example", "https://localhost/", Some(Rule::Localhost)),
            ("r.example", "https://LOCALHOST./", Some(Rule::Localhost)),
            ("r.example", "https://a.localhost/", Some(Rule::Localhost)),
            ("r.example", "https://127.1/", Some(Rule::Localhost)),
            ("r.example", "https://[::1]/", Some(Rule::Localhost)),
            ("r.example", "https://[::ffff:7f00:1]/", Some(Rule::Localhost)),
            ("localhost.example", "https://localhost/", Some(Rule::Localhost)),
            ("localhost:5000", "https://127.0.0.1:6000/", None),
            ("127.0.0.1:5000", "https://localhost/", None),
        ] {
            assert_eq!(judge(registry, url, false), rule, "{registry} {url}");
            assert_eq!(judge(registry, url, true), rule, "{registry} {url}, insecure");
        }
    }

    #[test]
    fn plain_http_is_for_insecure_registries() {
        for (registry, url) in [
            ("r.example", "http://auth.example/token"),
            ("r.example", "http://r.example/token"),
            ("[::1]:5000", "http://127.0.0.1/"),
        ] {
            assert_eq!(
                judge(registry, url, false),
                Some(Rule::PlainHttp),
                "{registry} {url}"
            );
            assert_eq!(judge(registry, url, true), None, "{registry} {url}");
        }
    }

    #[test]
    fn a_refusal_names_rule_and_address_and_no_secret() {
        let registry = Endpoint {
            authority: Authority::parse("r.example:5000").unwrap(),
            root: "/v2".to_owned(),
            repository: "r.example:5000/n".parse().unwrap(),
            is_origin: true,
            namespace: None,
            headers: Default::default(),
            security: Security::Verified,
            trust: Default::default(),
            dial_timeout: None,
            source: Source::Name,
        };
        let url = |text: &str| text.parse::<Url>().unwrap();
        let metadata = url("http://169.254.169.254:81/latest?signature=secret");
        for (error, message) in [
            (
                check_realm(&registry, &metadata),
                "r.example:5000 names http://169.254.169.254:81 as its token realm, which is refused: \
                 plain http is for insecure registries",
            ),
            (
                check_foreign(&registry, &metadata),
                "r.example:5000 names http://169.254.169.254:81 as its layer address, which is refused: \
                 a registry may not lead to an address of another host that is link-local (RFC 3927)",
            ),
            (
                check_redirect(&registry, &url("https://u:secret@cdn.example/")),
                "r.example:5000 names https://cdn.example as its redirect, which is refused: \
                 an address must not bring a user name or password",
            ),
        ] {
            assert_eq!(error.unwrap_err().to_string(), message);
        }
        assert!(check_redirect(&registry, &url("https://cdn.example/x?signature=secret")).is_ok());
        assert!(check_foreign(&registry, &url("http://cdn.example/x")).is_ok());
    }

    #[test]
    fn credentials_stay_where_they_are() {
        for (from, to, may) in [
            ("https://a/x", "https://a/y?z", true),
            ("https://a/", "https://a:443/", true),
            ("https://A/", "https://a/", true),
            ("https://a/", "http://a/", false),
            ("https://a/", "https://a:444/", false),
            ("https://a/", "https://b/", false),
            ("https://a/", "https://a./", false),
            ("http://a/", "http://a:80/", true),
            ("data:x", "data:x", false),
        ] {
            assert_eq!(
                may_carry_credentials(&from.parse().unwrap(), &to.parse().unwrap()),
                may,
                "{from} {to}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_spelling_of_a_special_address_is_followed(address: u32, plain: bool) {
            let v4 = Ipv4Addr::from(address);
            let followed = special(v4.into()).is_none();
            let mapped = v4.to_ipv6_mapped();
            let nat64 = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, (address >> 16) as u16, address as u16);
            for host in [
                v4.to_string(),
                format!("{address}"),
                format!("{address:#x}"),
                format!("0{:o}.{}", address >> 24, address & 0xff_ffff),
                format!("[{mapped}]"),
                format!("[{nat64}]"),
            ] {
                prop_assert_eq!(judge("r.example", &format!("https://{}/", host), plain).is_none(), followed, "{}", host);
            }
        }

        #[test]
        fn the_own_host_is_followed_at_any_port(address: u32, port in 1u16..) {
            let host = Ipv4Addr::from(address).to_string();
            prop_assert_eq!(judge(&host, &format!("https://{host}:{port}/"), false), None);
        }
    }
}
