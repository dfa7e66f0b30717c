//! The parts of a name as lists show them.

/// A familiar reference taken apart: `name`, tag, digest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parts<'a> {
    pub(crate) name: &'a str,
    pub(crate) tag: Option<&'a str>,
    pub(crate) digest: Option<&'a str>,
}

/// Takes a reference apart that the daemon has normalised.
pub(crate) fn split(reference: &str) -> Parts<'_> {
    let (rest, digest) = match reference.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (reference, None),
    };
    // A colon before the last slash belongs to a registry's port.
    match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => Parts {
            name,
            tag: Some(tag),
            digest,
        },
        _ => Parts {
            name: rest,
            tag: None,
            digest,
        },
    }
}

/// An ID as lists show it: twelve characters, the algorithm left out.
pub(crate) fn short_id(id: &str) -> &str {
    let id = id.split_once(':').map_or(id, |(_, digits)| digits);
    id.char_indices().nth(12).map_or(id, |(end, _)| &id[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_taken_apart() {
        for (reference, name, tag, digest) in [
            ("a", "a", None, None),
            ("a:b", "a", Some("b"), None),
            ("r:5000/a", "r:5000/a", None, None),
            ("r:5000/a:b", "r:5000/a", Some("b"), None),
            ("a@sha256:0", "a", None, Some("sha256:0")),
            ("r:1/a:b@sha256:0", "r:1/a", Some("b"), Some("sha256:0")),
            ("", "", None, None),
        ] {
            assert_eq!(split(reference), Parts { name, tag, digest }, "{reference}");
        }
        assert_eq!(short_id("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(short_id("<missing>"), "<missing>");
        assert_eq!(short_id("ééééééééééééé"), "éééééééééééé");
    }
}
