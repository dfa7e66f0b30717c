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

/// The rules of all files.
#[derive(Debug, Default)]
pub(crate) struct Rules(Vec<Rule>);

/// What holds for the names that begin with a prefix.
#[derive(Debug)]
pub(crate) struct Rule {
    prefix: String,
    /// What takes the prefix's place.
    location: Option<String>,
    pub(crate) insecure: bool,
    pub(crate) blocked: bool,
    pub(crate) mirrors: Vec<Mirror>,
    pub(crate) path: PathBuf,
}

/// A mirror for the names of a rule.
#[derive(Debug)]
pub(crate) struct Mirror {
    location: String,
    pub(crate) insecure: bool,
    purposes: &'static [Purpose],
}

/// A rule that fits a name.
#[derive(Debug)]
pub(crate) struct Fitting<'a> {
    pub(crate) rule: &'a Rule,
    name: String,
    /// Where what follows the prefix begins in the name.
    rest: usize,
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

impl Rules {
    /// Reads files in order; a prefix in a later file takes the place of the same in an earlier one.
    pub(crate) fn read(paths: &[PathBuf]) -> Result<Self, HostError> {
        let mut rules: Vec<Rule> = Vec::new();
        for path in paths {
            let read = read_file(path)?;
            rules.retain(|rule| read.iter().all(|newer| newer.prefix != rule.prefix));
            rules.extend(read);
        }
        Ok(Self(rules))
    }

    /// The rule with the longest prefix of a name.
    pub(crate) fn of(&self, repository: &Repository) -> Option<Fitting<'_>> {
        let name = repository.to_string();
        let fitting = self.0.iter().filter_map(|rule| {
            let rest = rest(&name, &rule.prefix)?;
            Some((rule, rest))
        });
        let (rule, rest) =
            fitting.max_by_key(|(rule, _)| (rule.prefix.len(), !rule.prefix.starts_with('*')))?;
        Some(Fitting { rule, name, rest })
    }
}

/// Where a name goes on after a prefix, if it has the prefix as whole components.
fn rest(name: &str, prefix: &str) -> Option<usize> {
    let ends = |at: usize, ends: &[u8]| name.as_bytes().get(at).is_none_or(|b| ends.contains(b));
    match prefix.strip_prefix('*') {
        // `*.example.com`: any host under it, at any port
        Some(domain) => {
            let host = name.split(['/', ':']).next().unwrap_or_default();
            let is_under = host.len() > domain.len() && host.ends_with(domain);
            is_under.then_some(host.len())
        }
        None => (name.starts_with(prefix) && ends(prefix.len(), b"/")).then_some(prefix.len()),
    }
}

impl Fitting<'_> {
    /// The name under which the registry has it: the rule's location in place of the prefix.
    pub(crate) fn located(&self) -> Result<Option<Repository>, HostError> {
        match &self.rule.location {
            Some(location) => self.at(location).map(Some),
            None => Ok(None),
        }
    }

    /// The mirrors for this, with the name each has it under.
    pub(crate) fn mirrors(&self, purpose: Purpose) -> Result<Vec<(&Mirror, Repository)>, HostError> {
        let mirrors = self.rule.mirrors.iter();
        mirrors
            .filter(|mirror| mirror.purposes.contains(&purpose))
            .map(|mirror| Ok((mirror, self.at(&mirror.location)?)))
            .collect()
    }

    fn at(&self, location: &str) -> Result<Repository, HostError> {
        let result = format!("{location}{}", &self.name[self.rest..]);
        name(&result).ok_or_else(|| HostError::Location {
            name: self.name.clone(),
            location: location.to_owned(),
            result,
            path: self.rule.path.clone(),
        })
    }
}

/// Reads a name that begins with its registry.
fn name(text: &str) -> Option<Repository> {
    let repository: Repository = text.parse().ok()?;
    let first = text.split('/').next().unwrap_or_default();
    let named = first == repository.registry() || first == "index.docker.io";
    named.then_some(repository)
}

