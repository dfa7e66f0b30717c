//! Whether a text could name an image.

/// Longest name without tag and digest (distribution reference grammar).
const MAX_NAME: usize = 255;
/// Longest tag (OCI distribution specification, "Pulling manifests").
const MAX_TAG: usize = 128;

/// Whether `text` is `[HOST[:PORT]/]PATH[:TAG][@DIGEST]` (distribution reference grammar). 64 hexadecimal digits are
/// an ID and no name.
pub(crate) fn is_image_name(text: &str) -> bool {
    let (text, digest) = match text.split_once('@') {
        Some((text, digest)) => (text, Some(digest)),
        None => (text, None),
    };
    let (name, tag) = match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (text, None),
    };
    let is_id = text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    !is_id
        && digest.is_none_or(is_digest)
        && tag.is_none_or(is_tag)
        && name.len() <= MAX_NAME
        && is_name(name)
}

fn is_name(name: &str) -> bool {
    let path = match name.split_once('/') {
        Some((host, path)) if is_host_like(host) => {
            if !is_host(host) {
                return false;
            }
            path
        }
        _ => name,
    };
    path.split('/').all(is_component)
}

/// Whether the part before the first slash is meant as a host.
fn is_host_like(text: &str) -> bool {
    text == "localhost" || text.contains(['.', ':']) || text.bytes().any(|b| b.is_ascii_uppercase())
}

fn is_host(text: &str) -> bool {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let Some((address, after)) = rest.split_once(']') else {
            return false;
        };
        let is_address = address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
        return is_address && (after.is_empty() || after.strip_prefix(':').is_some_and(is_number));
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let is_label = |label: &str| {
        label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.split('.').all(is_label) && port.is_none_or(is_number)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Lower-case letters and digits, with `.`, `_`, `__` or dashes between them.
fn is_component(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends_well = |b: Option<&u8>| b.is_some_and(|b| word(*b));
    if !ends_well(bytes.first()) || !ends_well(bytes.last()) {
        return false;
    }
    bytes
        .split(|b| word(*b))
        .filter(|between| !between.is_empty())
        .all(|between| matches!(between, b"." | b"_" | b"__") || between.iter().all(|b| *b == b'-'))
}

fn is_tag(text: &str) -> bool {
    let first = text
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    first
        && text.len() <= MAX_TAG
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else {
        return false;
    };
    algorithm
        .split(['+', '.', '_', '-'])
        .all(|part| part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.is_ascii())
        && hex.len() >= 32
        && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::is_image_name;

    #[test]
    fn names_are_told_from_nonsense() {
        let hex = "0123456789abcdef".repeat(4);
        for name in [
            "a",
            "scratch",
            "a/b/c:Tag_1.2-3",
            "ghcr.io/o/r:1",
            "localhost:5000/a",
            "[::1]:5000/a",
            "A.example/a",
            "a__b",
            "a---b",
            "a.b_c",
            &format!("a@sha256:{hex}"),
            &format!("a:1@sha256:{hex}"),
        ] {
            assert!(is_image_name(name), "{name}");
        }
        for name in [
            "",
            "a:",
            ":1",
            "a:-1",
            "A",
            "a/B",
            "a//b",
            "a/",
            "-a",
            "a_",
            "a___b",
            "a b",
            "h.example:x/a",
            "-.example/a",
            "a@sha256:1",
            "a@b",
            &hex,
            &"a/".repeat(150),
            &format!("a:{}", "t".repeat(129)),
        ] {
            assert!(!is_image_name(name), "{name}");
        }
    }
}
