//! Shortens what an error shows of the file.

use crate::instruction::Span;

/// Most lines an excerpt shows.
const MAX_LINES: usize = 8;
/// Most characters of a line, or of a word in a message, that are shown.
const MAX_CHARS: usize = 160;

/// The lines of `span` as written.
pub(crate) fn of_lines(text: &[u8], span: Span) -> String {
    let first = (span.start as usize).saturating_sub(1);
    let count = (span.end.saturating_sub(span.start) as usize).saturating_add(1);
    let mut lines: Vec<String> = text
        .split(|&b| b == b'\n')
        .skip(first)
        .take(count.min(MAX_LINES))
        .map(|line| {
            // A line may be huge: look only at bytes that could be shown.
            let head = &line[..line.len().min(MAX_CHARS * 4 + 4)];
            of_word(String::from_utf8_lossy(head).trim_end_matches(['\r', '\n']))
        })
        .collect();
    if count > MAX_LINES {
        lines.push("...".to_owned());
    }
    lines.join("\n")
}

/// `word`, cut if it is long.
pub(crate) fn of_word(word: &str) -> String {
    match word.char_indices().nth(MAX_CHARS) {
        Some((cut, _)) => format!("{}...", &word[..cut]),
        None => word.to_owned(),
    }
}
