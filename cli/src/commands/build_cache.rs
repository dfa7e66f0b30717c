//! `--cache-from` and `--cache-to`: what of buildx's caches can be had here.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::fields;

/// The build argument that has an image carry its own cache.
pub(super) const INLINE: &str = "BUILDKIT_INLINE_CACHE";

/// The images and caches of all `--cache-from` flags.
pub(super) fn images(flags: &[String]) -> Vec<String> {
    flags.iter().filter_map(|flag| read(flag)).flatten().collect()
}

/// The flags that name caches that are in no registry. A cache that is not there only costs time.
pub(super) fn unread(flags: &[String]) -> impl Iterator<Item = &String> {
    flags.iter().filter(|flag| read(flag).is_none())
}

fn read(flag: &str) -> Option<Vec<String>> {
    let fields = fields::split(flag);
    if !flag.contains("type=") {
        return Some(fields.into_iter().filter(|image| !image.is_empty()).collect());
    }
    let value = |key: &str| {
        let pairs = fields.iter().filter_map(|field| field.split_once('='));
        pairs
            .filter(|(name, _)| *name == key)
            .map(|(_, value)| value)
            .next_back()
    };
    match value("type") {
        Some("registry") => Some(vec![value("ref")?.to_owned()]),
        _ => None,
    }
}

/// Where a build's cache goes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Targets {
    /// Into the image.
    pub(super) inline: bool,
    /// To registries: the attributes of each.
    pub(super) registries: Vec<BTreeMap<String, String>>,
}

impl Targets {
    /// Reads all `--cache-to` flags. A flag of names alone means caches in registries, as for buildx.
    ///
    /// # Errors
    /// Any other place.
    pub(super) fn of(flags: &[String]) -> Result<Self, Error> {
        let mut targets = Self::default();
        for flag in flags {
            let fields = fields::split(flag);
            if flag == "inline" {
                targets.inline = true;
                continue;
            }
            if fields.iter().all(|field| !field.contains('=')) {
                targets
                    .registries
                    .extend(fields.iter().map(|name| registry(name)));
                continue;
            }
            let pairs = fields.iter().filter_map(|field| field.split_once('='));
            let attributes: BTreeMap<String, String> = pairs
                .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.to_owned()))
                .collect();
            match attributes.get("type").map(String::as_str) {
                Some("inline") => targets.inline = true,
                Some("registry") => targets.registries.push(attributes),
                _ => {
                    return Err(Error::Unsupported {
                        what: format!(
                            "--cache-to {flag} (type=registry,ref=NAME and type=inline are written)"
                        ),
                    });
                }
            }
        }
        Ok(targets)
    }
}

fn registry(name: &str) -> BTreeMap<String, String> {
    let pairs = [("type", "registry"), ("ref", name)];
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[&str]) -> Vec<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    #[test]
    fn caches_are_images() {
        for (flags, expected) in [
            (&["a", "r:5000/b:c"][..], &["a", "r:5000/b:c"][..]),
            (&["a,b"], &["a", "b"]),
            (&["type=registry,ref=r/b:c"], &["r/b:c"]),
            (&["type=gha", "type=registry", "type=local,src=x", "a"], &["a"]),
        ] {
            assert_eq!(images(&list(flags)), expected, "{flags:?}");
        }
        let flags = list(&["a", "type=gha", "type=registry"]);
        assert_eq!(unread(&flags).collect::<Vec<_>>(), ["type=gha", "type=registry"]);
        let targets = |flags: &[&str]| {
            Targets::of(&list(flags))
                .ok()
                .map(|found| (found.inline, found.registries.len()))
        };
        for (flags, expected) in [
            (&[][..], Some((false, 0))),
            (&["type=inline", "inline"], Some((true, 0))),
            (&["type=inline", "type=gha"], None),
            (&["mode=max,ref=x"], None),
            (&["type=registry,ref=x,mode=max", "r/a:1"], Some((false, 2))),
        ] {
            assert_eq!(targets(flags), expected, "{flags:?}");
        }
        let read = Targets::of(&list(&["\"type=registry\",ref=r:5000/x,Mode=max"])).unwrap();
        let pairs: Vec<String> = read.registries[0]
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(pairs, ["mode=max", "ref=r:5000/x", "type=registry"]);
    }
}
