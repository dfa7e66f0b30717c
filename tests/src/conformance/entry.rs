//! One file in one line of text: how contexts, archives and expectations are written down.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

/// What a line says an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file and its content.
    File(Content),
    /// A folder.
    Folder,
    /// A symbolic link and where it leads.
    Link(String),
    /// A hard link and the name it shares its file with.
    Hard(String),
    /// A device: `c` or `b`, major and minor number.
    Device(char, u32, u32),
    /// A named pipe.
    Pipe,
    /// A socket; only in contexts.
    Socket,
    /// A name of the base image that must be gone; only in expectations.
    Gone,
}

/// Content of a regular file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The bytes themselves.
    Bytes(Vec<u8>),
    /// The first 16 digits of their SHA-256, and how many there are.
    Hashed(String, u64),
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name as written.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// Permission bits; nothing is said of those of links.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// Seconds since 1970, the highest number for "while the case was built", nothing for "not said".
    pub time: Option<i64>,
    /// Extended attributes: name, value.
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

/// The time of what was made by the build itself.
pub(crate) const NOW: i64 = i64::MAX;

/// Text longer than this is written as its hash.
const SHOWN: usize = 160;

/// The words of a line: blanks part them, a quoted word is a JSON string.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        if rest.starts_with('"') {
            let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<String>();
            let word = stream.next().and_then(Result::ok).ok_or("a broken string")?;
            // the mark tells a quoted word from a bare one
            words.push(format!("\"{word}"));
            rest = rest[stream.byte_offset()..].trim_start();
        } else {
            let end = rest.find(' ').unwrap_or(rest.len());
            words.push(rest[..end].to_owned());
            rest = rest[end..].trim_start();
        }
    }
    Ok(words)
}

fn bare(word: &str) -> String {
    word.strip_prefix('"').unwrap_or(word).to_owned()
}

impl Entry {
    /// Reads a line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &str) -> Result<Self, String> {
        let words = words(line)?;
        let mut words = words.iter().map(String::as_str).peekable();
        let mut next = |what: &str| {
            words
                .next()
                .ok_or_else(|| format!("{what} is missing in {line:?}"))
        };
        let letter = next("the type")?;
        let mut entry = Self {
            path: String::new(),
            kind: Kind::Gone,
            mode: 0o777,
            owner: (0, 0),
            time: None,
            xattrs: BTreeMap::new(),
        };
        if !matches!(letter, "-" | "h" | "l") {
            entry.mode = u32::from_str_radix(next("the mode")?, 8).map_err(|e| format!("{line:?}: {e}"))?;
        }
        if !matches!(letter, "-" | "h") {
            let owner = next("the owner")?;
            let (user, group) = owner.split_once(':').ok_or_else(|| format!("{line:?}: owner"))?;
            let number = |text: &str| text.parse::<u32>().map_err(|e| format!("{line:?}: {e}"));
            entry.owner = (number(user)?, number(group)?);
        }
        entry.path = bare(next("the name")?);
        entry.kind = match letter {
            "d" => Kind::Folder,
            "p" => Kind::Pipe,
            "s" => Kind::Socket,
            "-" => Kind::Gone,
            "l" | "h" => {
                next("-> or =")?;
                let target = bare(next("the target")?);
                if letter == "l" {
                    Kind::Link(target)
                } else {
                    Kind::Hard(target)
                }
            }
            "c" | "b" => {
                let numbers = next("the numbers")?.split_once(',').ok_or("MAJOR,MINOR")?;
                let number = |text: &str| text.parse::<u32>().map_err(|e| format!("{line:?}: {e}"));
                let letter = if letter == "c" { 'c' } else { 'b' };
                Kind::Device(letter, number(numbers.0)?, number(numbers.1)?)
            }
            "f" => Kind::File(content(next("the content")?, &mut next)?),
            other => return Err(format!("{other:?} is no type: {line:?}")),
        };
        for word in words {
            entry
                .option(word)
                .ok_or_else(|| format!("{word:?} in {line:?}"))?;
        }
        Ok(entry)
    }

    /// Takes `@TIME`, `*TIMES` or `NAME=VALUE`.
    fn option(&mut self, word: &str) -> Option<()> {
        if let Some(time) = word.strip_prefix('@') {
            self.time = Some(if time == "now" { NOW } else { time.parse().ok()? });
        } else if let Some(times) = word.strip_prefix('*') {
            let Kind::File(Content::Bytes(bytes)) = &mut self.kind else {
                return None;
            };
            *bytes = bytes.repeat(times.parse().ok()?);
        } else {
            let (name, value) = word.split_once('=')?;
            let value = match value.strip_prefix("0x") {
                Some(digits) => unhex(digits)?,
                None => value.as_bytes().to_vec(),
            };
            self.xattrs.insert(name.to_owned(), value);
        }
        Some(())
    }
}

