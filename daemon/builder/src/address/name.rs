//! What a file at an address is called.

/// What a file at an address is called that has no name of its own (BuildKit's word).
const UNNAMED: &str = "__unnamed__";

/// What a file at an address is called: the last part of the path, decoded.
pub(crate) fn file_name(url: &str) -> Vec<u8> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let path = rest.split_once('/').map_or("", |(_, path)| path);
    let decoded = decode(path, false).unwrap_or_default();
    let name = decoded
        .split(|b| *b == b'/')
        .rfind(|name| !name.is_empty())
        .unwrap_or_default();
    match name {
        b"" | b"." | b".." => UNNAMED.into(),
        name if name.contains(&0) => UNNAMED.into(),
        name => name.to_vec(),
    }
}

/// Undoes percent-encoding (RFC 3986 section 2.1); in queries a plus is a blank.
pub(super) fn decode(text: &str, query: bool) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high << 4 | low).ok()?
            }
            b'+' if query => b' ',
            byte => byte,
        });
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn files_are_named_by_their_paths() {
        for (url, name) in [
            ("http://h/a/b.txt?x=/y", "b.txt"),
            ("http://h/a/", "a"),
            ("http://h/", UNNAMED),
            ("http://h", UNNAMED),
            ("http://h/a%20b", "a b"),
            ("http://h/a%2Fb", "b"),
            ("http://h/..", UNNAMED),
            ("http://h/x%00", UNNAMED),
            ("http://h/x%", UNNAMED),
        ] {
            assert_eq!(String::from_utf8(file_name(url)).unwrap(), name, "{url}");
        }
    }

    proptest! {
        #[test]
        fn names_of_files_are_plain(text in ".{0,40}") {
            let name = file_name(&format!("http://{text}"));
            prop_assert!(!name.is_empty() && !name.contains(&b'/') && !name.contains(&0));
            prop_assert!(name != b"." && name != b"..");
        }
    }
}
