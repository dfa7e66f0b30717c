//! hosts.toml: containerd's list of the hosts that serve a registry.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use toml::{Spanned, Value};

use crate::hosts::address::{Authority, Scheme};
use crate::hosts::endpoint::Purpose;
use crate::hosts::error::HostError;
use crate::hosts::file::Document;
use crate::hosts::trust::Trust;

/// No file names more hosts.
const HOSTS: usize = 32;

/// What a hosts.toml says.
#[derive(Debug)]
pub(crate) struct HostsFile {
    pub(crate) path: PathBuf,
    /// The hosts to ask first, in the order of the file.
    pub(crate) hosts: Vec<Host>,
    /// The registry itself. Its address is set if `server` is.
    pub(crate) server: Host,
}

/// One host and how to speak to it.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) address: Option<Address>,
    pub(crate) skip_verify: Option<bool>,
    pub(crate) trust: Trust,
    pub(crate) headers: HeaderMap,
    pub(crate) dial_timeout: Option<Duration>,
    purposes: Option<Vec<Purpose>>,
}

/// An address as a settings file gives it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// The scheme, if one is written.
    pub(crate) scheme: Option<Scheme>,
    pub(crate) authority: Authority,
    /// The root of the API: `/v2`, `/prefix/v2`, or what stands in its place.
    pub(crate) root: String,
}

/// The outermost table.
#[derive(Deserialize)]
struct File {
    server: Option<Spanned<String>>,
    #[serde(default)]
    host: BTreeMap<Spanned<String>, Table>,
}

/// What may be said of a host; at the top of the file, of the server.
#[derive(Deserialize)]
struct Table {
    capabilities: Option<Vec<Spanned<String>>>,
    ca: Option<Spanned<Value>>,
    client: Option<Spanned<Value>>,
    skip_verify: Option<bool>,
    header: Option<BTreeMap<Spanned<String>, Spanned<Value>>>,
    #[serde(default)]
    override_path: bool,
    dial_timeout: Option<Spanned<String>>,
}

impl HostsFile {
    /// Reads the file of a folder and the certificates it names; `None` if the folder has none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, HostError> {
        let Some(document) = Document::read(path)? else {
            return Ok(None);
        };
        let file: File = document.parse()?;
        let server: Table = document.parse()?;
        if file.host.len() > HOSTS {
            return Err(HostError::TooLarge {
                path: path.to_owned(),
                what: format!("{HOSTS} hosts"),
            });
        }
        let mut tables: Vec<_> = file.host.into_iter().collect();
        tables.sort_by_key(|(name, _)| name.span().start);
        let mut hosts = Vec::with_capacity(tables.len());
        for (name, table) in tables {
            hosts.push(table.read(Some(&name), &document)?);
        }
        Ok(Some(Self {
            path: path.to_owned(),
            hosts,
            server: server.read(file.server.as_ref(), &document)?,
        }))
    }
}

impl Host {
    /// Whether the host may be used for this.
    pub(crate) fn serves(&self, purpose: Purpose) -> bool {
        self.purposes
            .as_ref()
            .is_none_or(|purposes| purposes.contains(&purpose))
    }
}

impl Table {
    fn read(self, name: Option<&Spanned<String>>, document: &Document) -> Result<Host, HostError> {
        let address = match name.filter(|name| !name.get_ref().is_empty()) {
            Some(name) => Some(
                Address::read(name.get_ref(), self.override_path)
                    .ok_or_else(|| document.malformed(name.span(), NO_ADDRESS))?,
            ),
            None => None,
        };
        let mut trust = Trust::default();
        let folder = document.path().parent().unwrap_or(Path::new(""));
        if let Some(ca) = &self.ca {
            let texts = texts(ca.get_ref()).ok_or_else(|| document.malformed(ca.span(), NO_FILES))?;
            for name in texts {
                trust.add_authorities(&folder.join(name))?;
            }
        }
        if let Some(client) = &self.client {
            let pairs = pairs(client.get_ref()).ok_or_else(|| document.malformed(client.span(), NO_PAIRS))?;
            for (certificate, key) in pairs {
                trust.add_identity(&folder.join(certificate), &folder.join(key))?;
            }
        }
        Ok(Host {
            address,
            skip_verify: self.skip_verify,
            trust,
            purposes: match self.capabilities {
                Some(names) if !names.is_empty() => Some(purposes(&names, document)?),
                _ => None,
            },
            headers: headers(self.header.unwrap_or_default(), document)?,
            dial_timeout: match self.dial_timeout {
                Some(text) => Some(duration(text.get_ref()).ok_or_else(|| {
                    document.malformed(text.span(), "no duration such as \"10s\" or \"1m30s\"")
                })?),
                None => None,
            },
        })
    }
}

