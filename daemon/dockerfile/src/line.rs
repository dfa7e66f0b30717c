//! Physical lines, and how they join into the lines instructions are read from.

use std::borrow::Cow;

use crate::{
    error::{Fault, ParseError},
    excerpt,
    instruction::Span,
};

/// Most bytes of a physical line, its end aside (the reference implementation reads lines into 64 KiB).
const MAX_LINE: usize = 65535;
/// What editors on some systems put before the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// `text` without a byte order mark.
pub(crate) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

/// A physical line without its end.
pub(crate) fn without_end(line: &[u8]) -> &[u8] {
    let kept = line
        .iter()
        .rposition(|b| !matches!(b, b'\n' | b'\r'))
        .map_or(0, |last| last + 1);
    &line[..kept]
}

/// Reads a text line by line and counts.
pub(crate) struct Lines<'a> {
    whole: &'a [u8],
    rest: &'a [u8],
    number: u32,
    limited: bool,
}

impl<'a> Lines<'a> {
    /// The lines of a file; a byte order mark must be gone.
    pub(crate) fn of_file(whole: &'a [u8]) -> Self {
        Self {
            whole,
            rest: whole,
            number: 0,
            limited: true,
        }
    }

    /// The lines of one stored instruction, whose first line was joined from many and may be of any length.
    pub(crate) fn of_trigger(text: &'a str) -> Self {
        Self {
            whole: text.as_bytes(),
            rest: text.as_bytes(),
            number: 0,
            limited: false,
        }
    }

    /// Number of the line read last; 0 before the first.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// The next line with its end.
    pub(crate) fn next(&mut self) -> Result<Option<&'a [u8]>, ParseError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let length = self
            .rest
            .iter()
            .position(|&b| b == b'\n')
            .map_or(self.rest.len(), |at| at + 1);
        let (line, rest) = self.rest.split_at(length);
        self.rest = rest;
        self.number = self.number.saturating_add(1);
        if self.limited && line.strip_suffix(b"\n").unwrap_or(line).len() > MAX_LINE {
            return Err(self.fault(self.number, Fault::LineTooLong { limit: MAX_LINE }));
        }
        Ok(Some(line))
    }

    /// `fault` placed on the lines from `start` to the one read last.
    pub(crate) fn fault(&self, start: u32, fault: Fault) -> ParseError {
        let span = Span {
            start,
            end: self.number.max(start),
        };
        ParseError::At {
            span,
            excerpt: excerpt::of_lines(self.whole, span),
            fault: Box::new(fault),
        }
    }
}

/// One instruction's text, joined from its physical lines.
pub(crate) struct Joined {
    /// The text: leading blanks gone, continuations joined, comments left out.
    pub(crate) text: String,
    /// Number of its first line.
    pub(crate) start: u32,
    /// Number of its last line; here-documents come after it.
    pub(crate) end: u32,
    /// Whether all of it was UTF-8; what was not is replaced in `text`.
    pub(crate) utf8: bool,
    /// Whether blank lines stood inside a continuation.
    pub(crate) blank_inside: bool,
    /// The comments directly above it, with their line numbers; an empty one begins anew.
    pub(crate) comments: Vec<(u32, String)>,
}

/// The next instruction's text, or `None` at the end of the file.
pub(crate) fn next_joined(lines: &mut Lines<'_>, escape: char) -> Result<Option<Joined>, ParseError> {
    let mut comments = Vec::new();
    while let Some(first) = lines.next()? {
        let start = lines.number();
        let decoded = String::from_utf8_lossy(without_end(first));
        let text = decoded.trim_start();
        if is_comment(text) {
            match text[1..].trim() {
                "" => comments.clear(),
                comment => comments.push((start, comment.to_owned())),
            }
            continue;
        }
        let (text, mut goes_on) = split_continuation(text, escape);
        if text.is_empty() && !goes_on {
            continue;
        }
        let mut joined = Joined {
            text: text.to_owned(),
            start,
            end: start,
            utf8: matches!(decoded, Cow::Borrowed(_)),
            blank_inside: false,
            comments: std::mem::take(&mut comments),
        };
        while goes_on {
            let Some(line) = lines.next()? else { break };
            let decoded = String::from_utf8_lossy(without_end(line));
            let trimmed = decoded.trim_start();
            if is_comment(trimmed) {
                continue;
            }
            if trimmed.is_empty() {
                joined.blank_inside = true;
                continue;
            }
            let (text, more) = split_continuation(&decoded, escape);
            joined.text.push_str(text);
            joined.utf8 &= matches!(decoded, Cow::Borrowed(_));
            goes_on = more;
        }
        joined.end = lines.number();
        if !joined.text.trim().is_empty() {
            return Ok(Some(joined));
        }
    }
    Ok(None)
}

