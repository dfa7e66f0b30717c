//! Here-documents: their words on the command line, and their bodies on the lines after it.

use crate::{
    error::{Fault, ParseError},
    excerpt::of_word,
    line::{Lines, without_end},
};

/// A here-document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The name without its quotes; for COPY and ADD the file's name.
    pub name: String,
    /// The text, with leading tabs already gone if `<<-` asked for that; line ends as in the file.
    pub body: String,
    /// Whether COPY and ADD expand variables in it: no part of the name was quoted.
    pub expand: bool,
}

/// The word `[fd]<<[-]NAME`; blanks after `<<` belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeredocWord {
    /// NAME without its quotes.
    pub(crate) name: String,
    /// Whether no part of NAME was quoted.
    pub(crate) expand: bool,
    /// Whether leading tabs go (`<<-`).
    pub(crate) strip_tabs: bool,
}

/// A here-document as it stands in the file.
#[derive(Debug, Clone)]
pub(crate) struct RawHeredoc {
    pub(crate) word: HeredocWord,
    /// The lines up to the terminator, untouched.
    pub(crate) body: String,
}

impl RawHeredoc {
    /// The here-document as its user sees it.
    pub(crate) fn finish(&self) -> Heredoc {
        let body = if self.word.strip_tabs {
            self.body
                .split_inclusive('\n')
                .map(|line| line.trim_start_matches('\t'))
                .collect()
        } else {
            self.body.clone()
        };
        Heredoc {
            name: self.word.name.clone(),
            body,
            expand: self.word.expand,
        }
    }
}

/// `command`, then the bodies with their terminators, as a shell wants to read them.
pub(crate) fn inline(command: &str, heredocs: &[RawHeredoc]) -> String {
    let mut text = command.to_owned();
    for heredoc in heredocs {
        text.extend(["\n", &heredoc.body, &heredoc.word.name]);
    }
    text
}

/// The here-documents announced on a joined line; none if its quotes are unbalanced.
///
/// The escape directive has no say here: `\` escapes, as in the shells the words come from.
pub(crate) fn words_of(line: &str) -> Vec<HeredocWord> {
    if !line.contains("<<") {
        return Vec::new();
    }
    shell_words(line)
        .unwrap_or_default()
        .into_iter()
        .filter_map(word)
        .collect()
}

/// `text` as a here-document word, if it is one.
pub(crate) fn word(text: &str) -> Option<HeredocWord> {
    let rest = text
        .trim_start_matches(|c: char| c.is_ascii_digit())
        .strip_prefix("<<")?;
    let (strip_tabs, raw) = match rest.strip_prefix('-') {
        Some(raw) => (true, raw.trim_start()),
        None => (false, rest.trim_start()),
    };
    if raw.is_empty() || raw.contains('<') {
        return None;
    }
    // The name has to be a single word; unquoted blanks make it two.
    let words = shell_words(raw)?;
    if words != [raw] {
        return None;
    }
    let (name, quoted) = unquoted(raw)?;
    (!name.is_empty()).then_some(HeredocWord {
        name,
        expand: !quoted,
        strip_tabs,
    })
}

/// Whether a here-document of this name can become a file: one path component, short enough for a disk.
pub(crate) fn is_file_name(name: &str) -> bool {
    name.len() <= 255 && !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}

/// The words of a command line with their quotes; `None` if a quote is not closed. Blanks after `<<` do not
/// split, nor does anything in `$((...))`, where `<<` is a shift.
fn shell_words(line: &str) -> Option<Vec<&str>> {
    let mut words = Vec::new();
    let (mut start, mut quote, mut arithmetic) = (None, None, true);
    let mut chars = line.char_indices();
    while let Some((at, c)) = chars.next() {
        match quote {
            None if c.is_whitespace() => {
                words.extend(start.take().map(|from| &line[from..at]));
                continue;
            }
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        start.get_or_insert(at);
        let rest = &line[at..];
        let skipped = if c == '\\' && quote != Some('\'') {
            rest.chars().take(2).map(char::len_utf8).sum()
        } else if quote.is_some() {
            0
        } else if let Some(after) = rest.strip_prefix("<<") {
            rest.len() - after.trim_start().len()
        } else if arithmetic && rest.starts_with("$((") {
            let end = rest.find("))");
            // One search in vain is enough: the line may be long.
            arithmetic = end.is_some();
            end.map_or(0, |end| end + 2)
        } else {
            0
        };
        while chars.as_str().len() > rest.len().saturating_sub(skipped) {
            chars.next();
        }
    }
    if quote.is_some() {
        return None;
    }
    words.extend(start.map(|from| &line[from..]));
    Some(words)
}

/// `word` without quotes and escapes, and whether it had quotes; `None` if one is not closed. An escape alone
/// does not count as quoting, other than in shells.
fn unquoted(word: &str) -> Option<(String, bool)> {
    let mut out = String::new();
    let (mut quote, mut quoted) = (None, false);
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '\'' | '"') => (quote, quoted) = (Some(c), true),
            (Some(open), c) if c == open => quote = None,
            (None, '\\') => out.extend(chars.next()),
            (Some('"'), '\\') => match chars.clone().next() {
                Some(next @ ('"' | '$' | '\\')) => {
                    chars.next();
                    out.push(next);
                }
                _ => out.push(c),
            },
            _ => out.push(c),
        }
    }
    quote.is_none().then_some((out, quoted))
}