const NO_ADDRESS: &str = "no address such as \"https://host:port\"";
const NO_FILES: &str = "expected the name of a file, or a list of names";
const NO_PAIRS: &str = "expected the name of a file, a list of names, or a list of [certificate, key]";

impl Address {
    /// Reads `[scheme://]host[:port][/prefix]`; the API is at `/v2` below it unless `overriding`.
    fn read(text: &str, overriding: bool) -> Option<Self> {
        let (scheme, rest) = match text.split_once("://") {
            Some(("https", rest)) => (Some(Scheme::Https), rest),
            Some(("http", rest)) => (Some(Scheme::Http), rest),
            Some(_) => return None,
            None => (None, text),
        };
        let authority = Authority::parse(rest.split('/').next().unwrap_or_default())?;
        let url = Url::parse(&format!("http://{rest}")).ok()?;
        if url.query().is_some() || url.fragment().is_some() {
            return None;
        }
        let root = url.path().trim_end_matches('/');
        let root = match overriding || root.ends_with("/v2") {
            true => root.to_owned(),
            false => format!("{root}/v2"),
        };
        Some(Self {
            scheme,
            authority,
            root,
        })
    }
}

fn texts(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(values) => values.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

/// Certificates and their keys; the same file where no key is named.
fn pairs(value: &Value) -> Option<Vec<(&str, &str)>> {
    let pair = |value| match texts(value)?.as_slice() {
        [both] | [both, ""] => Some((*both, *both)),
        [certificate, key] => Some((*certificate, *key)),
        _ => None,
    };
    match value {
        Value::Array(values) => values.iter().map(pair).collect(),
        value => Some(vec![pair(value)?]),
    }
}

fn purposes(names: &[Spanned<String>], document: &Document) -> Result<Vec<Purpose>, HostError> {
    let mut purposes = Vec::new();
    for name in names {
        match name.get_ref().to_ascii_lowercase().as_str() {
            "pull" => purposes.push(Purpose::Pull),
            "resolve" => purposes.push(Purpose::Resolve),
            "push" => purposes.push(Purpose::Push),
            // asked of a host only where it is known, which it is not here
            "referrers" => {}
            _ => return Err(document.malformed(name.span(), "expected pull, resolve or push")),
        }
    }
    Ok(purposes)
}

fn headers(
    table: BTreeMap<Spanned<String>, Spanned<Value>>,
    document: &Document,
) -> Result<HeaderMap, HostError> {
    let mut headers = HeaderMap::new();
    for (name, values) in table {
        let wrong = |span, reason| document.malformed(span, reason);
        let header = HeaderName::from_bytes(name.get_ref().as_bytes())
            .map_err(|_| wrong(name.span(), "not the name of a header"))?;
        let texts = texts(values.get_ref())
            .ok_or_else(|| wrong(values.span(), "expected the text of a header, or a list of texts"))?;
        for text in texts {
            let mut value =
                HeaderValue::from_str(text).map_err(|_| wrong(values.span(), "not the text of a header"))?;
            // what stands in such a file is often a key
            value.set_sensitive(true);
            headers.append(header.clone(), value);
        }
    }
    Ok(headers)
}

/// Reads a duration as Go writes them: numbers with units, `1m30s`, `1.5s`, `300ms`. Zero is none.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        total = total.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = tail;
    }
    (!total.is_zero()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<HostsFile, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts.toml");
        fs_err::write(&path, text).unwrap();
        let shown = folder.path().display().to_string();
        match HostsFile::read(&path) {
            Ok(file) => Ok(file.unwrap()),
            Err(error) => Err(error.to_string().replace(&shown, "D")),
        }
    }

    fn address(scheme: Option<Scheme>, authority: &str, root: &str) -> Option<Address> {
        Some(Address {
            scheme,
            authority: Authority::parse(authority).unwrap(),
            root: root.to_owned(),
        })
    }

    #[test]
    fn a_full_file() {
        let file = read(
            r#"
            server = "https://registry.example"
            capabilities = ["pull", "resolve"]

            [host."https://zzz.example"]
            capabilities = ["Pull"]
            skip_verify = true
            dial_timeout = "1m1.5s"
            [host."https://zzz.example".header]
            x-key = "secret"
            x-more = ["a", "b"]

            [host."http://aaa.example:5000/v2/mirror/"]
            [host."mmm.example/raw"]
            override_path = true
            skip_verify = false
            "#,
        )
        .unwrap();
        assert_eq!(
            file.server.address,
            address(Some(Scheme::Https), "registry.example", "/v2")
        );
        assert!(file.server.serves(Purpose::Resolve) && !file.server.serves(Purpose::Push));
        let [z, a, m] = &file.hosts[..] else {
            panic!("{:?}", file.hosts)
        };
        assert_eq!(z.address, address(Some(Scheme::Https), "zzz.example", "/v2"));
        assert!(z.serves(Purpose::Pull) && !z.serves(Purpose::Resolve) && !z.serves(Purpose::Push));
        assert_eq!(
            (z.skip_verify, z.dial_timeout),
            (Some(true), Some(Duration::from_millis(61_500)))
        );
        assert_eq!(z.headers.get_all("X-More").iter().count(), 2);
        assert!(!format!("{z:?}").contains("secret"));
        assert_eq!(
            a.address,
            address(Some(Scheme::Http), "aaa.example:5000", "/v2/mirror/v2")
        );
        assert!(a.serves(Purpose::Push));
        assert_eq!(m.address, address(None, "mmm.example", "/raw"));
        assert_eq!(m.skip_verify, Some(false));
    }

    #[test]
    fn an_empty_file_is_the_registry_alone() {
        let file = read("").unwrap();
        assert!(file.hosts.is_empty() && file.server.address.is_none());
        assert!(file.server.serves(Purpose::Push));
    }

    #[test]
    fn addresses() {
        for (text, overriding, root) in [
            ("https://a", false, "/v2"),
            ("https://a/", false, "/v2"),
            ("https://a/v2", false, "/v2"),
            ("https://a/v2/", false, "/v2"),
            ("https://a/x", false, "/x/v2"),
            ("https://a/x", true, "/x"),
            ("https://a", true, ""),
            ("https://a/../x", false, "/x/v2"),
        ] {
            assert_eq!(Address::read(text, overriding).unwrap().root, root, "{text}");
        }
        for text in [
            "",
            "ftp://a",
            "https://",
            "https://u@a",
            "https://a?x",
            "https://a/#x",
            "https://a:x",
            "HTTPS://a",
        ] {
            assert_eq!(Address::read(text, false), None, "{text}");
        }
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (text, message) in [
            ("server = 1", "D/hosts.toml: line 1, column 10: "),
            (
                "x = 1\nserver = \"ftp://a\"",
                "D/hosts.toml: line 2, column 10: no address such as",
            ),
            (
                "[host.\"a b\"]",
                "D/hosts.toml: line 1, column 7: no address such as",
            ),
            (
                "capabilities = [\"pull\", \"fly\"]",
                "D/hosts.toml: line 1, column 25: expected pull, resolve or push",
            ),
            (
                "ca = 1",
                "D/hosts.toml: line 1, column 6: expected the name of a file",
            ),
            ("ca = \"ca.pem\"", "D/ca.pem: no such file"),
            (
                "client = [[\"a\"], [\"a\",\"b\",\"c\"]]",
                "D/hosts.toml: line 1, column 10: expected the name of a file",
            ),
            ("client = [[\"a.pem\", \"\"]]", "D/a.pem: no such file"),
            (
                "[header]\n\"a b\" = \"x\"",
                "D/hosts.toml: line 2, column 1: not the name of a header",
            ),
            (
                "[header]\na = \"x\\ny\"",
                "D/hosts.toml: line 2, column 5: not the text of a header",
            ),
            (
                "[header]\na = 1",
                "D/hosts.toml: line 2, column 5: expected the text of a header",
            ),
            (
                "dial_timeout = \"soon\"",
                "D/hosts.toml: line 1, column 16: no duration",
            ),
            (
                "[host.\"https://a\"]\nskip_verify = \"yes\"",
                "D/hosts.toml: line 2, column 15: ",
            ),
            ("[host", "D/hosts.toml: line 1, column 6: "),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(message), "{text}: {error}");
        }
        let many: String = (0..33).map(|n| format!("[host.\"https://h{n}\"]\n")).collect();
        assert!(read(&many).unwrap_err().contains("32 hosts"));
    }

    #[test]
    fn durations() {
        let is = |text: &str, millis: u64| {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}")
        };
        is("3s", 3_000);
        is("300ms", 300);
        is("1.5h", 5_400_000);
        is("1m30s", 90_000);
        is("2000us", 2);
        for text in [
            "",
            "0s",
            "3",
            "s",
            "-1s",
            "1 s",
            "1d",
            "1.2.3s",
            "99999999999999999999h",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_address_is_read_or_refused(text in "(https?://)?[a-z0-9.:@/?#\\[\\]_%-]{0,30}", overriding: bool) {
            if let Some(address) = Address::read(&text, overriding) {
                let url = format!("http://{}{}/x", address.authority, address.root);
                let url = Url::parse(&url).unwrap();
                prop_assert_eq!(url.host_str(), Some(address.authority.host()));
                prop_assert!(url.path().ends_with("/x"));
            }
        }

        #[test]
        fn any_duration_is_read_or_refused(text in "[0-9.smhunµ-]{0,12}") {
            let _ = duration(&text);
        }
    }
}
