//! Reads the little JSON a Dockerfile can hold: an array of strings, or one member of an object.

use std::str::CharIndices;

/// Deepest nesting that still counts as JSON; deeper text is taken as no JSON at all.
const MAX_DEPTH: usize = 10_000;

/// What a text is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Array {
    /// An array of strings and nothing after it.
    Strings(Vec<String>),
    /// A valid array with another thing than a string in it.
    Mixed,
    /// Anything else.
    Not,
}

/// What `text` is; leading white space is passed over.
pub(crate) fn array(text: &str) -> Array {
    let text = text.trim_start();
    if !text.starts_with('[') {
        return Array::Not;
    }
    let mut reader = Reader::new(text);
    match reader.top_array() {
        Some((strings, only_strings)) if reader.at_end() => {
            if only_strings {
                Array::Strings(strings)
            } else {
                Array::Mixed
            }
        }
        _ => Array::Not,
    }
}

/// The string member `key` of the object `text`, if it is one and has it.
pub(crate) fn string_member(text: &str, key: &str) -> Option<String> {
    let mut reader = Reader::new(text);
    let mut found = None;
    reader.blanks();
    reader.expect('{')?;
    reader.blanks();
    if reader.expect('}').is_none() {
        loop {
            reader.blanks();
            let name = reader.string()?;
            reader.blanks();
            reader.expect(':')?;
            reader.blanks();
            let value = reader.value()?;
            if name == key {
                found = value;
            }
            reader.blanks();
            if reader.expect(',').is_none() {
                reader.expect('}')?;
                break;
            }
        }
    }
    if reader.at_end() { found } else { None }
}

/// A place in a text; every method gives `None` where the grammar of RFC 8259 is broken.
struct Reader<'a> {
    chars: CharIndices<'a>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            chars: text.char_indices(),
        }
    }

    fn rest(&self) -> &'a str {
        self.chars.as_str()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        self.chars.next().map(|(_, c)| c)
    }

    fn expect(&mut self, wanted: char) -> Option<()> {
        (self.peek()? == wanted).then(|| {
            self.next();
        })
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\r' | '\n')) {
            self.next();
        }
    }

    fn at_end(&mut self) -> bool {
        self.blanks();
        self.rest().is_empty()
    }

    /// An array: its strings, and whether it has nothing else.
    fn top_array(&mut self) -> Option<(Vec<String>, bool)> {
        let (mut strings, mut only_strings) = (Vec::new(), true);
        self.expect('[')?;
        self.blanks();
        if self.expect(']').is_some() {
            return Some((strings, true));
        }
        loop {
            self.blanks();
            match self.value()? {
                Some(text) => strings.push(text),
                None => only_strings = false,
            }
            self.blanks();
            if self.expect(',').is_none() {
                self.expect(']')?;
                return Some((strings, only_strings));
            }
        }
    }

    /// Any value; only a string gives its text, others are checked and passed over.
    fn value(&mut self) -> Option<Option<String>> {
        match self.peek()? {
            '"' => self.string().map(Some),
            '[' | '{' => self.nested().map(|()| None),
            _ => self.scalar().map(|()| None),
        }
    }

    /// An array or object, read with a list of open brackets instead of recursion: the text is not trusted.
    fn nested(&mut self) -> Option<()> {
        let mut open: Vec<char> = Vec::new();
        loop {
            self.blanks();
            match self.peek()? {
                bracket @ ('[' | '{') => {
                    self.next();
                    open.push(bracket);
                    if open.len() > MAX_DEPTH {
                        return None;
                    }
                    self.blanks();
                    let close = if bracket == '[' { ']' } else { '}' };
                    if self.expect(close).is_none() {
                        self.member_name(bracket)?;
                        continue;
                    }
                    open.pop();
                }
                '"' => {
                    self.string()?;
                }
                _ => self.scalar()?,
            }
            loop {
                let Some(&bracket) = open.last() else {
                    return Some(());
                };
                self.blanks();
                if self.expect(',').is_some() {
                    self.blanks();
                    self.member_name(bracket)?;
                    break;
                }
                self.expect(if bracket == '[' { ']' } else { '}' })?;
                open.pop();
            }
        }
    }

    /// In an object, the name and colon before a value.
    fn member_name(&mut self, bracket: char) -> Option<()> {
        if bracket == '{' {
            self.string()?;
            self.blanks();
            self.expect(':')?;
        }
        Some(())
    }

    /// A number, or one of the three words.
    fn scalar(&mut self) -> Option<()> {
        let length = self
            .rest()
            .find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '-' | '.'))
            .unwrap_or(self.rest().len());
        let (token, _) = self.rest().split_at(length);
        if !matches!(token, "true" | "false" | "null") && !is_number(token) {
            return None;
        }
        for _ in 0..length {
            self.next();
        }
        Some(())
    }

    fn string(&mut self) -> Option<String> {
        self.expect('"')?;
        let mut text = String::new();
        loop {
            match self.next()? {
                '"' => return Some(text),
                '\\' => {
                    let c = match self.next()? {
                        c @ ('"' | '\\' | '/') => c,
                        'b' => '\u{8}',
                        'f' => '\u{c}',
                        'n' => '\n',
                        'r' => '\r',
                        't' => '\t',
                        'u' => self.unicode()?,
                        _ => return None,
                    };
                    text.push(c);
                }
                c if c < ' ' => return None,
                c => text.push(c),
            }
        }
    }

    /// What follows `\u`; halves of a pair without the other become U+FFFD.
    fn unicode(&mut self) -> Option<char> {
        let first = self.hex()?;
        if (0xd800..0xdc00).contains(&first) && self.rest().starts_with("\\u") {
            let before = self.chars.clone();
            self.next();
            self.next();
            let second = self.hex()?;
            if (0xdc00..0xe000).contains(&second) {
                return char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00));
            }
            self.chars = before;
        }
        Some(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex(&mut self) -> Option<u32> {
        (0..4).try_fold(0, |sum, _| Some(sum * 16 + self.next()?.to_digit(16)?))
    }
}

