//! The pattern modifiers of `${name#pattern}` and its siblings.

use crate::{excerpt::of_word, expand::ExpandError};

/// Longest pattern, in characters; matching takes at most its length times that of the value.
const MAX_PATTERN: usize = 256;

/// One place of a pattern between two `*`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Any,
    Is(char),
}

impl Place {
    fn takes(self, c: char) -> bool {
        self == Self::Any || self == Self::Is(c)
    }
}

/// A pattern: runs of places with a `*` between each two. Always at least one run, which may be empty.
struct Pattern {
    runs: Vec<Vec<Place>>,
}

impl Pattern {
    /// `*` and `?` are wild, `\` escapes them and itself, and before `}` and `/` it only kept those from ending
    /// the substitution. There are no brackets.
    fn parse(text: &str) -> Result<Self, ExpandError> {
        let bad = |problem| ExpandError::Pattern {
            pattern: of_word(text),
            problem,
        };
        let mut runs = vec![Vec::new()];
        let mut chars = text.chars();
        let mut count = 0;
        while let Some(c) = chars.next() {
            count += 1;
            let place = match c {
                '*' => {
                    runs.push(Vec::new());
                    continue;
                }
                '?' => Place::Any,
                '\\' => match chars.next() {
                    Some(c @ ('*' | '?' | '\\' | '}' | '/')) => Place::Is(c),
                    _ => return Err(bad("invalid escape, expected one of \\* \\? \\\\ \\} \\/")),
                },
                c => Place::Is(c),
            };
            runs.last_mut().expect("there is always a run").push(place);
        }
        if count > MAX_PATTERN {
            Err(bad("too long"))
        } else {
            Ok(Self { runs })
        }
    }

    fn reversed(mut self) -> Self {
        self.runs.reverse();
        self.runs.iter_mut().for_each(|run| run.reverse());
        self
    }

    /// Where a match that begins exactly at `start` ends: the nearest such place, or the farthest.
    fn end_of_match(&self, text: &[char], start: usize, longest: bool) -> Option<usize> {
        let (first, others) = self.runs.split_first().expect("there is always a run");
        if !fits(first, text, start) {
            return None;
        }
        let mut end = start + first.len();
        let Some((last, middle)) = others.split_last() else {
            return Some(end);
        };
        for run in middle {
            end = (end..=text.len()).find(|&at| fits(run, text, at))? + run.len();
        }
        let mut ends = end..=text.len();
        let at = if longest {
            ends.rev().find(|&at| fits(last, text, at))
        } else {
            ends.find(|&at| fits(last, text, at))
        };
        at.map(|at| at + last.len())
    }

    /// The first match at or after `from`, as long as possible.
    fn find(&self, text: &[char], from: usize) -> Option<(usize, usize)> {
        let first = &self.runs[0];
        let start = (from..=text.len()).find(|&at| fits(first, text, at))?;
        // If the rest is not found after the first place the first run fits, it is not after later ones either.
        self.end_of_match(text, start, true).map(|end| (start, end))
    }
}

fn fits(run: &[Place], text: &[char], at: usize) -> bool {
    text.get(at..at + run.len())
        .is_some_and(|part| run.iter().zip(part).all(|(place, &c)| place.takes(c)))
}

/// Whether the pattern asks for the longest match, by a doubled sign, and the pattern itself.
fn longest(pattern: &str, sign: char) -> (bool, &str) {
    pattern
        .strip_prefix(sign)
        .map_or((false, pattern), |rest| (true, rest))
}

/// `${name#pattern}`; a pattern that begins with another `#` takes the longest match.
pub(crate) fn trim_prefix(value: &str, pattern: &str) -> Result<String, ExpandError> {
    let (longest, pattern) = longest(pattern, '#');
    let chars: Vec<char> = value.chars().collect();
    let end = Pattern::parse(pattern)?.end_of_match(&chars, 0, longest);
    Ok(chars[end.unwrap_or(0)..].iter().collect())
}

/// `${name%pattern}`; a pattern that begins with another `%` takes the longest match.
pub(crate) fn trim_suffix(value: &str, pattern: &str) -> Result<String, ExpandError> {
    let (longest, pattern) = longest(pattern, '%');
    let chars: Vec<char> = value.chars().rev().collect();
    let end = Pattern::parse(pattern)?
        .reversed()
        .end_of_match(&chars, 0, longest);
    Ok(chars[end.unwrap_or(0)..].iter().rev().collect())
}

/// `${name/pattern/text}`, of the first match or of `all`; at most `limit` bytes.
pub(crate) fn replace(
    value: &str,
    pattern: &str,
    text: &str,
    all: bool,
    limit: usize,
) -> Result<String, ExpandError> {
    let pattern = Pattern::parse(pattern)?;
    let chars: Vec<char> = value.chars().collect();
    let mut out = String::new();
    let mut at = 0;
    while let Some((start, end)) = pattern.find(&chars, at) {
        out.extend(&chars[at..start]);
        out.push_str(text);
        at = end;
        if start == end {
            // A pattern that matches nothing at all does so once between every two characters.
            out.extend(chars.get(at));
            at += 1;
        }
        if out.len() > limit {
            return Err(ExpandError::TooLong { limit });
        }
        if !all || at > chars.len() {
            break;
        }
    }
    out.extend(chars.get(at..).unwrap_or_default());
    if out.len() > limit {
        Err(ExpandError::TooLong { limit })
    } else {
        Ok(out)
    }
}
