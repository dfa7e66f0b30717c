//! Parser directives: the special comments at the very top of the file.

use crate::{
    error::{Fault, ParseError},
    excerpt::of_word,
    json,
    line::{Lines, without_end, without_mark},
};

/// What the comments at the top of a file ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directives {
    /// The character that escapes and continues lines: `\` or a backtick.
    pub escape: char,
    /// The image of the frontend that should read the file.
    pub syntax: Option<String>,
    /// How checks are configured: `skip=A,B;error=true`.
    pub check: Option<String>,
}

impl Default for Directives {
    fn default() -> Self {
        Self {
            escape: '\\',
            syntax: None,
            check: None,
        }
    }
}

impl Directives {
    /// Reads only the directives, so that a file for another frontend can be told before it is parsed.
    ///
    /// Besides `# syntax=` this finds `// syntax=`, the member of a JSON object, and any of them after a `#!`
    /// line.
    ///
    /// # Errors
    /// A repeated directive, an escape that is neither `\` nor a backtick, a line over the limit.
    pub fn read(bytes: &[u8]) -> Result<Self, ParseError> {
        Self::read_block(bytes).map(|(directives, _)| directives)
    }

    /// The same, with the number of the last line of their block; 0 if there are none.
    pub(crate) fn read_block(bytes: &[u8]) -> Result<(Self, u32), ParseError> {
        let bytes = without_mark(bytes);
        let mut last = 0;
        let mut directives = Self::default();
        let mut has_escape = false;
        let mut lines = Lines::of_file(bytes);
        let mut after_shebang = false;
        while let Some(line) = lines.next()? {
            let number = lines.number();
            let text = String::from_utf8_lossy(without_end(line));
            if number == 1 && text.starts_with("#!") {
                after_shebang = true;
                continue;
            }
            let Some((name, value)) = text.trim_start().strip_prefix('#').and_then(pair) else {
                break;
            };
            let repeated = |name| lines.fault(number, Fault::RepeatedDirective { name });
            match name.to_ascii_lowercase().as_str() {
                "syntax" if directives.syntax.is_some() => return Err(repeated("syntax")),
                "check" if directives.check.is_some() => return Err(repeated("check")),
                "escape" if has_escape => return Err(repeated("escape")),
                "syntax" => directives.syntax = Some(first_word(value)),
                "check" => directives.check = Some(value.to_owned()),
                // A `#!` line is a comment like any other and ends the block for the escape character.
                "escape" if after_shebang => {}
                "escape" => {
                    has_escape = true;
                    directives.escape = match value {
                        "\\" => '\\',
                        "`" => '`',
                        _ => {
                            return Err(lines.fault(
                                number,
                                Fault::BadEscape {
                                    value: of_word(value),
                                },
                            ));
                        }
                    };
                }
                _ => break,
            }
            last = number;
        }
        if directives.syntax.is_none() {
            directives.syntax = foreign_syntax(bytes);
        }
        Ok((directives, last))
    }
}

