//! `--cache-from` and `--cache-to`: what of buildx's caches can be had here.

use crate::error::Error;
use crate::fields;

/// The build argument that has an image carry its own cache.
pub(super) const INLINE: &str = "BUILDKIT_INLINE_CACHE";

/// The images of all `--cache-from` flags.
pub(super) fn images(flags: &[String]) -> Vec<String> {
    flags.iter().filter_map(|flag| read(flag)).flatten().collect()
}

/// The flags that name other caches than images. A cache that is not there only costs time.
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

/// Whether the image is to carry its cache: the only place a cache is written to.
///
/// # Errors
/// Any other place.
pub(super) fn is_inline(flags: &[String]) -> Result<bool, Error> {
    for flag in flags {
        if !matches!(flag.as_str(), "inline" | "type=inline") {
            return Err(Error::Unsupported {
                what: format!("--cache-to {flag} (only type=inline is written)"),
            });
        }
    }
    Ok(!flags.is_empty())
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
        for (flags, expected) in [
            (&[][..], Some(false)),
            (&["type=inline"], Some(true)),
            (&["type=inline", "type=gha"], None),
            (&["type=registry,ref=x"], None),
        ] {
            assert_eq!(is_inline(&list(flags)).ok(), expected, "{flags:?}");
        }
    }
}
