//! Puts values of variables into words and takes quotes and escapes out of them.

use std::collections::HashSet;

use thiserror::Error;

use crate::{excerpt::of_word, modifier};

/// Most bytes one expanded word may have: a few lines of `ENV a=$a$a` would otherwise fill any memory.
/// (Linux passes no variable over 128 KiB to a program anyway.)
const MAX_WORD: usize = 1 << 20;
/// Most bytes one expanded here-document may have.
const MAX_HEREDOC: usize = 16 << 20;
/// Deepest `${a:-${b:-...}}`.
const MAX_DEPTH: usize = 64;

/// Why a word could not be expanded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ExpandError {
    /// A quote is not closed.
    #[error("unexpected end of statement while looking for matching {quote}")]
    OpenQuote {
        /// `single-quote` or `double-quote`.
        quote: &'static str,
    },
    /// `${` without `}`, or a replacement without its second `/`.
    #[error("syntax error: missing '{wanted}' in ${{}}")]
    Unclosed {
        /// The missing character.
        wanted: char,
    },
    /// `${}`, `${{`, `${:`.
    #[error("syntax error: bad substitution, expected a name after ${{")]
    BadSubstitution,
    /// Something after the name that is no modifier.
    #[error("unsupported modifier ({modifier}) in substitution, expected one of - + ? # % /")]
    Modifier {
        /// What stood there.
        modifier: String,
    },
    /// `${name?message}` of a variable that is not set, or empty with `:?`.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The message given, or the usual one.
        message: String,
    },
    /// A pattern after `#`, `%` or `/` with an escape it does not know, or too long.
    #[error("invalid pattern ({pattern}) in substitution: {problem}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// `${` nested too deep.
    #[error("substitutions are nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// The result would be too long.
    #[error("expanded to more than {limit} bytes")]
    TooLong {
        /// Most bytes it may have.
        limit: usize,
    },
}

/// A word with the values put in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expansion {
    /// The result as one value, inner blanks kept.
    pub value: String,
    /// The result split at blanks that were not quoted; values of unquoted variables are split, too.
    pub words: Vec<String>,
    /// The variables used although not set, each once, in order.
    pub unset: Vec<String>,
}

