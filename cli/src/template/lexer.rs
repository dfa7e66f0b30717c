//! Template text to tokens: literal text outside `{{ }}`, words inside.

use serde_json::{Number, Value};

use crate::template::{Place, TemplateError};

/// One token and where it began.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) place: Place,
    /// Whether white space stands before it: `.A.B` is one operand, `.A .B` are two.
    pub(super) spaced: bool,
}

/// The kinds of tokens.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// Text outside actions.
    Text(String),
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// `.` alone.
    Dot,
    /// `.Name`
    Field(String),
    /// `$` or `$name`, without the sign.
    Variable(String),
    /// A function or keyword.
    Word(String),
    /// A number, string, character or boolean and how it was written.
    Literal(Value, String),
    /// `(`
    LeftParen,
    /// `)`
    RightParen,
    /// `|`
    Pipe,
    /// `,`
    Comma,
    /// `:=`
    Declare,
    /// `=`
    Assign,
}

/// Splits a template into tokens.
pub(super) fn lex(text: &str) -> Result<Vec<Token>, TemplateError> {
    let mut lexer = Lexer {
        text,
        at: 0,
        line: 1,
        line_start: 0,
        tokens: Vec::new(),
    };
    let mut trim = false;
    while lexer.at < text.len() {
        let rest = &text[lexer.at..];
        let open = rest.find("{{");
        let mut piece = &rest[..open.unwrap_or(rest.len())];
        let place = lexer.place();
        let length = piece.len();
        if trim {
            piece = piece.trim_start_matches(is_space);
        }
        let trims_left = open.is_some_and(|open| begins_trim(&rest[open + 2..]));
        if trims_left {
            piece = piece.trim_end_matches(is_space);
        }
        if !piece.is_empty() {
            lexer.tokens.push(Token {
                kind: Kind::Text(piece.to_owned()),
                place,
                spaced: false,
            });
        }
        lexer.advance(length);
        if open.is_none() {
            break;
        }
        trim = lexer.action(trims_left)?;
    }
    Ok(lexer.tokens)
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// Whether an action's inside begins with a trim mark: a minus and white space.
fn begins_trim(inside: &str) -> bool {
    let mut chars = inside.chars();
    chars.next() == Some('-') && chars.next().is_some_and(is_space)
}

/// Whether what is left of an action is a trim mark and its end.
fn ends_trim(rest: &str) -> bool {
    let inner = rest.trim_start_matches(is_space);
    inner.len() < rest.len() && inner.starts_with("-}}")
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    line_start: usize,
    tokens: Vec<Token>,
}

impl<'a> Lexer<'a> {
    fn place(&self) -> Place {
        Place {
            line: self.line,
            column: self.at - self.line_start,
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn advance(&mut self, bytes: usize) {
        for (index, _) in self.text[self.at..self.at + bytes].match_indices('\n') {
            self.line += 1;
            self.line_start = self.at + index + 1;
        }
        self.at += bytes;
    }

    fn push(&mut self, kind: Kind, bytes: usize, spaced: bool) {
        let place = self.place();
        self.tokens.push(Token { kind, place, spaced });
        self.advance(bytes);
    }

    /// Reads one action, `{{` to `}}`; tells whether it trims what follows.
    fn action(&mut self, trims_left: bool) -> Result<bool, TemplateError> {
        let start = self.place();
        let skip = if trims_left { 3 } else { 2 };
        let inside = self.rest()[skip..].trim_start_matches(is_space);
        if inside.starts_with("/*") && (trims_left || self.rest()[skip..].starts_with("/*")) {
            return self.comment(start);
        }
        self.push(Kind::Open, skip, false);
        loop {
            let rest = self.rest();
            if ends_trim(rest) {
                let spaces = rest.len() - rest.trim_start_matches(is_space).len();
                self.push(Kind::Close, spaces + 3, false);
                return Ok(true);
            }
            let inner = rest.trim_start_matches(is_space);
            let spaced = inner.len() < rest.len();
            self.advance(rest.len() - inner.len());
            if inner.starts_with("}}") {
                self.push(Kind::Close, 2, spaced);
                return Ok(false);
            }
            let Some(first) = inner.chars().next() else {
                return Err(start.bad("unclosed action"));
            };
            self.token(first, inner, spaced)?;
        }
    }

    fn comment(&mut self, start: Place) -> Result<bool, TemplateError> {
        let rest = self.rest();
        let end = rest.find("*/").ok_or_else(|| start.bad("unclosed comment"))? + 2;
        let tail = &rest[end..];
        let (bytes, trims) = if ends_trim(tail) {
            (
                end + (tail.len() - tail.trim_start_matches(is_space).len()) + 3,
                true,
            )
        } else if tail.starts_with("}}") {
            (end + 2, false)
        } else {
            return Err(start.bad("comment ends before closing delimiter"));
        };
        self.advance(bytes);
        Ok(trims)
    }

    /// Reads one token that begins with `first`; `rest` begins with it.
    fn token(&mut self, first: char, rest: &str, spaced: bool) -> Result<(), TemplateError> {
        let name = |from: usize| -> &str {
            let tail = &rest[from..];
            &tail[..tail
                .find(|c: char| !(c == '_' || c.is_alphanumeric()))
                .unwrap_or(tail.len())]
        };
        let second = rest[first.len_utf8()..].chars().next();
        match first {
            '(' => self.push(Kind::LeftParen, 1, spaced),
            ')' => self.push(Kind::RightParen, 1, spaced),
            '|' => self.push(Kind::Pipe, 1, spaced),
            ',' => self.push(Kind::Comma, 1, spaced),
            ':' if second == Some('=') => self.push(Kind::Declare, 2, spaced),
            '=' => self.push(Kind::Assign, 1, spaced),
            '"' | '`' | '\'' => return self.quoted(first, rest, spaced),
            '$' => {
                let name = name(1);
                self.push(Kind::Variable(name.to_owned()), 1 + name.len(), spaced);
            }
            '.' if !second.is_some_and(|c| c.is_ascii_digit()) => match name(1) {
                "" => self.push(Kind::Dot, 1, spaced),
                name => self.push(Kind::Field(name.to_owned()), 1 + name.len(), spaced),
            },
            '0'..='9' | '.' => return self.number(rest, spaced),
            '-' | '+' if second.is_some_and(|c| c.is_ascii_digit() || c == '.') => {
                return self.number(rest, spaced);
            }
            c if c == '_' || c.is_alphabetic() => {
                let name = name(0);
                let kind = match name {
                    "true" | "false" => Kind::Literal(Value::Bool(name == "true"), name.to_owned()),
                    _ => Kind::Word(name.to_owned()),
                };
                self.push(kind, name.len(), spaced);
            }
            other => {
                return Err(self
                    .place()
                    .bad(format!("unexpected {:?} in command", other.to_string())));
            }
        }
        Ok(())
    }

    fn quoted(&mut self, quote: char, rest: &str, spaced: bool) -> Result<(), TemplateError> {
        let place = self.place();
        let unterminated = |what: &str| place.bad(format!("unterminated {what}"));
        let mut value = String::new();
        let mut chars = rest[1..].char_indices();
        let end = loop {
            match chars.next() {
                Some((index, c)) if c == quote => break index + 2,
                Some((_, '\n')) if quote != '`' => return Err(unterminated("quoted string")),
                Some((_, '\\')) if quote != '`' => {
                    let c = unescape(&mut chars).ok_or_else(|| place.bad("invalid syntax"))?;
                    value.push(c);
                }
                Some((_, c)) => value.push(c),
                None if quote == '`' => return Err(unterminated("raw quoted string")),
                None if quote == '\'' => return Err(unterminated("character constant")),
                None => return Err(unterminated("quoted string")),
            }
        };
        let source = rest[..end].to_owned();
        if quote != '\'' {
            self.push(Kind::Literal(Value::String(value), source), end, spaced);
            return Ok(());
        }
        let mut chars = value.chars();
        match (chars.next(), chars.next()) {
            (Some(c), None) => self.push(Kind::Literal(Value::from(u32::from(c)), source), end, spaced),
            _ => return Err(place.bad(format!("malformed character constant: {source}"))),
        }
        Ok(())
    }

    fn number(&mut self, rest: &str, spaced: bool) -> Result<(), TemplateError> {
        let mut end = 0;
        for (index, c) in rest.char_indices() {
            let sign = matches!(c, '+' | '-')
                && (index == 0
                    || (rest[..index].ends_with(['e', 'E'])
                        && !rest.trim_start_matches(['+', '-']).starts_with("0x")));
            if !(sign || c == '.' || c == '_' || c.is_ascii_alphanumeric()) {
                break;
            }
            end = index + c.len_utf8();
        }
        let source = &rest[..end];
        let value =
            parse_number(source).ok_or_else(|| self.place().bad(format!("bad number syntax: {source:?}")))?;
        self.push(
            Kind::Literal(Value::Number(value), source.to_owned()),
            end,
            spaced,
        );
        Ok(())
    }
}

/// The character an escape stands for, the backslash already taken.
fn unescape(chars: &mut std::str::CharIndices<'_>) -> Option<char> {
    let (_, c) = chars.next()?;
    let digits = match c {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => 0,
    };
    if digits > 0 {
        let mut code = 0;
        for _ in 0..digits {
            code = code * 16 + chars.next()?.1.to_digit(16)?;
        }
        return char::from_u32(code);
    }
    Some(match c {
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        '\\' | '\'' | '"' => c,
        _ => return None,
    })
}

/// A Go number: decimal, `0x`, `0o`, `0b`, or with a point or exponent.
fn parse_number(source: &str) -> Option<Number> {
    let plain = source.replace('_', "");
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let lower = digits.to_ascii_lowercase();
    let based = [("0x", 16), ("0o", 8), ("0b", 2)]
        .iter()
        .find_map(|(prefix, base)| lower.strip_prefix(prefix).map(|digits| (digits, *base)));
    let (digits, base) = based.unwrap_or((&lower, 10));
    if let Ok(number) = i64::from_str_radix(digits, base) {
        if !digits.starts_with(['+', '-']) {
            return Some(Number::from(if negative { -number } else { number }));
        }
        return None;
    }
    let looks_like_float = base == 10
        && digits.contains(['.', 'e'])
        && digits
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'+' | b'-'));
    if !looks_like_float {
        return None;
    }
    let number: f64 = digits.parse().ok()?;
    // Go takes a constant without a fraction for an integer where one is wanted.
    let number = if negative { -number } else { number };
    if number.fract() == 0.0 && number.abs() < 1e15 {
        return Some(Number::from(number as i64));
    }
    Number::from_f64(number)
}