fn read_file(path: &Path) -> Result<Vec<Rule>, HostError> {
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
    if name(&format!("{place}/x")).is_none() {
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
    let valid = !domain.contains(['/', ':']) && name(&format!("a.{domain}/x")).is_some();
    match valid {
        true => Ok(text.into_inner()),
        false => Err(document.malformed(text.span(), "expected *. and a domain, and nothing else")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(files: &[&str]) -> Result<Rules, String> {
        let folder = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for (number, text) in files.iter().enumerate() {
            let path = folder.path().join(format!("{number}.conf"));
            fs_err::write(&path, text).unwrap();
            paths.push(path);
        }
        let shown = folder.path().display().to_string();
        Rules::read(&paths).map_err(|error| error.to_string().replace(&shown, "D"))
    }

    /// Where a name is, or `-`, then its mirrors.
    fn places(rules: &Rules, name: &str, purpose: Purpose) -> Option<Vec<String>> {
        let repository = name.parse().unwrap();
        let fitting = rules.of(&repository)?;
        let located = fitting.located().unwrap();
        let mut places = vec![located.map_or("-".to_owned(), |located| located.to_string())];
        let mirrors = fitting.mirrors(purpose).unwrap();
        places.extend(mirrors.iter().map(|(_, repository)| repository.to_string()));
        Some(places)
    }

    const FULL: &str = r#"
        unqualified-search-registries = ["quay.io"]
        short-name-mode = "enforcing"
        credential-helpers = ["x"]

        [[registry]]
        prefix = "example.com/foo"
        location = "internal.example:5000/bar/"
        insecure = true
        [[registry.mirror]]
        location = "one.example/m"
        [[registry.mirror]]
        location = "two.example"
        pull-from-mirror = "digest-only"
        insecure = true
        [[registry.mirror]]
        location = "three.example"
        pull-from-mirror = "tag-only"

        [[registry]]
        location = "docker.io"
        mirror-by-digest-only = true
        [[registry.mirror]]
        location = "mirror.example"

        [[registry]]
        prefix = "*.wild.example"
        blocked = true

        [[registry]]
        prefix = "*.moved.example"
        location = "here.example"

        [[registry]]
        prefix = "example.com/foo/deep"
        location = "deep.example"

        [aliases]
        "x" = "quay.io/x"
    "#;

    #[test]
    fn the_longest_prefix_counts() {
        let rules = read(&[FULL]).unwrap();
        for (name, purpose, expected) in [
            (
                "example.com/foo/x",
                Purpose::Pull,
                Some(&["internal.example:5000/bar/x", "one.example/m/x", "two.example/x"][..]),
            ),
            (
                "example.com/foo",
                Purpose::Resolve,
                Some(&["internal.example:5000/bar", "one.example/m", "three.example"]),
            ),
            (
                "example.com/foo/x",
                Purpose::Push,
                Some(&["internal.example:5000/bar/x"]),
            ),
            ("example.com/foo/deep/x", Purpose::Pull, Some(&["deep.example/x"])),
            ("example.com/foobar", Purpose::Pull, None),
            ("example.com:5000/foo/x", Purpose::Pull, None),
            (
                "busybox",
                Purpose::Pull,
                Some(&["docker.io/library/busybox", "mirror.example/library/busybox"]),
            ),
            ("busybox", Purpose::Resolve, Some(&["docker.io/library/busybox"])),
            ("a.b.wild.example:5000/x", Purpose::Pull, Some(&["-"])),
            ("wild.example/x", Purpose::Pull, None),
            ("notwild.example/x", Purpose::Pull, None),
            ("a.moved.example/x", Purpose::Pull, Some(&["here.example/x"])),
            (
                "a.moved.example:5000/x",
                Purpose::Pull,
                Some(&["here.example:5000/x"]),
            ),
            ("quay.io/x", Purpose::Pull, None),
        ] {
            // a prefix that is a whole name leaves nothing to append
            if name == "example.com/foo" {
                let repository = name.parse().unwrap();
                let rules = rules.of(&repository).unwrap();
                assert_eq!(
                    rules.located().unwrap().unwrap().to_string(),
                    "internal.example:5000/bar"
                );
                assert!(matches!(rules.mirrors(purpose), Err(HostError::Location { .. })));
                continue;
            }
            let found = places(&rules, name, purpose);
            let expected = expected.map(|texts| texts.iter().map(ToString::to_string).collect::<Vec<_>>());
            assert_eq!(found, expected, "{name} {purpose:?}");
        }
        let repository = "a.wild.example/x".parse().unwrap();
        assert!(rules.of(&repository).unwrap().rule.blocked);
    }

    #[test]
    fn a_later_file_replaces_a_prefix() {
        let rules = read(&[
            "[[registry]]\nlocation = \"a.example\"\nblocked = true\n[[registry]]\nlocation = \"b.example\"",
            "[[registry]]\nprefix = \"a.example\"\nlocation = \"c.example\"",
        ])
        .unwrap();
        let repository = "a.example/x".parse().unwrap();
        let fitting = rules.of(&repository).unwrap();
        assert!(!fitting.rule.blocked && fitting.rule.path.ends_with("1.conf"));
        assert_eq!(
            places(&rules, "a.example/x", Purpose::Pull).unwrap(),
            ["c.example/x"]
        );
        assert_eq!(
            places(&rules, "b.example/x", Purpose::Pull).unwrap(),
            ["b.example/x"]
        );
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
                "[[registry]]\nlocation = \"a.example\"\n[[registry.mirror]]",
                "D/0.conf: line 3, column 1: ",
            ),
            (
                "[[registry]]\nlocation = \"a.example\"\n[[registry.mirror]]\nlocation = \"b.example\"\npull-from-mirror = \"never\"",
                "D/0.conf: line 5, column 20: expected all, digest-only or tag-only",
            ),
            (
                "[[registry]]\nlocation = \"a.example\"\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = \"b.example\"\npull-from-mirror = \"all\"",
                "D/0.conf: line 6, column 20: pull-from-mirror and",
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
            let error = read(&[text]).unwrap_err();
            assert!(error.starts_with(message), "{text}: {error}");
        }
        assert!(
            read(&["[registries.block]"])
                .unwrap_err()
                .ends_with("use [[registry]]")
        );
    }

    proptest! {
        #[test]
        fn what_remains_of_a_name_begins_at_a_component(prefix in "[a-c.]{1,4}(/[a-c]{1,2}){0,2}", rest_of in "(/[a-c]{1,2}){1,3}") {
            let whole = format!("{prefix}{rest_of}");
            prop_assert_eq!(rest(&whole, &prefix), Some(prefix.len()));
            prop_assert_eq!(rest(&format!("{prefix}x{rest_of}"), &prefix), None);
            if let Some(at) = rest(&whole, "*.c") {
                prop_assert!(whole[..at].ends_with(".c") && !whole[..at].contains('/'));
            }
        }

        #[test]
        fn any_file_is_read_or_refused(location in "[a-z.:/*@-]{0,16}", prefix in "[a-z.:/*@-]{0,16}", name in "[a-z.]{1,8}/[a-z]{1,4}") {
            let text = format!("[[registry]]\nlocation = {location:?}\nprefix = {prefix:?}\n");
            if let (Ok(rules), Ok(repository)) = (read(&[&text]), name.parse())
                && let Some(fitting) = rules.of(&repository)
            {
                let _ = fitting.located();
            }
        }
    }
}
