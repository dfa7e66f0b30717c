//! Shell patterns as docker's `reference` filter takes them (Go's `path.Match`).

/// A pattern: `*` and `?` stop at `/`, `[a-z]` and `[^a-z]` are classes, `\` quotes.
pub(crate) struct Glob(Vec<Token>);

impl Glob {
    /// Reads a pattern; `None` if it is malformed.
    pub(crate) fn parse(pattern: &str) -> Option<Self> {
        parse(pattern).map(Self)
    }

    /// Whether `text` matches the whole of the pattern.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let tokens = &self.0;
        let mut chars = text.chars();
        // what stands before the first star has to be there as it is, which most texts fail at once
        let fixed = tokens.iter().take_while(|token| !matches!(token, Token::Star));
        let mut start = 0;
        for token in fixed {
            match chars.next() {
                Some(c) if token.takes(c) => start += 1,
                _ => return false,
            }
        }
        if start == tokens.len() {
            return chars.next().is_none();
        }
        // positions in the pattern that the text read so far can have reached
        let mut reached = vec![false; tokens.len() + 1];
        let mut next = reached.clone();
        reached[start] = true;
        skip_stars(tokens, &mut reached);
        for c in chars {
            next.fill(false);
            for (at, token) in tokens.iter().enumerate().filter(|(at, _)| reached[*at]) {
                match token {
                    Token::Star if c != '/' => next[at] = true,
                    Token::Star => {}
                    token if token.takes(c) => next[at + 1] = true,
                    _ => {}
                }
            }
            skip_stars(tokens, &mut next);
            std::mem::swap(&mut reached, &mut next);
        }
        reached[tokens.len()]
    }
}

enum Token {
    Star,
    Any,
    One(char),
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Star => false,
            Self::Any => c != '/',
            Self::One(one) => *one == c,
            Self::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

/// A star may stand for nothing.
fn skip_stars(tokens: &[Token], reached: &mut [bool]) {
    for (at, token) in tokens.iter().enumerate() {
        if reached[at] && matches!(token, Token::Star) {
            reached[at + 1] = true;
        }
    }
}

fn parse(pattern: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' => Token::Star,
            '?' => Token::Any,
            '\\' => Token::One(chars.next()?),
            '[' => {
                let negated = chars.next_if_eq(&'^').is_some();
                let mut ranges = Vec::new();
                while ranges.is_empty() || chars.peek() != Some(&']') {
                    let low = class_char(&mut chars)?;
                    let high = match chars.next_if_eq(&'-') {
                        Some(_) => class_char(&mut chars)?,
                        None => low,
                    };
                    ranges.push((low, high));
                }
                chars.next()?;
                Token::Class { negated, ranges }
            }
            c => Token::One(c),
        });
    }
    Some(tokens)
}

fn class_char(chars: &mut impl Iterator<Item = char>) -> Option<char> {
    match chars.next()? {
        '\\' => chars.next(),
        '-' | ']' => None,
        c => Some(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("*", "abc", true),
            ("*", "a/b", false),
            ("*/*", "a/b", true),
            ("a*c", "abbc", true),
            ("a*c", "ac", true),
            ("a*b*c", "axxbyyc", true),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("busy*:l*", "busybox:latest", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[\\]]", "]", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("**", "abc", true),
        ] {
            let glob = Glob::parse(pattern).unwrap();
            assert_eq!(glob.matches(text), expected, "{pattern:?} {text:?}");
        }
    }

    #[test]
    fn malformed_patterns_are_none() {
        for pattern in ["[", "[]", "[a", "[a-", "[a-]", "[]a]", "\\", "[-x]", "[^"] {
            assert!(Glob::parse(pattern).is_none(), "{pattern:?}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = "*a".repeat(200) + "b";
        assert!(!Glob::parse(&pattern).unwrap().matches(&"a".repeat(2000)));
    }
}
