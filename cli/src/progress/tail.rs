//! The last lines that a process wrote, as a terminal would show them, whatever it wrote.

use std::collections::VecDeque;

use crate::row::{column, is_printable};

/// The longest line that is kept, in characters; windows are narrower.
const LINE_LIMIT: usize = 1000;
/// Where tabs lead to: every eighth column.
const TAB: usize = 8;

/// The last lines of an output. Nothing in them moves a cursor.
#[derive(Debug)]
pub(crate) struct Tail {
    limit: usize,
    lines: VecDeque<String>,
    line: Vec<char>,
    /// Where in the line the next character goes.
    place: usize,
    state: State,
    /// A character of UTF-8 that came in part.
    partial: Vec<u8>,
}

/// Where in a control sequence the output is (ECMA-48 5.4 and 5.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Outside of any.
    Text,
    /// After ESC.
    Escape,
    /// After ESC and intermediate bytes.
    Intermediate,
    /// In `ESC [ … letter`.
    Sequence,
    /// In a string that BEL or ESC \ ends: window titles and the like.
    Quoted,
    /// After an ESC in such a string.
    QuotedEscape,
}

impl Tail {
    /// Keeps so many lines.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            lines: VecDeque::new(),
            line: Vec::new(),
            place: 0,
            state: State::Text,
            partial: Vec::new(),
        }
    }

    /// Takes in what was written.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let mut all = std::mem::take(&mut self.partial);
        all.extend_from_slice(bytes);
        let mut rest = all.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    text.chars().for_each(|c| self.put(c));
                    return;
                }
                Err(error) => {
                    let (good, bad) = rest.split_at(error.valid_up_to());
                    String::from_utf8_lossy(good).chars().for_each(|c| self.put(c));
                    let Some(length) = error.error_len() else {
                        self.partial = bad.to_vec();
                        return;
                    };
                    self.put(char::REPLACEMENT_CHARACTER);
                    rest = &bad[length..];
                }
            }
        }
    }

    /// The lines, the one that has no end yet included if there is something in it.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        let last: String = self.line.iter().collect();
        let last = (!last.trim().is_empty()).then_some(last);
        let count = self.lines.len() + usize::from(last.is_some());
        let skipped = count.saturating_sub(self.limit);
        self.lines.iter().cloned().chain(last).skip(skipped)
    }

    fn put(&mut self, c: char) {
        self.state = match (self.state, c) {
            (State::Text, '\x1b') => State::Escape,
            (State::Text, '\u{9b}') => State::Sequence,
            (State::Text, '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}') => State::Quoted,
            (State::Text, _) => return self.text(c),
            // a control character inside a sequence does what it does elsewhere
            (State::Escape | State::Sequence | State::Intermediate, '\n' | '\r') => {
                self.state = State::Text;
                return self.text(c);
            }
            (State::Escape, '[') => State::Sequence,
            (State::Escape, ']' | 'P' | 'X' | '^' | '_') => State::Quoted,
            (State::Escape, ' '..='/') => State::Intermediate,
            (State::Escape, '\x1b') => State::Escape,
            (State::Escape, _) => State::Text,
            (State::Intermediate, ' '..='/') => State::Intermediate,
            (State::Intermediate, _) => State::Text,
            (State::Sequence, 'K') => {
                self.line.truncate(self.place);
                State::Text
            }
            (State::Sequence, '@'..='~') => State::Text,
            (State::Sequence, '\x1b') => State::Escape,
            (State::Sequence, _) => State::Sequence,
            (State::Quoted, '\x07' | '\u{9c}') => State::Text,
            (State::Quoted, '\x1b') => State::QuotedEscape,
            // a string without an end does not swallow what follows it
            (State::Quoted | State::QuotedEscape, '\n') => {
                self.state = State::Text;
                return self.text(c);
            }
            (State::Quoted, _) => State::Quoted,
            (State::QuotedEscape, _) => State::Text,
        };
    }

    fn text(&mut self, c: char) {
        match c {
            '\n' => {
                let line: String = self.line.drain(..).collect();
                self.place = 0;
                self.lines.push_back(line.trim_end().to_owned());
                if self.lines.len() > self.limit {
                    self.lines.pop_front();
                }
            }
            '\r' => self.place = 0,
            '\x08' => self.place = self.place.saturating_sub(1),
            '\t' => self.tab(),
            c if is_printable(c) => self.character(c),
            _ => {}
        }
    }

    /// Goes to the next tab stop; what is written there already stays.
    fn tab(&mut self) {
        let before = self.line.iter().take(self.place);
        let mut at: usize = before.map(|c| column(*c)).sum();
        let end = (at / TAB + 1) * TAB;
        while at < end && self.place < LINE_LIMIT {
            match self.line.get(self.place) {
                Some(c) => at += column(*c),
                None => {
                    self.line.push(' ');
                    at += 1;
                }
            }
            self.place += 1;
        }
    }

    fn character(&mut self, c: char) {
        if self.place >= LINE_LIMIT {
            return;
        }
        match self.line.get_mut(self.place) {
            Some(old) => *old = c,
            None => self.line.push(c),
        }
        self.place += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> Vec<String> {
        let mut tail = Tail::new(3);
        tail.write(text.as_bytes());
        tail.lines().collect()
    }

    #[test]
    fn the_last_lines_are_kept() {
        assert_eq!(shown("1\n2\n3\n4"), ["2", "3", "4"]);
        assert_eq!(shown("1\n2\n3\n4\n"), ["2", "3", "4"]);
        assert!(Tail::new(3).lines().next().is_none());
    }

    #[test]
    fn a_line_that_is_written_over_is_what_it_is_in_the_end() {
        assert_eq!(shown("10%\r50%\r100%\r\nnext"), ["100%", "next"]);
        assert_eq!(shown("downloading\rdone\x1b[K"), ["done"]);
        assert_eq!(
            shown("downloading\rdone"),
            ["doneloading"],
            "as terminals have it"
        );
        assert_eq!(shown("ab\x08c"), ["ac"]);
        assert_eq!(shown("a\tb"), ["a       b"]);
        assert_eq!(shown("日\tb\rx"), ["x      b"]);
        assert_eq!(shown("two\r\tthree"), ["two     three"]);
    }

    #[test]
    fn sequences_leave_nothing() {
        for text in [
            "\x1b[1;31mred\x1b[0m",
            "\x1b]0;title\x07red",
            "\x1b]8;;http://x\x1b\\red\x1b]8;;\x1b\\",
            "\x1b(Bred\x1b7\x1b[?25l\x1b[2J\x1b[10A",
            "\u{9b}2Jred\x07",
            "\x1bP1$r\x1b\\red",
            "r\u{202e}e\u{200b}d",
        ] {
            assert_eq!(shown(text), ["red"], "{text:?}");
        }
        assert_eq!(shown("\x1b]0;no end\nred"), ["", "red"]);
        assert_eq!(shown("a\x1b[31\nb"), ["a", "b"]);
    }

    #[test]
    fn characters_that_come_in_parts_are_whole() {
        let mut tail = Tail::new(1);
        for byte in "日\u{301}é".bytes() {
            tail.write(&[byte]);
        }
        tail.write(b"\xff!");
        assert_eq!(tail.lines().collect::<Vec<_>>(), ["日\u{301}é\u{fffd}!"]);
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_shown_without_control_characters(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..20),
        ) {
            let mut tail = Tail::new(6);
            for piece in &pieces {
                tail.write(piece);
            }
            let lines: Vec<String> = tail.lines().collect();
            prop_assert!(lines.len() <= 6);
            prop_assert!(lines.iter().all(|line| line.chars().all(is_printable)), "{lines:?}");
            // in one piece it is the same
            let mut whole = Tail::new(6);
            whole.write(&pieces.concat());
            prop_assert_eq!(lines, whole.lines().collect::<Vec<_>>());
        }
    }
}
