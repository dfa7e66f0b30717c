//! Image references: the only place that knows docker's rules for names (distribution/reference grammar).

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;
use crate::error::ReferenceError;

/// The registry of names that name none.
pub const DEFAULT_REGISTRY: &str = "docker.io";
const LEGACY_REGISTRY: &str = "index.docker.io";
const OFFICIAL: &str = "library/";
const DEFAULT_TAG: &str = "latest";
const NAME_LIMIT: usize = 255;

/// A registry and a path in it, normalised: `docker.io` and `library/` are spelled out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    registry: String,
    path: String,
}

/// A tag: `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

/// `[registry/]path[:tag][@digest]`, normalised.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Where.
    pub repository: Repository,
    /// Which, by name.
    pub tag: Option<Tag>,
    /// Which, by content; decides over the tag.
    pub digest: Option<Digest>,
}

impl Repository {
    /// The registry's host and port, `docker.io` for Docker Hub.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path in the registry, with `library/` for Docker Hub's official images.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The name as people write it: without `docker.io/` and `library/`, unless that would read as something else.
    pub fn familiar(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return self.to_string();
        }
        let short = match self.path.strip_prefix(OFFICIAL) {
            Some(rest) if !rest.contains('/') => rest,
            _ => self.path.as_str(),
        };
        let is_id = short.len() == 64 && Digest::from_hex(short).is_ok();
        let is_registry = short.split_once('/').is_some_and(|(first, _)| is_domain(first));
        if is_id || is_registry {
            self.to_string()
        } else {
            short.to_owned()
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

impl FromStr for Repository {
    type Err = ReferenceError;

    /// Reads a name without tag and digest.
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let reference: Reference = text.parse()?;
        match reference {
            Reference {
                repository,
                tag: None,
                digest: None,
            } => Ok(repository),
            _ => Err(ReferenceError::Format),
        }
    }
}

impl Tag {
    /// Reads a tag.
    pub fn new(text: &str) -> Result<Self, ReferenceError> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let bytes = text.as_bytes();
        let valid = bytes.len() <= 128
            && bytes.first().is_some_and(|b| word(*b))
            && bytes.iter().all(|b| word(*b) || *b == b'.' || *b == b'-');
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(ReferenceError::Tag)
        }
    }

    /// `latest`
    pub fn latest() -> Self {
        Self(DEFAULT_TAG.to_owned())
    }

    /// The tag's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Reference {
    /// This reference, with `latest` where it names neither tag nor digest.
    #[must_use]
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(Tag::latest());
        }
        self
    }

    /// A reference to a tag of a repository.
    pub fn tagged(repository: Repository, tag: Tag) -> Self {
        Self {
            repository,
            tag: Some(tag),
            digest: None,
        }
    }

    /// The reference as people write it.
    pub fn familiar(&self) -> String {
        self.with_suffix(self.repository.familiar())
    }

    fn with_suffix(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name.push(':');
            name.push_str(tag.as_str());
        }
        if let Some(digest) = &self.digest {
            name.push('@');
            name.push_str(&digest.to_string());
        }
        name
    }
}

impl fmt::Display for Reference {
    /// The canonical form, with registry and `library/`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffix(self.repository.to_string()))
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.len() == 64 && Digest::from_hex(text).is_ok() {
            return Err(ReferenceError::LooksLikeId(text.to_owned()));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(|_| ReferenceError::Format)?)),
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            // a colon before the last slash belongs to a port
            Some((name, tag)) if !tag.contains('/') => {
                (name, Some(Tag::new(tag).map_err(|_| ReferenceError::Format)?))
            }
            _ => (rest, None),
        };
        Ok(Self {
            repository: parse_repository(name)?,
            tag,
            digest,
        })
    }
}

fn parse_repository(name: &str) -> Result<Repository, ReferenceError> {
    let (domain, remainder) = match name.split_once('/') {
        Some((first, rest)) if is_domain(first) => (Some(first), rest),
        _ => (None, name),
    };
    if remainder.bytes().any(|b| b.is_ascii_uppercase()) && is_path(&remainder.to_ascii_lowercase()) {
        return Err(ReferenceError::Uppercase(remainder.to_owned()));
    }
    if !is_path(remainder) || !domain.is_none_or(is_valid_domain) {
        return Err(ReferenceError::Format);
    }
    let registry = match domain {
        None | Some(LEGACY_REGISTRY) => DEFAULT_REGISTRY,
        Some(domain) => domain,
    };
    let path = match registry == DEFAULT_REGISTRY && !remainder.contains('/') {
        true => format!("{OFFICIAL}{remainder}"),
        false => remainder.to_owned(),
    };
    if registry.len() + 1 + path.len() > NAME_LIMIT {
        return Err(ReferenceError::TooLong);
    }
    Ok(Repository {
        registry: registry.to_owned(),
        path,
    })
}

/// Whether the first component of a name is a registry rather than part of the path.
fn is_domain(first: &str) -> bool {
    first == "localhost"
        || first
            .bytes()
            .any(|b| b == b'.' || b == b':' || b.is_ascii_uppercase())
}