/// Whether a line without its leading blanks is a comment.
fn is_comment(trimmed: &str) -> bool {
    trimmed.starts_with('#')
}

/// The line without a trailing escape character and the blanks after it, and whether there was one.
///
/// An escape character before it takes it away: `\\` at the end of a line continues nothing.
fn split_continuation(line: &str, escape: char) -> (&str, bool) {
    match line.trim_end_matches([' ', '\t']).strip_suffix(escape) {
        Some(before) if !before.ends_with(escape) => (before, true),
        _ => (line, false),
    }
}

#[cfg(test)]
mod tests {
    use super::{Lines, next_joined, split_continuation};

    fn joined(text: &str, escape: char) -> Vec<(u32, u32, String)> {
        let mut lines = Lines::of_file(text.as_bytes());
        let mut all = Vec::new();
        while let Some(j) = next_joined(&mut lines, escape).unwrap() {
            all.push((j.start, lines.number(), j.text));
        }
        all
    }

    #[test]
    fn continuation_needs_a_single_escape_at_the_end() {
        for (line, escape, want) in [
            ("a \\", '\\', ("a ", true)),
            ("a \\  \t", '\\', ("a ", true)),
            ("a \\\\", '\\', ("a \\\\", false)),
            ("a \\\\\\", '\\', ("a \\\\\\", false)),
            ("\\", '\\', ("", true)),
            ("a `", '`', ("a ", true)),
            ("a \\", '`', ("a \\", false)),
            ("a \\ b", '\\', ("a \\ b", false)),
            ("a  ", '\\', ("a  ", false)),
        ] {
            assert_eq!(split_continuation(line, escape), want, "{line:?}");
        }
    }

    #[test]
    fn only_the_first_line_loses_its_leading_blanks() {
        assert_eq!(
            joined(" \t RUN a \\\n   b\n", '\\'),
            [(1, 2, "RUN a    b".to_owned())]
        );
    }

    #[test]
    fn comments_and_blank_lines_inside_a_continuation_are_skipped_but_counted() {
        let text = "RUN a \\\n# c\n  # d\n\n b\n#x\nENV q # r\n";
        assert_eq!(
            joined(text, '\\'),
            [(1, 5, "RUN a  b".to_owned()), (7, 7, "ENV q # r".to_owned())]
        );
    }

    #[test]
    fn continuation_at_the_end_of_the_file_is_fine() {
        assert_eq!(joined("RUN a \\\n", '\\'), [(1, 1, "RUN a ".to_owned())]);
        assert_eq!(joined("\\\n", '\\'), []);
    }

    #[test]
    fn carriage_returns_belong_to_the_line_end() {
        assert_eq!(
            joined("RUN a \\\r\n b\r\r\nX\r", '\\'),
            [(1, 2, "RUN a  b".to_owned()), (3, 3, "X".to_owned())]
        );
    }

    #[test]
    fn long_lines_are_refused_with_their_number() {
        let fits = format!("a\n{}\n", "x".repeat(65535));
        assert_eq!(joined(&fits, '\\').len(), 2);
        let text = format!("a\n{}\n", "x".repeat(65536));
        let mut lines = Lines::of_file(text.as_bytes());
        next_joined(&mut lines, '\\').unwrap();
        let error = next_joined(&mut lines, '\\').err().unwrap();
        assert_eq!(error.span().unwrap().start, 2);
        assert!(error.excerpt().len() < 200);
        assert!(
            error
                .to_string()
                .contains("greater than max allowed size of 65535"),
            "{error}"
        );
    }
}
