//! Wildcard patterns of paths: those of Go's `filepath.Match`, and with `**` those of ignore files.

use thiserror::Error;

use crate::excerpt::of_word;

/// Longest pattern in bytes; no path is longer (`PATH_MAX`).
const MAX_PATTERN: usize = 4095;
/// Words of a state set that is large enough for any pattern: `**` makes two tokens of two bytes, other tokens
/// take at least a byte each, and one state stands after the last.
const LARGE: usize = 64;

/// A pattern that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("syntax error in pattern \"{pattern}\": {problem}")]
pub struct BadPattern {
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// Whether `name` matches `pattern` as a whole, as Go's `filepath.Match` sees it.
///
/// `*` is any run and `?` any one character, both without `/`; `[a-z]` and `[^a-z]` are classes, `\` takes the
/// next character as it is. `**` is nothing special. Time is bounded by the product of the lengths.
///
/// # Errors
/// An unclosed or empty class, an upside down or unfinished range, a `\` at the end, a pattern over 4095 bytes.
pub fn glob_match(pattern: &str, name: &str) -> Result<bool, BadPattern> {
    Ok(Glob::parse(pattern, false)?.matches(name))
}

/// A pattern made ready to be matched many times.
#[derive(Debug, Clone)]
pub(crate) struct Glob {
    tokens: Vec<Token>,
    /// The characters every match begins with.
    literal: String,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// This character.
    Is(char),
    /// Any character but `/`.
    One,
    /// Any run without `/`.
    Run,
    /// One character in, or not in, these ranges; may be `/`.
    Class { ranges: Vec<(char, char)>, inside: bool },
    /// The [`Token::Dirs`] that follows may be left out.
    Perhaps,
    /// Anything that ends with `/`.
    Dirs,
    /// Anything.
    All,
}

/// States of a match in progress: state `i` stands before token `i`.
#[derive(Clone, Copy)]
struct States<const WORDS: usize> {
    words: [u64; WORDS],
    /// The words that may have any: of a long pattern few states are alive at a time.
    alive: (usize, usize),
}

impl<const WORDS: usize> States<WORDS> {
    fn none() -> Self {
        Self {
            words: [0; WORDS],
            alive: (WORDS, 0),
        }
    }

    fn add(&mut self, state: usize) {
        let word = state / 64;
        self.words[word] |= 1 << (state % 64);
        self.alive = (self.alive.0.min(word), self.alive.1.max(word + 1));
    }

    fn has(&self, state: usize) -> bool {
        self.words[state / 64] & (1 << (state % 64)) != 0
    }

    fn is_empty(&self) -> bool {
        self.alive.0 >= self.alive.1
    }

    fn clear(&mut self) {
        if !self.is_empty() {
            self.words[self.alive.0..self.alive.1].fill(0);
        }
        self.alive = (WORDS, 0);
    }

    fn each(&self, mut visit: impl FnMut(usize)) {
        for index in self.alive.0..self.alive.1 {
            let mut left = self.words[index];
            while left != 0 {
                visit(index * 64 + left.trailing_zeros() as usize);
                left &= left - 1;
            }
        }
    }
}

impl Glob {
    /// Reads a pattern; with `deep`, `**` spans any number of directories.
    pub(crate) fn parse(pattern: &str, deep: bool) -> Result<Self, BadPattern> {
        let bad = |problem| BadPattern {
            pattern: of_word(pattern),
            problem,
        };
        if pattern.len() > MAX_PATTERN {
            return Err(bad("longer than any path"));
        }
        let mut tokens = Vec::new();
        let mut rest = pattern;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match c {
                '*' if deep && rest.starts_with('*') => {
                    rest = &rest[1..];
                    rest = rest.strip_prefix('/').unwrap_or(rest);
                    if rest.is_empty() {
                        tokens.push(Token::All);
                    } else {
                        tokens.extend([Token::Perhaps, Token::Dirs]);
                    }
                }
                '*' => tokens.push(Token::Run),
                '?' => tokens.push(Token::One),
                '[' => {
                    let (class, after) = class(rest).map_err(bad)?;
                    tokens.push(class);
                    rest = after;
                }
                '\\' => {
                    let next = rest
                        .chars()
                        .next()
                        .ok_or_else(|| bad("nothing after the last \\"))?;
                    rest = &rest[next.len_utf8()..];
                    tokens.push(Token::Is(next));
                }
                c => tokens.push(Token::Is(c)),
            }
        }
        let literal = tokens
            .iter()
            .map_while(|token| if let Token::Is(c) = token { Some(*c) } else { None });
        Ok(Self {
            literal: literal.collect(),
            tokens,
        })
    }

    /// Whether all of `text` matches.
    pub(crate) fn matches(&self, text: &str) -> bool {
        if !text.starts_with(&self.literal) {
            return false;
        }
        if self.tokens.len() < 64 {
            self.after::<1>(text)
                .is_some_and(|states| states.has(self.tokens.len()))
        } else {
            self.after::<LARGE>(text)
                .is_some_and(|states| states.has(self.tokens.len()))
        }
    }

    /// Whether something that begins with `text` could match.
    pub(crate) fn could_go_on(&self, text: &str) -> bool {
        if self.tokens.len() < 64 {
            self.after::<1>(text).is_some()
        } else {
            self.after::<LARGE>(text).is_some()
        }
    }