/// Whether `token` is a JSON number.
fn is_number(token: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let token = token.strip_prefix('-').unwrap_or(token);
    let (mantissa, exponent) = match token.split_once(['e', 'E']) {
        Some((m, e)) => (m, Some(e.strip_prefix(['+', '-']).unwrap_or(e))),
        None => (token, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((w, f)) => (w, Some(f)),
        None => (mantissa, None),
    };
    digits(whole)
        && (whole.len() == 1 || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(digits)
}

#[cfg(test)]
mod tests {
    use super::{Array, array, string_member};

    #[test]
    fn the_whole_text_must_be_an_array() {
        let strings = |words: &[&str]| Array::Strings(words.iter().map(|&w| w.to_owned()).collect());
        for (text, want) in [
            (r#"["a", "b"]"#, strings(&["a", "b"])),
            (r#"  [ "a" ,"b" ] "#, strings(&["a", "b"])),
            ("[]", strings(&[])),
            (r#"["\u00e9\n", "a\tb", "\/"]"#, strings(&["é\n", "a\tb", "/"])),
            (
                r#"["\ud83d\ude00 \ud83d \ud83d\u0041"]"#,
                strings(&["😀 \u{fffd} \u{fffd}A"]),
            ),
            (r#"["x", "y"] trailing"#, Array::Not),
            (r#"["x", "y""#, Array::Not),
            (r#"["x",]"#, Array::Not),
            (r#"[ "a", 'b' ]"#, Array::Not),
            ("[ -f x ]", Array::Not),
            ("['a']", Array::Not),
            ("[\"a\tb\"]", Array::Not),
            (r#"["\q"]"#, Array::Not),
            (r#"["\u00g0"]"#, Array::Not),
            ("[01]", Array::Not),
            ("[1.]", Array::Not),
            ("echo", Array::Not),
            ("", Array::Not),
            (r#"["a", 1]"#, Array::Mixed),
            ("[null, true, false, -0.5e+3]", Array::Mixed),
            (r#"["a", ["b", {"c": [1, {}], "d": []}]]"#, Array::Mixed),
            (r#"[{"c" 1}]"#, Array::Not),
            (r#"[{"c":1]"#, Array::Not),
            (r#"[[1}]"#, Array::Not),
        ] {
            assert_eq!(array(text), want, "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_no_json_and_no_crash() {
        assert_eq!(
            array(&format!("{}{}", "[".repeat(5000), "]".repeat(5000))),
            Array::Mixed
        );
        assert_eq!(array(&"[".repeat(1_000_000)), Array::Not);
    }

    #[test]
    fn member_of_an_object() {
        assert_eq!(
            string_member(r#"{"a": [1], "syntax": "x/y:1"}"#, "syntax").as_deref(),
            Some("x/y:1")
        );
        assert_eq!(string_member(r#"{"syntax": 1}"#, "syntax"), None);
        assert_eq!(string_member(r#"{"syntax": "a"} x"#, "syntax"), None);
        assert_eq!(string_member("{}", "syntax"), None);
    }
}
