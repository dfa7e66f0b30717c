//! Splits the text of an instruction into words.

/// Blanks between words; other white space is data.
fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

/// The words of `text` split on blanks, with no quoting at all.
pub(crate) fn on_blanks(text: &str) -> Vec<String> {
    text.split(is_blank)
        .filter(|w| !w.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The first word of `text`, and what follows the blanks after it if there are any.
pub(crate) fn first(text: &str) -> (&str, Option<&str>) {
    match text.split_once(is_blank) {
        Some((word, rest)) => (word, Some(rest.trim_start_matches(is_blank))),
        None => (text, None),
    }
}

/// The words of `text` with regard to quotes and escapes, which stay in the words: expansion removes them.
///
/// An escape character as the very last is dropped; a quote left open ends with the text (expansion then finds
/// it unbalanced). ENV, LABEL and ARG are split like this.
pub(crate) fn with_quotes(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        // In single quotes the escape character is no escape.
        if c == escape && quote != Some('\'') {
            if let Some(next) = chars.next() {
                word.extend([c, next]);
            }
            continue;
        }
        match quote {
            None if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        word.push(c);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::{first, on_blanks, with_quotes};

    #[test]
    fn quoted_blanks_do_not_split_and_quotes_stay() {
        for (text, want) in [
            ("a=1 b=2", vec!["a=1", "b=2"]),
            ("a=a\\ b c", vec!["a=a\\ b", "c"]),
            ("a=\"x y\" b='c d'", vec!["a=\"x y\"", "b='c d'"]),
            ("a=\"x\\\" y\" b", vec!["a=\"x\\\" y\"", "b"]),
            ("a='x\\' b", vec!["a='x\\'", "b"]),
            ("a=i\"j k\"l", vec!["a=i\"j k\"l"]),
            ("a=\\", vec!["a="]),
            ("a=\\\\", vec!["a=\\\\"]),
            ("\"\"", vec!["\"\""]),
            ("a=\"open b", vec!["a=\"open b"]),
            ("  ", vec![]),
        ] {
            assert_eq!(with_quotes(text, '\\'), want, "{text:?}");
        }
        assert_eq!(with_quotes("a=c:\\ b` c", '`'), ["a=c:\\", "b` c"]);
    }

    #[test]
    fn blanks_are_the_ascii_ones() {
        assert_eq!(on_blanks(" a \t\u{b}b\u{a0}c "), ["a", "b\u{a0}c"]);
        assert_eq!(first("a  b c"), ("a", Some("b c")));
        assert_eq!(first("a"), ("a", None));
    }
}
