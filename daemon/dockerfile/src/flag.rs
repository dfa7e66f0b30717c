//! The `--name=value` words in front of an instruction's arguments.

use crate::{error::Fault, excerpt::of_word, suggest};

/// What a flag takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// One value, at most once.
    Text,
    /// Nothing, `true` or `false`, at most once.
    Bool,
    /// One value, as often as wanted.
    List,
}

/// Splits leading flags from the rest of the arguments.
///
/// Quotes are taken off and `\` escapes, whatever the escape directive says (that is what the reference
/// implementation does). The first word without dashes, or a lone `--`, ends them.
pub(crate) fn split(text: &str) -> (Vec<String>, &str) {
    let mut flags = Vec::new();
    let mut rest = text.trim_start();
    while rest.starts_with("--") {
        let (word, after) = flag_word(rest);
        rest = after;
        if word == "--" {
            break;
        }
        flags.push(word);
        rest = rest.trim_start();
    }
    (flags, rest.trim())
}

/// The first word of `text` without its quotes, and what follows it.
fn flag_word(text: &str) -> (String, &str) {
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => return (word, &text[at..]),
            (_, '\\') => word.extend(chars.next().map(|(_, next)| next)),
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => word.push(c),
        }
    }
    (word, "")
}

/// The flags of one instruction, checked.
pub(crate) struct Flags {
    values: Vec<(&'static str, String)>,
}

impl Flags {
    /// Holds `words` against what the instruction knows.
    pub(crate) fn check(
        instruction: &'static str,
        words: &[String],
        known: &[(&'static str, Takes)],
    ) -> Result<Self, Fault> {
        let mut values: Vec<(&'static str, String)> = Vec::new();
        for word in words {
            let word = word.strip_prefix("--").unwrap_or(word);
            let (given, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word, None),
            };
            let Some((name, takes)) = known.iter().copied().find(|(name, _)| *name == given) else {
                let hint = suggest::hint(given, known.iter().map(|(name, _)| *name));
                let expected = expected(known);
                return Err(Fault::UnknownFlag {
                    instruction,
                    flag: of_word(given),
                    hint,
                    expected,
                });
            };
            if takes != Takes::List && values.iter().any(|(n, _)| *n == name) {
                return Err(Fault::RepeatedFlag { flag: name });
            }
            let value = match (takes, value) {
                (Takes::Bool, None) => "true".to_owned(),
                (Takes::Bool, Some("")) | (Takes::Text | Takes::List, None) => {
                    return Err(Fault::FlagWithoutValue { flag: name });
                }
                (Takes::Bool, Some(value)) => {
                    let lower = value.to_ascii_lowercase();
                    if lower != "true" && lower != "false" {
                        return Err(Fault::FlagNotBoolean {
                            flag: name,
                            value: of_word(value),
                        });
                    }
                    lower
                }
                (Takes::Text | Takes::List, Some(value)) => value.to_owned(),
            };
            values.push((name, value));
        }
        Ok(Self { values })
    }

    /// The value of a flag that takes text; an empty one counts as not given.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.values
            .iter()
            .find(|(n, v)| *n == name && !v.is_empty())
            .map(|(_, v)| v.clone())
    }

    /// The value of a yes/no flag, if it was given.
    pub(crate) fn bool(&self, name: &str) -> Option<bool> {
        self.values
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| v == "true")
    }

    /// All values of a repeatable flag.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        self.values
            .iter()
            .filter(|(n, _)| *n == name)
            .map(|(_, v)| v.clone())
            .collect()
    }
}

/// `takes --a, --b` for an error.
fn expected(known: &[(&'static str, Takes)]) -> String {
    if known.is_empty() {
        return "takes no flags".to_owned();
    }
    let names: Vec<String> = known.iter().map(|(name, _)| format!("--{name}")).collect();
    format!("takes {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::{Flags, Takes, split};

    const KNOWN: &[(&str, Takes)] = &[
        ("chown", Takes::Text),
        ("link", Takes::Bool),
        ("exclude", Takes::List),
    ];

    fn check(text: &str) -> Result<Flags, String> {
        Flags::check("COPY", &split(text).0, KNOWN).map_err(|f| f.to_string())
    }

    #[test]
    fn flags_end_at_the_first_other_word_or_a_lone_double_dash() {
        for (text, flags, rest) in [
            ("--a=1 --b x --c", vec!["--a=1", "--b"], "x --c"),
            ("--a -- --b x", vec!["--a"], "--b x"),
            ("x", vec![], "x"),
            ("-a x", vec![], "-a x"),
            ("--a=\"b c\"' d'\\ e  f", vec!["--a=b c d e"], "f"),
            ("--a=\"b\\\"c\" f", vec!["--a=b\"c"], "f"),
            ("--a=\"open f", vec!["--a=open f"], ""),
            ("--a\\", vec!["--a"], ""),
            ("--", vec![], ""),
            ("", vec![], ""),
        ] {
            assert_eq!(
                split(text),
                (flags.into_iter().map(str::to_owned).collect(), rest),
                "{text:?}"
            );
        }
    }

    #[test]
    fn yes_no_flags_take_nothing_true_or_false_in_any_case() {
        for (text, want) in [
            ("--link x", true),
            ("--link=TRUE x", true),
            ("--link=false x", false),
            ("--link=False x", false),
        ] {
            assert_eq!(check(text).unwrap().bool("link"), Some(want), "{text}");
        }
        assert!(
            check("--link= x")
                .err()
                .unwrap()
                .contains("missing a value on flag: --link")
        );
        assert!(
            check("--link=1 x")
                .err()
                .unwrap()
                .contains("expecting boolean value")
        );
    }

    #[test]
    fn only_list_flags_repeat() {
        assert!(
            check("--chown=1 --chown=2 x")
                .err()
                .unwrap()
                .contains("duplicate flag specified: --chown")
        );
        assert_eq!(
            check("--exclude=a --exclude=b x").unwrap().list("exclude"),
            ["a", "b"]
        );
    }

    #[test]
    fn text_flags_need_a_value_which_may_be_empty() {
        assert!(
            check("--chown x")
                .err()
                .unwrap()
                .contains("missing a value on flag: --chown")
        );
        assert_eq!(check("--chown= x").unwrap().text("chown"), None);
        assert_eq!(
            check("--chown=a=b x").unwrap().text("chown").as_deref(),
            Some("a=b")
        );
    }

    #[test]
    fn unknown_flags_come_with_a_hint() {
        let text = check("--chwon=1 x").err().unwrap();
        assert_eq!(
            text,
            "unknown flag: --chwon (did you mean chown?), COPY takes --chown, --link, --exclude"
        );
    }
}