/// `syntax` in the forms of files that are no Dockerfiles: `// syntax=`, or a JSON object.
fn foreign_syntax(bytes: &[u8]) -> Option<String> {
    let bytes = match bytes.strip_prefix(b"#!") {
        Some(rest) => {
            &rest[rest
                .iter()
                .position(|&b| b == b'\n')
                .map_or(rest.len(), |at| at + 1)..]
        }
        None => bytes,
    };
    for line in bytes.split(|&b| b == b'\n') {
        let text = String::from_utf8_lossy(without_end(line));
        let Some((name, value)) = text.strip_prefix("//").and_then(pair) else {
            break;
        };
        if name.eq_ignore_ascii_case("syntax") {
            return Some(first_word(value));
        }
        if !["escape", "check"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
        {
            break;
        }
    }
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    json::string_member(std::str::from_utf8(bytes).ok()?, "syntax")
}

/// `name = value`, both trimmed and not empty.
pub(crate) fn pair(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once('=')?;
    // Blanks may stand before the name and around the sign.
    let (name, value) = (name.trim(), value.trim());
    let mut letters = name.bytes();
    let well_named = letters.next()?.is_ascii_alphabetic() && letters.all(|b| b.is_ascii_alphanumeric());
    (well_named && !value.is_empty()).then_some((name, value))
}

fn first_word(value: &str) -> String {
    value.split(' ').next().unwrap_or_default().to_owned()
}

/// Whether `reference` names the frontend this crate is: `docker/dockerfile` or `docker/dockerfile-upstream` of
/// any registry, tag and digest, or `dockerfile.v0`.
#[must_use]
pub fn is_builtin_frontend(reference: &str) -> bool {
    let name = reference.split('@').next().unwrap_or_default();
    let name = match name.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => before,
        _ => name,
    };
    name == "dockerfile.v0"
        || ["docker/dockerfile", "docker/dockerfile-upstream"]
            .iter()
            .any(|known| {
                name.strip_suffix(known)
                    .is_some_and(|host| host.is_empty() || host.ends_with('/'))
            })
}

#[cfg(test)]
mod tests {
    use super::{Directives, is_builtin_frontend};

    fn read(text: &str) -> Directives {
        Directives::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn directives_are_read_with_free_spaces_and_case() {
        let d = read(
            "\u{feff}#   EsCaPe  =   `   \r\n# syntax=docker/dockerfile:1 more\n#check=skip=A;error=true\nFROM x\n",
        );
        assert_eq!(d.escape, '`');
        assert_eq!(d.syntax.as_deref(), Some("docker/dockerfile:1"));
        assert_eq!(d.check.as_deref(), Some("skip=A;error=true"));
    }

    #[test]
    fn the_block_ends_at_the_first_line_that_is_no_known_directive() {
        for before in ["# a comment", "# unknown=1", "", "FROM x", "# escape", "#escape="] {
            assert_eq!(
                read(&format!("{before}\n# escape=`\n")).escape,
                '\\',
                "{before:?}"
            );
        }
    }

    #[test]
    fn repeated_and_bad_directives_are_refused() {
        let error = |text: &str| Directives::read(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(
            error("# escape=\\\n# escape=`\n"),
            "dockerfile parse error on line 2: only one escape parser directive can be used"
        );
        assert!(error("# syntax=a\n# SYNTAX=b\n").contains("only one syntax"));
        assert!(error("# escape=x\n").contains("invalid escape directive 'x': expected \\ or `"));
    }

    #[test]
    fn syntax_is_found_in_its_other_forms() {
        assert_eq!(read("// syntax=a/b:1 x\n{}").syntax.as_deref(), Some("a/b:1"));
        assert_eq!(read("{\"syntax\": \"a/b:2\"}").syntax.as_deref(), Some("a/b:2"));
        assert_eq!(
            read("#!/usr/bin/env x\n# syntax=a/b:3\n").syntax.as_deref(),
            Some("a/b:3")
        );
        assert_eq!(
            read("#!/usr/bin/env x\n// syntax=a/b:4\n").syntax.as_deref(),
            Some("a/b:4")
        );
        assert_eq!(read("FROM x\n// syntax=a/b:4\n").syntax, None);
    }

    #[test]
    fn builtin_frontends() {
        for yes in [
            "docker/dockerfile",
            "docker/dockerfile:1.7-labs",
            "docker.io/docker/dockerfile:1",
            "host:5000/docker/dockerfile",
            "host:5000/mirror/docker/dockerfile-upstream:master@sha256:00",
            "dockerfile.v0",
        ] {
            assert!(is_builtin_frontend(yes), "{yes}");
        }
        for no in [
            "xdocker/dockerfile",
            "docker/dockerfile-x",
            "tonistiigi/dockerfile:1",
            "",
        ] {
            assert!(!is_builtin_frontend(no), "{no}");
        }
    }
}