fn content<'a>(
    word: &str,
    next: &mut impl FnMut(&str) -> Result<&'a str, String>,
) -> Result<Content, String> {
    if let Some(text) = word.strip_prefix('"') {
        return Ok(Content::Bytes(text.as_bytes().to_vec()));
    }
    let digits = word
        .strip_prefix("sha256:")
        .ok_or_else(|| format!("{word:?} is no content"))?;
    let size = next("the size")?.parse().map_err(|e| format!("size: {e}"))?;
    Ok(Content::Hashed(digits.to_owned(), size))
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let pairs = (0..digits.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok())
        .collect()
}

/// Lower-case digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Content as an expectation writes it: short text as it is, the rest by its hash.
pub(crate) fn shown(bytes: &[u8]) -> Content {
    let plain = |c: char| !c.is_control() || matches!(c, '\n' | '\t' | '\r');
    match std::str::from_utf8(bytes) {
        Ok(text) if text.len() <= SHOWN && text.chars().all(plain) => Content::Bytes(bytes.to_vec()),
        _ => {
            use sha2::Digest as _;
            let digits = hex(&sha2::Sha256::digest(bytes));
            Content::Hashed(digits[..16].to_owned(), bytes.len() as u64)
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn name(path: &str) -> String {
    if path.is_empty() || path.contains([' ', '"', '\\']) || path.contains(char::is_control) {
        quoted(path)
    } else {
        path.to_owned()
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (user, group) = self.owner;
        let (mode, path) = (self.mode, name(&self.path));
        match &self.kind {
            Kind::File(Content::Bytes(bytes)) => {
                let text = quoted(&String::from_utf8_lossy(bytes));
                write!(f, "f {mode:o} {user}:{group} {path} {text}")?;
            }
            Kind::File(Content::Hashed(digits, size)) => {
                write!(f, "f {mode:o} {user}:{group} {path} sha256:{digits} {size}")?;
            }
            Kind::Folder => write!(f, "d {mode:o} {user}:{group} {path}")?,
            Kind::Pipe => write!(f, "p {mode:o} {user}:{group} {path}")?,
            Kind::Socket => write!(f, "s {mode:o} {user}:{group} {path}")?,
            Kind::Device(letter, major, minor) => {
                write!(f, "{letter} {mode:o} {user}:{group} {path} {major},{minor}")?;
            }
            Kind::Link(target) => write!(f, "l {user}:{group} {path} -> {}", name(target))?,
            Kind::Hard(target) => write!(f, "h {path} = {}", name(target))?,
            Kind::Gone => write!(f, "- {path}")?,
        }
        for (name, value) in &self.xattrs {
            write!(f, " {name}=0x{}", hex(value))?;
        }
        match self.time {
            Some(NOW) => write!(f, " @now"),
            Some(time) => write!(f, " @{time}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_and_written_alike() {
        for line in [
            "f 4755 3:4 /a/b \"text\\n\" @now",
            "f 644 0:0 \"/with blank\" sha256:0123456789abcdef 300 @1000000000",
            "d 1777 0:0 /tmp",
            "l 5:6 /l -> ../x @7",
            "h /b = /a",
            "c 666 0:0 /null 1,3",
            "p 644 0:0 /p",
            "- /gone",
            "f 755 0:0 /ping \"x\" security.capability=0x0100 @5",
        ] {
            assert_eq!(Entry::parse(line).unwrap().to_string(), line);
        }
    }

    #[test]
    fn a_broken_line_is_refused() {
        for line in [
            "",
            "f",
            "f 9 0:0 x \"\"",
            "f 644 0 x \"\"",
            "q 644 0:0 x",
            "f 644 0:0 x y",
            "l 0:0 x",
            "d 755 0:0 x y",
        ] {
            assert!(Entry::parse(line).is_err(), "{line}");
        }
    }
}
