//! Text on a row of a terminal: how wide it is, where it is cut, what must not be in it.

/// The text without control characters, which move cursors and more.
pub(super) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// How many columns a text takes at most: what is not ASCII may take two.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(column).sum()
}

/// The start of a text that takes at most so many columns.
pub(super) fn cut(text: &str, limit: usize) -> &str {
    let mut taken = 0;
    for (place, c) in text.char_indices() {
        taken += column(c);
        if taken > limit {
            return &text[..place];
        }
    }
    text
}

fn column(c: char) -> usize {
    if c.is_ascii() { 1 } else { 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        for (text, limit, expected) in [
            ("abc", 3, "abc"),
            ("abc", 2, "ab"),
            ("aéb", 3, "aé"),
            ("aéb", 2, "a"),
            ("é", 0, ""),
            ("", 0, ""),
        ] {
            assert_eq!(cut(text, limit), expected, "{text} {limit}");
        }
        assert_eq!(columns("aé"), 3);
        assert_eq!(printable("a\tb\u{85}c\x1b[A"), "abc[A");
    }
}
