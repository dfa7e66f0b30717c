//! What the daemon's own settings say of registries.

use reqwest::Url;

use crate::hosts::address::{Authority, Scheme};
use crate::hosts::error::HostError;
use crate::hosts::folders::Folders;
use crate::hosts::network::Network;
use crate::hosts::proxy::Proxies;

/// No more mirrors or insecure registries than a person would write.
const ENTRIES: usize = 1024;

/// What the daemon's settings say of registries.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// dockerd's `registry-mirrors`: addresses of mirrors of Docker Hub, for pulls.
    pub mirrors: Vec<String>,
    /// dockerd's `insecure-registries`: `host`, `host:port`, or networks in CIDR form, which match registries that are
    /// named by address.
    pub insecure: Vec<String>,
    /// Proxies.
    pub proxies: Proxies,
    /// Where other tools' settings are found.
    pub folders: Folders,
}

/// A mirror of Docker Hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mirror {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
}

/// Registries that need no good certificate.
#[derive(Debug, Default)]
pub(crate) struct Insecure {
    authorities: Vec<Authority>,
    networks: Vec<Network>,
}

/// Reads `registry-mirrors` as dockerd does: `http://` or `https://`, a host, and nothing else.
pub(crate) fn read_mirrors(texts: &[String]) -> Result<Vec<Mirror>, HostError> {
    limit("registry-mirrors", texts)?;
    let mut mirrors = Vec::new();
    for text in texts {
        let error = |reason| HostError::Setting {
            setting: "registry-mirrors".to_owned(),
            // a password may stand before the @
            value: text.rsplit('@').next().unwrap_or_default().to_owned(),
            reason,
        };
        let url = Url::parse(text).map_err(|_| error("no address such as https://host:port"))?;
        let scheme = match url.scheme() {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            _ => return Err(error("a mirror is spoken to by http or https")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(error("a mirror takes no user name and password"));
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(error("a mirror is a host, without path and query"));
        }
        let authority = Authority::of(&url).ok_or_else(|| error("no address such as https://host:port"))?;
        let mirror = Mirror { scheme, authority };
        if !mirrors.contains(&mirror) {
            mirrors.push(mirror);
        }
    }
    Ok(mirrors)
}

impl Insecure {
    /// Reads `insecure-registries`. A scheme in front is let pass, as dockerd does.
    pub(crate) fn read(texts: &[String]) -> Result<Self, HostError> {
        limit("insecure-registries", texts)?;
        let mut insecure = Self::default();
        for text in texts {
            let bare = text
                .strip_prefix("http://")
                .or_else(|| text.strip_prefix("https://"))
                .unwrap_or(text);
            match (Network::parse(bare), Authority::parse(bare)) {
                (Some(network), _) => insecure.networks.push(network),
                (None, Some(authority)) => insecure.authorities.push(authority),
                (None, None) => {
                    return Err(HostError::Setting {
                        setting: "insecure-registries".to_owned(),
                        value: text.clone(),
                        reason: "expected a host, host:port or a network such as 10.0.0.0/8",
                    });
                }
            }
        }
        Ok(insecure)
    }

    /// Whether a registry is listed, by its name as it is written or by its address.
    pub(crate) fn lists(&self, authority: &Authority) -> bool {
        let ip = authority.ip();
        self.authorities.contains(authority)
            || self
                .networks
                .iter()
                .any(|network| ip.is_some_and(|ip| network.contains(ip)))
    }
}

fn limit(setting: &str, texts: &[String]) -> Result<(), HostError> {
    match texts.len() > ENTRIES {
        true => Err(HostError::Setting {
            setting: setting.to_owned(),
            value: format!("{} entries", texts.len()),
            reason: "more than 1024 entries",
        }),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_hosts() {
        let texts = [
            "https://m.example",
            "http://m.example:5000/",
            "https://M.example/",
        ]
        .map(String::from);
        let mirrors = read_mirrors(&texts).unwrap();
        let shown: Vec<_> = mirrors
            .iter()
            .map(|m| format!("{}://{}", m.scheme, m.authority))
            .collect();
        assert_eq!(shown, ["https://m.example", "http://m.example:5000"]);
        for (text, reason) in [
            ("m.example", "no address"),
            ("", "no address"),
            ("ftp://m.example", "by http or https"),
            ("https://user:secret@m.example", "no user name"),
            ("https://m.example/path", "without path"),
            ("https://m.example?x", "without path"),
            ("https://m.example/#x", "without path"),
        ] {
            let error = read_mirrors(&[text.to_owned()]).unwrap_err().to_string();
            assert!(
                error.starts_with("registry-mirrors: ") && error.contains(reason),
                "{error}"
            );
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(read_mirrors(&vec!["https://m.example".to_owned(); 1025]).is_err());
    }

    #[test]
    fn what_is_insecure_is_listed() {
        let texts = [
            "r.example",
            "s.example:5000",
            "10.0.0.0/8",
            "http://t.example",
            "fd00::/8",
            "1.2.3.4",
        ];
        let insecure = Insecure::read(&texts.map(String::from)).unwrap();
        for (text, listed) in [
            ("r.example", true),
            ("R.Example", true),
            ("r.example:5000", false),
            ("a.r.example", false),
            ("s.example:5000", true),
            ("s.example", false),
            ("t.example", true),
            ("10.1.2.3:5000", true),
            ("11.1.2.3", false),
            ("[fd00::1]:5000", true),
            ("1.2.3.4", true),
            ("localhost", false),
        ] {
            assert_eq!(insecure.lists(&Authority::parse(text).unwrap()), listed, "{text}");
        }
        for text in ["", "a/b", "10.0.0.0/33", "ftp://a"] {
            let error = Insecure::read(&[text.to_owned()]).unwrap_err().to_string();
            assert!(error.starts_with("insecure-registries: "), "{error}");
        }
    }
}