    /// The states once `text` is read; `None` if there are none left.
    fn after<const WORDS: usize>(&self, text: &str) -> Option<States<WORDS>> {
        let (mut one, mut other) = (States::<WORDS>::none(), States::none());
        let (mut states, mut next) = (&mut one, &mut other);
        self.reach(states, 0);
        for c in text.chars() {
            next.clear();
            states.each(|state| match self.tokens.get(state) {
                None | Some(Token::Perhaps) => {}
                Some(Token::Is(wanted)) if *wanted != c => {}
                Some(Token::One | Token::Run) if c == '/' => {}
                Some(Token::Class { ranges, inside })
                    if ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *inside => {}
                Some(Token::Is(_) | Token::One | Token::Class { .. }) => self.reach(next, state + 1),
                Some(Token::Run | Token::All) => self.reach(next, state),
                Some(Token::Dirs) => {
                    self.reach(next, state);
                    if c == '/' {
                        self.reach(next, state + 1);
                    }
                }
            });
            if next.is_empty() {
                return None;
            }
            std::mem::swap(&mut states, &mut next);
        }
        Some(*states)
    }

    /// Adds a state and those reached from it without reading anything.
    fn reach<const WORDS: usize>(&self, states: &mut States<WORDS>, mut state: usize) {
        loop {
            states.add(state);
            match self.tokens.get(state) {
                Some(Token::Run | Token::All) => {}
                Some(Token::Perhaps) => {
                    states.add(state + 1);
                    state += 1;
                }
                _ => return,
            }
            state += 1;
            if states.has(state) {
                return;
            }
        }
    }
}

/// The class whose `[` is passed, and what follows its `]`.
fn class(text: &str) -> Result<(Token, &str), &'static str> {
    let (inside, mut rest) = text.strip_prefix('^').map_or((true, text), |rest| (false, rest));
    let mut ranges = Vec::new();
    loop {
        if let (Some(after), false) = (rest.strip_prefix(']'), ranges.is_empty()) {
            return Ok((Token::Class { ranges, inside }, after));
        }
        let (low, after) = class_member(rest)?;
        rest = after;
        let mut high = low;
        if let Some(after) = rest.strip_prefix('-') {
            (high, rest) = class_member(after)?;
        }
        ranges.push((low, high));
    }
}

/// One end of a range.
fn class_member(text: &str) -> Result<(char, &str), &'static str> {
    let mut chars = text.chars();
    let member = match chars.next() {
        None => return Err("a [ is not closed"),
        Some('-' | ']') => return Err("expected a character in [], write \\- or \\] for these"),
        Some('\\') => chars.next().ok_or("nothing after the last \\")?,
        Some(c) => c,
    };
    if chars.as_str().is_empty() {
        Err("a [ is not closed")
    } else {
        Ok((member, chars.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Glob, glob_match};

    #[test]
    fn wildcards_stay_inside_a_component() {
        for (pattern, name, want) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*", "", true),
            ("*", ".hidden", true),
            ("*", "a/b", false),
            ("*c", "abc", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("a?b", "a/b", false),
            ("a?b", "aéb", true),
            ("**", "a/b", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(glob_match(pattern, name), Ok(want), "{pattern} {name}");
        }
    }

    #[test]
    fn classes_and_escapes() {
        for (pattern, name, want) in [
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a[^a]b", "a/b", true),
            ("[!a]", "!", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("[a-ζ]*", "α", true),
            ("[\\]a]", "]", true),
            ("[\\-x]", "-", true),
            ("[x\\-]", "-", true),
            ("a[[]1].txt", "a[1].txt", true),
            ("a]", "a]", true),
            ("[b-a]", "a", false),
        ] {
            assert_eq!(glob_match(pattern, name), Ok(want), "{pattern} {name}");
        }
    }

    #[test]
    fn broken_patterns_are_errors_even_if_the_name_differs_earlier() {
        let long = "x".repeat(4096);
        for pattern in [
            "[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[", "[^", "[^bc", "a[", "zz[", "a\\", "[\\", "[a\\",
            &long,
        ] {
            assert!(glob_match(pattern, "a").is_err(), "{pattern}");
        }
    }

    #[test]
    fn long_and_nasty_patterns_match_in_bounded_time() {
        let pattern = "a*".repeat(2000);
        assert_eq!(glob_match(&pattern, &"a".repeat(4000)), Ok(true));
        assert_eq!(glob_match(&format!("{pattern}b"), &"a".repeat(4000)), Ok(false));
        let deep = Glob::parse(&"**/a".repeat(1000), true).unwrap();
        assert!(
            deep.matches(
                &"a/"
                    .repeat(2000)
                    .replace("a/a", "a/xa")
                    .trim_end_matches('/')
                    .replace('x', "a/")
            )
        );
    }

    #[test]
    fn any_token_count_fits_the_state_set() {
        for pattern in [
            "*".repeat(4095),
            "?".repeat(4095),
            "**a".repeat(1365),
            "**".repeat(2047),
        ] {
            for deep in [false, true] {
                let glob = Glob::parse(&pattern, deep).unwrap();
                assert!(glob.tokens.len() < 64 * 64);
                glob.matches(&"a".repeat(5));
            }
        }
    }
}
