//! Text on a row of a terminal: how wide it is, where it is cut, what must not be in it.

/// The text without what moves the cursor or turns the direction of writing.
pub(crate) fn printable(text: &str) -> String {
    text.chars().filter(|c| is_printable(*c)).collect()
}

/// Whether a character does nothing but stand where it is written.
pub(crate) fn is_printable(c: char) -> bool {
    let turns = matches!(
        c,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    );
    !c.is_control() && !turns
}

/// How many columns a text takes. Where terminals differ it is the larger number: rows must not break.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().map(column).sum()
}

/// The start of a text that takes at most so many columns, with all marks of its last character.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    let mut taken = 0;
    for (place, c) in text.char_indices() {
        taken += column(c);
        if taken > limit {
            return &text[..place];
        }
    }
    text
}

/// The columns of a character: none for marks that stand on the one before, two for wide ones (Unicode's
/// `EastAsianWidth.txt` and general categories Mn and Me, the blocks in use rather than all of them).
pub(crate) fn column(c: char) -> usize {
    const MARKS: [(u32, u32); 22] = [
        (0x300, 0x36f),
        (0x483, 0x489),
        (0x591, 0x5bd),
        (0x5bf, 0x5bf),
        (0x5c1, 0x5c2),
        (0x5c4, 0x5c5),
        (0x610, 0x61a),
        (0x64b, 0x65f),
        (0x670, 0x670),
        (0x6d6, 0x6dc),
        (0x6df, 0x6e4),
        (0x900, 0x902),
        (0x93c, 0x93c),
        (0x941, 0x948),
        (0x94d, 0x94d),
        (0xe31, 0xe31),
        (0xe34, 0xe3a),
        (0xe47, 0xe4e),
        (0x1ab0, 0x1ace),
        (0x1dc0, 0x1dff),
        (0x20d0, 0x20f0),
        (0xfe20, 0xfe2f),
    ];
    const WIDE: [(u32, u32); 24] = [
        (0x1100, 0x115f),
        (0x231a, 0x231b),
        (0x2329, 0x232a),
        (0x23e9, 0x23f3),
        (0x25fd, 0x25fe),
        (0x2614, 0x2615),
        (0x2630, 0x2637),
        (0x2648, 0x2653),
        (0x267f, 0x26fd),
        (0x2705, 0x2757),
        (0x2795, 0x27bf),
        (0x2b1b, 0x2b55),
        (0x2e80, 0x303e),
        (0x3041, 0x4dbf),
        (0x4e00, 0xa4cf),
        (0xa960, 0xa97c),
        (0xac00, 0xd7a3),
        (0xf900, 0xfaff),
        (0xfe10, 0xfe19),
        (0xfe30, 0xfe6b),
        (0xff01, 0xff60),
        (0xffe0, 0xffe6),
        (0x16fe0, 0x1b2fb),
        (0x1f000, 0x3fffd),
    ];
    let code = u32::from(c);
    let is_in = |ranges: &[(u32, u32)]| {
        let place = ranges.partition_point(|(_, last)| *last < code);
        ranges.get(place).is_some_and(|(first, _)| *first <= code)
    };
    if code < 0x300 {
        1
    } else if is_in(&MARKS) {
        0
    } else if is_in(&WIDE) {
        2
    } else {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        for (text, limit, expected) in [
            ("abc", 3, "abc"),
            ("abc", 2, "ab"),
            ("aéb", 2, "aé"),
            ("日本", 3, "日"),
            ("日本", 1, ""),
            ("e\u{301}x", 1, "e\u{301}"),
            ("é", 0, ""),
            ("", 0, ""),
        ] {
            assert_eq!(cut(text, limit), expected, "{text} {limit}");
        }
    }

    #[test]
    fn widths_are_those_of_terminals() {
        for (text, expected) in [
            ("aé", 2),
            ("日本語", 6),
            ("e\u{301}", 1),
            ("🚀", 2),
            ("한글", 4),
            ("ｆ", 2),
            ("Ж→─", 3),
            ("\u{e01}\u{e34}", 1),
            // with the selector that makes it an emoji some draw it wide
            ("❤\u{fe0f}", 2),
        ] {
            assert_eq!(columns(text), expected, "{text}");
        }
    }

    #[test]
    fn nothing_printable_moves_the_cursor_or_turns_the_text() {
        assert_eq!(printable("a\tb\u{85}c\x1b[A"), "abc[A");
        assert_eq!(printable("x\u{202e}y\u{2066}z\u{200b}"), "xyz");
    }
}
