//! registries.conf, version 2: podman's rules for names (containers-registries.conf(5)).

use std::path::{Path, PathBuf};

use mica_oci::Repository;
use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::Spanned;

use crate::hosts::endpoint::Purpose;
use crate::hosts::error::HostError;
use crate::hosts::file::Document;

/// No file has more tables `[[registry]]`.
const REGISTRIES: usize = 1024;
/// No table has more mirrors.
const MIRRORS: usize = 32;

/// What holds for the names that begin with a prefix.
#[derive(Debug)]
pub(crate) struct Rule {
    /// The names begin with this, or with any host under a domain if it is `*.domain`.
    pub(crate) prefix: String,
    /// What takes the prefix's place.
    pub(crate) location: Option<String>,
    pub(crate) insecure: bool,
    pub(crate) blocked: bool,
    pub(crate) mirrors: Vec<Mirror>,
    pub(crate) path: PathBuf,
}

/// A mirror for the names of a rule.
#[derive(Debug)]
pub(crate) struct Mirror {
    pub(crate) location: String,
    pub(crate) insecure: bool,
    pub(crate) purposes: &'static [Purpose],
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    registry: Vec<Spanned<Registry>>,
    /// Version 1 of the format.
    registries: Option<Spanned<IgnoredAny>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Registry {
    prefix: Option<Spanned<String>>,
    location: Option<Spanned<String>>,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<MirrorTable>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct MirrorTable {
    location: Spanned<String>,
    #[serde(default)]
    insecure: bool,
    pull_from_mirror: Option<Spanned<String>>,
}

/// Reads a name that begins with its registry.
pub(crate) fn read_name(text: &str) -> Option<Repository> {
    let repository: Repository = text.parse().ok()?;
    let first = text.split('/').next().unwrap_or_default();
    let named = first == repository.registry() || first == "index.docker.io";
    named.then_some(repository)
}

/// Reads one file; no rules if there is none.
pub(crate) fn read_file(path: &Path) -> Result<Vec<Rule>, HostError> {
    let Some(document) = Document::read(path)? else {
        return Ok(Vec::new());
    };
    let file: File = document.parse()?;
    if let Some(old) = file.registries {
        return Err(document.malformed(
            old.span(),
            "version 1 of registries.conf is not read: use [[registry]]",
        ));
    }
    if file.registry.len() > REGISTRIES {
        return Err(HostError::TooLarge {
            path: path.to_owned(),
            what: format!("{REGISTRIES} registries"),
        });
    }
    let mut rules: Vec<Rule> = Vec::new();
    for table in file.registry {
        let span = table.span();
        let rule = table.into_inner().read(span.clone(), &document)?;
        match rules.iter().find(|earlier| earlier.prefix == rule.prefix) {
            // as podman has it, the first counts, and what contradicts it is a mistake
            Some(earlier) if earlier.insecure == rule.insecure && earlier.blocked == rule.blocked => {}
            Some(_) => {
                let reason = format!("{:?} stands here a second time and says otherwise", rule.prefix);
                return Err(document.malformed(span, reason));
            }
            None => rules.push(rule),
        }
    }
    Ok(rules)
}

impl Registry {
    fn read(self, span: std::ops::Range<usize>, document: &Document) -> Result<Rule, HostError> {
        let set = |text: Option<Spanned<String>>| text.filter(|text| !text.get_ref().is_empty());
        let (prefix, location) = (set(self.prefix), set(self.location));
        let location = match location {
            Some(location) => Some(read_place(location, document)?),
            None => None,
        };
        let prefix = match (prefix, &location) {
            (Some(prefix), location) => {
                let wild = prefix.get_ref().starts_with("*.");
                if location.is_none() && !wild {
                    return Err(document.malformed(prefix.span(), "a prefix needs a location beside it"));
                }
                match wild {
                    true => read_wildcard(prefix, document)?,
                    false => read_place(prefix, document)?,
                }
            }
            (None, Some(location)) => location.clone(),
            (None, None) => {
                return Err(document.malformed(span, "a registry needs a prefix or a location"));
            }
        };
        if self.mirror.len() > MIRRORS {
            return Err(document.malformed(span, format!("more than {MIRRORS} mirrors")));
        }
        let digests_only = self.mirror_by_digest_only;
        let mirrors = self
            .mirror
            .into_iter()
            .map(|mirror| mirror.read(digests_only, document));
        Ok(Rule {
            prefix,
            location,
            insecure: self.insecure,
            blocked: self.blocked,
            mirrors: mirrors.collect::<Result<_, _>>()?,
            path: document.path().to_owned(),
        })
    }
}

impl MirrorTable {
    fn read(self, digests_only: bool, document: &Document) -> Result<Mirror, HostError> {
        let purposes: &[Purpose] = match &self.pull_from_mirror {
            Some(word) if digests_only => {
                let reason = "pull-from-mirror and mirror-by-digest-only exclude each other";
                return Err(document.malformed(word.span(), reason));
            }
            Some(word) => match word.get_ref().as_str() {
                "all" | "" => &[Purpose::Resolve, Purpose::Pull],
                "digest-only" => &[Purpose::Pull],
                "tag-only" => &[Purpose::Resolve],
                _ => return Err(document.malformed(word.span(), "expected all, digest-only or tag-only")),
            },
            None if digests_only => &[Purpose::Pull],
            None => &[Purpose::Resolve, Purpose::Pull],
        };
        Ok(Mirror {
            location: read_place(self.location, document)?,
            insecure: self.insecure,
            purposes,
        })
    }
}

/// Reads `host[:port][/path]`.
fn read_place(text: Spanned<String>, document: &Document) -> Result<String, HostError> {
    let place = text.get_ref().trim_end_matches('/');
    if read_name(&format!("{place}/x")).is_none() {
        let reason = match place.contains("://") {
            true => "a registry is named without http:// or https://",
            false => "expected host[:port][/path], without tag and digest",
        };
        return Err(document.malformed(text.span(), reason));
    }
    Ok(place.to_owned())
}

/// Reads `*.domain`.
fn read_wildcard(text: Spanned<String>, document: &Document) -> Result<String, HostError> {
    let domain = text.get_ref().strip_prefix("*.").unwrap_or_default();
    // a dot in front makes a host of any label
    let valid = !domain.contains(['/', ':']) && read_name(&format!("a.{domain}/x")).is_some();
    match valid {
        true => Ok(text.into_inner()),
        false => Err(document.malformed(text.span(), "expected *. and a domain, and nothing else")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Rule>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.conf");
        fs_err::write(&path, text).unwrap();
        let shown = folder.path().display().to_string();
        read_file(&path).map_err(|error| error.to_string().replace(&shown, "D"))
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (text, message) in [
            ("[[registry]]\nlocation = 1", "D/0.conf: line 2, column 12: "),
            (
                "[[registry]]\ninsecure = true",
                "D/0.conf: line 1, column 1: a registry needs a prefix or a location",
            ),
            (
                "[[registry]]\nprefix = \"a.example\"",
                "D/0.conf: line 2, column 10: a prefix needs a location beside it",
            ),
            (
                "[[registry]]\nlocation = \"https://a.example\"",
                "D/0.conf: line 2, column 12: a registry is named without http:// or https://",
            ),
            (
                "[[registry]]\nlocation = \"a.example/x:tag\"",
                "D/0.conf: line 2, column 12: expected host[:port]",
            ),
            (
                "[[registry]]\nlocation = \"nodot/x\"",
                "D/0.conf: line 2, column 12: expected host[:port]",
            ),
            (
                "[[registry]]\nprefix = \"*.a/b\"",
                "D/0.conf: line 2, column 10: expected *. and a domain",
            ),
            (
                "[[registry]]\nprefix = \"*.\"",
                "D/0.conf: line 2, column 10: expected *. and a domain",
            ),
            (
                "[[registry]]\nlocation = \"a.example\"\n[[registry]]\nlocation = \"a.example\"\nblocked = true",
                "D/0.conf: line 3, column 1: \"a.example\" stands here a second time",
            ),
            (
                "[registries.search]\nregistries = [\"a\"]",
                "D/0.conf: line 1, column ",
            ),
            ("registry = ", "D/0.conf: line 1, column "),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(message), "{text}: {error}");
        }
        assert!(
            read("[registries.block]")
                .unwrap_err()
                .ends_with("use [[registry]]")
        );
    }

    #[test]
    fn mistakes_of_mirrors_are_told_with_their_place() {
        let mirror = "[[registry.mirror]]\nlocation = \"b.example\"\npull-from-mirror";
        for (text, message) in [
            ("[[registry.mirror]]", "line 3, column 1: "),
            (
                &format!("{mirror} = \"never\""),
                "line 5, column 20: expected all, digest-only or tag-only",
            ),
            (
                &format!("mirror-by-digest-only = true\n{mirror} = \"all\""),
                "line 6, column 20: pull-from-mirror and mirror-by-digest-only exclude each other",
            ),
            (
                &"[[registry.mirror]]\nlocation = \"b.example\"\n".repeat(33),
                "line 1, column 1: more than 32 mirrors",
            ),
        ] {
            let error = read(&format!("[[registry]]\nlocation = \"a.example\"\n{text}")).unwrap_err();
            let expected = format!("D/0.conf: {message}");
            assert!(error.starts_with(&expected), "{text}: {error}");
        }
    }
}