/// `host[:port]`; the host is dot-separated labels or an IPv6 address in brackets.
fn is_valid_domain(domain: &str) -> bool {
    let (host, port) = match domain.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            if address.is_empty() || !address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':') {
                return false;
            }
            (
                "v6",
                port.strip_prefix(':')
                    .or(if port.is_empty() { None } else { Some("") }),
            )
        }
        None => match domain.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (domain, None),
        },
    };
    let label = |label: &str| {
        let bytes = label.as_bytes();
        bytes.first().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
    };
    host.split('.').all(label) && port.is_none_or(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))
}

/// Slash-separated components of `[a-z0-9]+` joined by `.`, `_`, `__` or any number of `-`.
fn is_path(path: &str) -> bool {
    path.split('/').all(|component| {
        let mut separator = String::new();
        let mut seen = false;
        for c in component.chars() {
            if c.is_ascii_lowercase() || c.is_ascii_digit() {
                let joins = separator.is_empty()
                    || matches!(separator.as_str(), "." | "_" | "__")
                    || separator.bytes().all(|b| b == b'-');
                if !joins || (!seen && !separator.is_empty()) {
                    return false;
                }
                separator.clear();
                seen = true;
            } else if matches!(c, '.' | '_' | '-') {
                separator.push(c);
            } else {
                return false;
            }
        }
        seen && separator.is_empty()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_are_normalised() {
        let digest = format!("busybox@sha256:{HEX}");
        let hex = format!("docker.io/library/{HEX}");
        for (text, canonical, familiar) in [
            ("busybox", "docker.io/library/busybox", "busybox"),
            (
                "index.docker.io/busybox:1",
                "docker.io/library/busybox:1",
                "busybox:1",
            ),
            (
                "docker.io/library/busybox",
                "docker.io/library/busybox",
                "busybox",
            ),
            ("docker.io/library/a/b", "docker.io/library/a/b", "library/a/b"),
            ("me/app:v1", "docker.io/me/app:v1", "me/app:v1"),
            ("ghcr.io/o/n:t", "ghcr.io/o/n:t", "ghcr.io/o/n:t"),
            ("localhost/x", "localhost/x", "localhost/x"),
            ("localhost:5000/x:1", "localhost:5000/x:1", "localhost:5000/x:1"),
            ("[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x"),
            (
                "a__b/c-d.e_f---g",
                "docker.io/a__b/c-d.e_f---g",
                "a__b/c-d.e_f---g",
            ),
            (&digest, &format!("docker.io/library/{digest}"), &digest),
            ("Host/x", "Host/x", "Host/x"),
            (
                "docker.io/localhost/x",
                "docker.io/localhost/x",
                "docker.io/localhost/x",
            ),
            (&hex, &hex, &hex),
        ] {
            let reference: Reference = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(reference.to_string(), canonical);
            assert_eq!(reference.familiar(), familiar);
        }
    }

    #[test]
    fn bad_names_are_refused() {
        for text in [
            "",
            ":",
            "a:",
            ":a",
            "a//b",
            "/a",
            "a/",
            "-a",
            "a-",
            "a._b",
            "a___b",
            "a b",
            "a:b c",
            "a@b",
            "a@sha256:00",
            "é",
            "a:-b",
            "http://a/b",
            "a..b",
            "host-.io/x",
            "host.io:/x",
            "host.io:80a/x",
            "[::1/x",
            "[]/x",
            "[::1]x/y",
        ] {
            assert_eq!(text.parse::<Reference>(), Err(ReferenceError::Format), "{text:?}");
        }
        assert_eq!(Tag::new("-x"), Err(ReferenceError::Tag));
        assert_eq!(
            "Busy".parse::<Reference>(),
            Err(ReferenceError::Uppercase("Busy".into()))
        );
        assert_eq!(
            HEX.parse::<Reference>(),
            Err(ReferenceError::LooksLikeId(HEX.into()))
        );
        assert_eq!("a".repeat(260).parse::<Reference>(), Err(ReferenceError::TooLong));
        assert!(format!("a:{}", "t".repeat(129)).parse::<Reference>().is_err());
    }

    #[test]
    fn latest_is_only_for_bare_names() {
        assert_eq!(
            "a".parse::<Reference>().unwrap().or_latest().familiar(),
            "a:latest"
        );
        assert_eq!("a:b".parse::<Reference>().unwrap().or_latest().familiar(), "a:b");
        let digest = format!("a@sha256:{HEX}");
        assert_eq!(
            digest.parse::<Reference>().unwrap().or_latest().familiar(),
            digest
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
            if let Ok(reference) = text.parse::<Reference>() {
                let again: Reference = reference.to_string().parse().unwrap();
                prop_assert_eq!(&again, &reference);
                let again: Reference = reference.familiar().parse().unwrap();
                prop_assert_eq!(again, reference);
            }
        }

        #[test]
        fn what_looks_like_a_name_reads_the_same_again(text in "([a-zA-Z0-9.]{1,8}(:[0-9]{1,3})?/)?[a-z0-9._-]{1,8}(/[a-z0-9]{1,4})?(:[a-z.-]{1,4})?") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(&reference.to_string().parse::<Reference>().unwrap(), &reference);
                prop_assert_eq!(&reference.familiar().parse::<Reference>().unwrap(), &reference);
            }
        }
    }
}
