//! Fields as queries and forms carry them (`application/x-www-form-urlencoded`).

/// The fields, decoded, in order.
pub(super) fn pairs(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        })
        .collect()
}

/// The first value of a field; empty if it is not there.
pub(super) fn first(pairs: &[(String, String)], name: &str) -> String {
    all(pairs, name).into_iter().next().unwrap_or_default()
}

/// All values of a field.
pub(super) fn all(pairs: &[(String, String)], name: &str) -> Vec<String> {
    let named = pairs.iter().filter(|(found, _)| found == name);
    named.map(|(_, value)| value.clone()).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = match (first, after) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(high, low)| high * 16 + low),
            _ => None,
        };
        let (byte, taken) = match (escaped, first) {
            (Some(byte), _) => (byte, 3),
            (None, b'+') => (b' ', 1),
            (None, byte) => (*byte, 1),
        };
        bytes.push(byte);
        rest = &rest[taken..];
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded() {
        let found = pairs("a=x%3Ay+z&b&a=%zz%4&=");
        let expected = [("a", "x:y z"), ("b", ""), ("a", "%zz%4"), ("", "")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(found, expected);
        assert_eq!(first(&found, "a"), "x:y z");
        assert_eq!(first(&found, "c"), "");
        assert_eq!(all(&found, "a").len(), 2);
    }
}
