//! What differs from run to run or from store to store, replaced by words, so that answers can be compared.

/// Texts that stand for something both daemons know.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names(Vec<(String, String)>);

impl Names {
    /// From now on this text is written as that word.
    pub(crate) fn add(&mut self, text: impl Into<String>, word: impl Into<String>) {
        self.0.push((text.into(), word.into()));
    }

    /// From now on this digest, its digits alone and its first twelve are written as that word.
    pub(crate) fn add_digest(&mut self, digest: &str, word: &str) {
        let digits = digest.strip_prefix("sha256:").unwrap_or(digest);
        self.add(digits, format!("<{word}>"));
        self.add(&digits[..12], format!("<{word}, 12>"));
    }

    /// The text with known names as words, and times and unknown digests as what they are.
    pub(crate) fn replace(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, word) in &self.0 {
            text = text.replace(name, word);
        }
        digests(&times(&text))
    }
}

/// Runs of 64 or 12 hexadecimal digits are digests.
fn digests(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        out += &rest[..start];
        rest = &rest[start..];
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(rest.len());
        let word = &rest[..end];
        let is_hex = word.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match word.len() {
            64 if is_hex => out += "<64 hex>",
            12 if is_hex => out += "<12 hex>",
            _ => out += word,
        }
        rest = &rest[end..];
    }
    out + rest
}

/// Times as RFC 3339 has them become a word; that there is none stays.
fn times(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('T') {
        let date = at.checked_sub(10).and_then(|from| rest.get(from..at));
        let is_date = date.is_some_and(|date| shaped(date, "0000-00-00") && date != "0001-01-01");
        let is_time = rest
            .get(at + 1..at + 9)
            .is_some_and(|time| shaped(time, "00:00:00"));
        if is_date && is_time {
            out += &rest[..at - 10];
            out += "<time>";
            rest = rest[at + 9..].trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
            let zone = rest.get(..6).filter(|zone| shaped(&zone[1..], "00:00"));
            rest = rest
                .strip_prefix('Z')
                .unwrap_or(zone.map_or(rest, |zone| &rest[zone.len()..]));
        } else {
            out += &rest[..=at];
            rest = &rest[at + 1..];
        }
    }
    out + rest
}

fn shaped(text: &str, shape: &str) -> bool {
    text.len() == shape.len()
        && text.bytes().zip(shape.bytes()).all(|(byte, like)| {
            if like == b'0' {
                byte.is_ascii_digit()
            } else {
                byte == like
            }
        })
}

#[test]
fn what_changes_becomes_a_word() {
    let mut names = Names::default();
    names.add_digest(&format!("sha256:{}", "a".repeat(64)), "one");
    names.add("localhost:5000", "REGISTRY");
    for (text, expected) in [
        (format!("sha256:{}", "a".repeat(64)), "sha256:<one>"),
        (format!("sha256:{}!", "b".repeat(64)), "sha256:<64 hex>!"),
        (format!("x {} y", "a".repeat(12)), "x <one, 12> y"),
        ("Running in 0123456789ab".to_owned(), "Running in <12 hex>"),
        ("localhost:5000/x".to_owned(), "REGISTRY/x"),
        ("at 2021-01-01T00:00:00.123Z.".to_owned(), "at <time>."),
        ("2021-01-01T00:00:00.123456+00:00".to_owned(), "<time>"),
        ("0001-01-01T00:00:00Z".to_owned(), "0001-01-01T00:00:00Z"),
        ("The Title".to_owned(), "The Title"),
    ] {
        assert_eq!(names.replace(&text), expected);
    }
}
