//! Lines of comma separated values, as the values of many flags are.

/// The fields of a line; a field may stand in double quotes (RFC 4180).
pub(crate) fn split(text: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut quoted = false;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let field = found.last_mut().expect("there is always one");
        match c {
            '"' if quoted && rest.peek() == Some(&'"') => {
                rest.next();
                field.push('"');
            }
            '"' if quoted || field.is_empty() => quoted = !quoted,
            ',' if !quoted => found.push(String::new()),
            c => field.push(c),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_commas() {
        for (text, expected) in [
            ("", &[""][..]),
            ("a,b", &["a", "b"]),
            ("a,", &["a", ""]),
            (r#""a,b",c"#, &["a,b", "c"]),
            (r#""a""b",c"d"#, &["a\"b", "c\"d"]),
        ] {
            assert_eq!(split(text), expected, "{text}");
        }
    }
}