/// Reads the bodies of `words` from the lines that follow an instruction starting at line `start`.
pub(crate) fn read_bodies(
    lines: &mut Lines<'_>,
    start: u32,
    words: Vec<HeredocWord>,
) -> Result<Vec<RawHeredoc>, ParseError> {
    words
        .into_iter()
        .map(|word| read_body(lines, start, word))
        .collect()
}

fn read_body(lines: &mut Lines<'_>, start: u32, word: HeredocWord) -> Result<RawHeredoc, ParseError> {
    let mut body = String::new();
    while let Some(line) = lines.next()? {
        let mut candidate = without_end(line);
        while word.strip_tabs && candidate.first() == Some(&b'\t') {
            candidate = &candidate[1..];
        }
        if candidate == word.name.as_bytes() {
            return Ok(RawHeredoc { word, body });
        }
        // A body becomes a file or a script: bytes must not be changed on the way.
        body.push_str(std::str::from_utf8(line).map_err(|_| lines.fault(start, Fault::NotUtf8))?);
    }
    Err(lines.fault(
        start,
        Fault::UnterminatedHeredoc {
            name: of_word(&word.name),
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::{word, words_of};

    #[test]
    fn a_word_of_digits_two_angles_and_a_name_is_a_heredoc() {
        for (text, name, expand, strip_tabs) in [
            ("<<EOF", "EOF", true, false),
            ("<<-EOF", "EOF", true, true),
            ("3<<EOF", "EOF", true, false),
            ("<<\"EOF\"", "EOF", false, false),
            ("<<'E O F'", "E O F", false, false),
            ("<<E\"O\"F", "EOF", false, false),
            ("<<\\EOF", "EOF", true, false),
            ("<< EOF", "EOF", true, false),
            ("<<-'$X'", "$X", false, true),
            ("<<$X", "$X", true, false),
            ("<<E>/x", "E>/x", true, false),
        ] {
            let found = word(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(
                (found.name.as_str(), found.expand, found.strip_tabs),
                (name, expand, strip_tabs),
                "{text}"
            );
        }
    }

    #[test]
    fn other_uses_of_angles_are_not() {
        for text in [
            "<<",
            "<<-",
            "<<<EOF",
            "$((1<<2))",
            "a<<EOF",
            "<<A B",
            "<<\"\"",
            "<<\"E",
            "<EOF",
            "<<a<b",
            "",
        ] {
            assert_eq!(word(text), None, "{text}");
        }
    }

    #[test]
    fn words_are_found_in_order_on_the_line() {
        let names = |line: &str| words_of(line).into_iter().map(|w| w.name).collect::<Vec<_>>();
        assert_eq!(names("RUN cat <<E1 > /a && cat <<\"E2\" > /b"), ["E1", "E2"]);
        assert_eq!(names("RUN echo '<<A' \"<<B\" \\<<C $((1<<2)) <<< D <<-E"), ["E"]);
        assert_eq!(names("RUN cat <<  EOF > /a"), ["EOF"]);
        assert_eq!(names("RUN <<- EOF"), [""; 0]);
        assert_eq!(names("RUN echo $((1 << 2)) $(( 3 << 4 )) <<E"), ["E"]);
        assert_eq!(names("RUN echo $((1 <<E"), ["E"]);
        assert_eq!(names("RUN cat <<\"E O F\""), ["E O F"]);
        assert_eq!(names("RUN echo 'open <<EOF"), [""; 0]);
        assert_eq!(names("RUN echo ${a[@]} <<EOF"), ["EOF"]);
    }
}