impl Expansion {
    /// Expands `word`, taking quotes off; `escape` is the file's escape character.
    ///
    /// # Errors
    /// See [`ExpandError`].
    pub fn of(word: &str, escape: char, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ExpandError> {
        run(word, escape, true, MAX_WORD, env)
    }
}

/// `word` as a single value: variables in, quotes and escapes out, blanks kept.
///
/// # Errors
/// See [`ExpandError`].
pub fn expand_word(
    word: &str,
    escape: char,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<String, ExpandError> {
    Expansion::of(word, escape, env).map(|expansion| expansion.value)
}

/// `word` as words: as [`expand_word`], then split at blanks that were not quoted. EXPOSE uses this.
///
/// # Errors
/// See [`ExpandError`].
pub fn expand_words(
    word: &str,
    escape: char,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<String>, ExpandError> {
    Expansion::of(word, escape, env).map(|expansion| expansion.words)
}

/// The body of an unquoted here-document of COPY or ADD: variables in, `\` escapes the next character, quotes
/// are ordinary characters.
///
/// # Errors
/// See [`ExpandError`].
pub fn expand_heredoc(body: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, ExpandError> {
    expand_heredoc_noting(body, env).map(|expansion| expansion.value)
}

/// The same with what was noted on the way.
pub(crate) fn expand_heredoc_noting(
    body: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Expansion, ExpandError> {
    run(body, '\\', false, MAX_HEREDOC, env)
}

fn run(
    word: &str,
    escape: char,
    quotes: bool,
    limit: usize,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Expansion, ExpandError> {
    let mut scanner = Scanner {
        rest: word,
        escape,
        quotes,
        limit,
        env,
        unset: Vec::new(),
        seen_unset: HashSet::new(),
        depth: 0,
        words: Words::default(),
    };
    let value = scanner.until(None, false)?;
    Ok(Expansion {
        value,
        words: scanner.words.finish(),
        unset: scanner.unset,
    })
}

/// Collects words of the outermost level.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    word: String,
}

impl Words {
    /// Text in which blanks separate.
    fn add(&mut self, text: &str) {
        for c in text.chars() {
            if !c.is_whitespace() {
                self.word.push(c);
            } else if !self.word.is_empty() {
                self.done.push(std::mem::take(&mut self.word));
            }
        }
    }

    fn finish(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.done.push(self.word);
        }
        self.done
    }
}

struct Scanner<'a> {
    rest: &'a str,
    escape: char,
    quotes: bool,
    limit: usize,
    env: &'a dyn Fn(&str) -> Option<String>,
    unset: Vec<String>,
    seen_unset: HashSet<String>,
    depth: usize,
    words: Words,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn append(&self, out: &mut String, text: &str) -> Result<(), ExpandError> {
        if out.len() + text.len() > self.limit {
            return Err(ExpandError::TooLong { limit: self.limit });
        }
        out.push_str(text);
        Ok(())
    }

    /// Everything up to `stop`, which is passed over; `None` stops at the end. `raw` keeps escapes in the text,
    /// for those who read it as a pattern.
    fn until(&mut self, stop: Option<char>, raw: bool) -> Result<String, ExpandError> {
        let outer = stop.is_none();
        let mut out = String::new();
        while let Some(c) = self.next() {
            if Some(c) == stop {
                return Ok(out);
            }
            let mut buffer = [0; 4];
            match c {
                '$' => {
                    let value = self.dollar()?;
                    self.append(&mut out, &value)?;
                    if outer {
                        self.words.add(&value);
                    }
                }
                '\'' | '"' if self.quotes => {
                    let text = if c == '"' {
                        self.double_quoted(raw)?
                    } else {
                        self.single_quoted()?
                    };
                    self.append(&mut out, &text)?;
                    if outer {
                        self.words.word.push_str(&text);
                    }
                }
                c if c == self.escape => {
                    if raw {
                        out.push(c);
                    }
                    let Some(next) = self.next() else { break };
                    self.append(&mut out, next.encode_utf8(&mut buffer))?;
                    if outer {
                        self.words.word.push(next);
                    }
                }
                c => {
                    let text = c.encode_utf8(&mut buffer);
                    self.append(&mut out, text)?;
                    if outer {
                        self.words.add(text);
                    }
                }
            }
        }
        match stop {
            Some(wanted) => Err(ExpandError::Unclosed { wanted }),
            None => Ok(out),
        }
    }

    /// What stands up to the next `'`, untouched.
    fn single_quoted(&mut self) -> Result<String, ExpandError> {
        let (text, rest) = self.rest.split_once('\'').ok_or(ExpandError::OpenQuote {
            quote: "single-quote",
        })?;
        self.rest = rest;
        Ok(text.to_owned())
    }

    /// What stands up to the next `"`: variables are expanded, and the escape character works before `"`, `$`
    /// and itself.
    fn double_quoted(&mut self, raw: bool) -> Result<String, ExpandError> {
        let mut out = String::new();
        while let Some(c) = self.next() {
            match c {
                '"' => return Ok(out),
                '$' => {
                    let value = self.dollar()?;
                    self.append(&mut out, &value)?;
                }
                c if c == self.escape => {
                    if raw {
                        out.push(c);
                    }
                    match self.peek() {
                        Some(next) if next == '"' || next == '$' || next == self.escape => {
                            self.next();
                            out.push(next);
                        }
                        Some(_) => out.push(c),
                        None => {}
                    }
                }
                c => out.push(c),
            }
        }
        Err(ExpandError::OpenQuote {
            quote: "double-quote",
        })
    }

    /// What a `$`, already passed, stands for.
    fn dollar(&mut self) -> Result<String, ExpandError> {
        if self.peek() != Some('{') {
            let name = self.name();
            return Ok(if name.is_empty() {
                "$".to_owned()
            } else {
                self.lookup(&name).unwrap_or_default()
            });
        }
        self.next();
        match self.peek() {
            None => return Err(ExpandError::Unclosed { wanted: '}' }),
            Some('{' | '}' | ':') => return Err(ExpandError::BadSubstitution),
            Some(_) => {}
        }
        if self.depth >= MAX_DEPTH {
            return Err(ExpandError::TooDeep);
        }
        self.depth += 1;
        let value = self.braces()?;
        self.depth -= 1;
        Ok(value)
    }

    /// What follows `${`.
    fn braces(&mut self) -> Result<String, ExpandError> {
        let name = self.name();
        let first = self.next().ok_or(ExpandError::Unclosed { wanted: '}' })?;
        if name.is_empty() && first == '}' {
            return Err(ExpandError::BadSubstitution);
        }
        match first {
            '}' => Ok(self.lookup(&name).unwrap_or_default()),
            '/' => self.replacement(&name),
            ':' => {
                let sign = self.next().ok_or(ExpandError::Unclosed { wanted: '}' })?;
                self.modified(&name, sign, true)
            }
            sign => self.modified(&name, sign, false),
        }
    }

    /// `${name-word}` and its siblings; `colon` means that empty counts as unset.
    fn modified(&mut self, name: &str, sign: char, colon: bool) -> Result<String, ExpandError> {
        if !matches!(sign, '-' | '+' | '?' | '#' | '%') {
            let modifier = if colon {
                format!(":{sign}")
            } else {
                sign.to_string()
            };
            return Err(ExpandError::Modifier { modifier });
        }
        let word = self.until(Some('}'), matches!(sign, '#' | '%'))?;
        let value = match sign {
            // These work without the variable, so using it unset is no mistake.
            '-' | '+' | '?' => (self.env)(name),
            _ => self.lookup(name),
        };
        let unset = value.is_none();
        let value = value.filter(|value| !(colon && value.is_empty()));
        match (sign, value) {
            ('-', value) => Ok(value.unwrap_or(word)),
            ('+', value) => Ok(if value.is_some() { word } else { String::new() }),
            ('?', Some(value)) => Ok(value),
            ('?', None) => {
                let usual = if unset {
                    "is not allowed to be unset"
                } else {
                    "is not allowed to be empty"
                };
                let message = if word.is_empty() { usual.to_owned() } else { word };
                Err(ExpandError::Required {
                    name: of_word(name),
                    message: of_word(&message),
                })
            }
            ('#', value) => modifier::trim_prefix(&value.unwrap_or_default(), &word),
            (_, value) => modifier::trim_suffix(&value.unwrap_or_default(), &word),
        }
    }

    /// `${name/pattern/text}`, or `//` for every match.
    fn replacement(&mut self, name: &str) -> Result<String, ExpandError> {
        let all = self.peek() == Some('/');
        if all {
            self.next();
        }
        let pattern = self.until(Some('/'), true)?;
        let text = self.until(Some('}'), true)?;
        let value = self.lookup(name).unwrap_or_default();
        modifier::replace(&value, &pattern, &text, all, self.limit)
    }

    /// The name of a variable: letters, digits and `_`; or digits only; or one of the special parameters of
    /// POSIX shells; or nothing.
    fn name(&mut self) -> String {
        let rest = self.rest;
        let length = match rest.chars().next() {
            Some(c) if c.is_numeric() => rest.find(|c: char| !c.is_numeric()).unwrap_or(rest.len()),
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => 1,
            _ => rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len()),
        };
        let (name, rest) = rest.split_at(length);
        self.rest = rest;
        name.to_owned()
    }

    fn lookup(&mut self, name: &str) -> Option<String> {
        let value = (self.env)(name);
        if value.is_none() && self.seen_unset.insert(name.to_owned()) {
            self.unset.push(name.to_owned());
        }
        value
    }
}
