//! Which rule of registries.conf fits a name, and what it makes of it.

use std::path::PathBuf;

use mica_oci::Repository;

use crate::hosts::containers::{Mirror, Rule, read_file, read_name};
use crate::hosts::endpoint::Purpose;
use crate::hosts::error::HostError;

/// The rules of all files.
#[derive(Debug, Default)]
pub(crate) struct Rules(Vec<Rule>);

/// A rule that fits a name.
#[derive(Debug)]
pub(crate) struct Fitting<'a> {
    pub(crate) rule: &'a Rule,
    name: String,
    /// Where what follows the prefix begins in the name.
    rest: usize,
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
        read_name(&result).ok_or_else(|| HostError::Location {
            name: self.name.clone(),
            location: location.to_owned(),
            result,
            path: self.rule.path.clone(),
        })
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
                "example.com/foo/x",
                Purpose::Resolve,
                Some(&[
                    "internal.example:5000/bar/x",
                    "one.example/m/x",
                    "three.example/x",
                ]),
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
            let found = places(&rules, name, purpose);
            let expected = expected.map(|texts| texts.iter().map(ToString::to_string).collect::<Vec<_>>());
            assert_eq!(found, expected, "{name} {purpose:?}");
        }
        let repository = "a.wild.example/x".parse().unwrap();
        assert!(rules.of(&repository).unwrap().rule.blocked);
    }

    #[test]
    fn a_prefix_that_is_the_whole_name_needs_locations_that_are_names() {
        let rules = read(&[FULL]).unwrap();
        let repository = "example.com/foo".parse().unwrap();
        let fitting = rules.of(&repository).unwrap();
        let located = fitting.located().unwrap().unwrap();
        assert_eq!(located.to_string(), "internal.example:5000/bar");
        let error = fitting.mirrors(Purpose::Resolve).unwrap_err().to_string();
        let expected =
            "location \"three.example\" makes example.com/foo into \"three.example\", which is no name";
        assert!(error.ends_with(expected), "{error}");
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
