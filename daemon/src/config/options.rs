//! The table of options of the settings file: what each is, may be and does. The file is checked by it, the manual is made of it.

use serde_json::{Map, Value};

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One line of text.
    Text,
    /// A list of them.
    Texts,
    /// True or false.
    Truth,
    /// A whole number, at most this.
    Number(u64),
    /// One of these words.
    Word(&'static [&'static str]),
}

/// An option.
pub(crate) struct Setting {
    /// Its keys, from the outermost inwards, with dots between them.
    pub(crate) key: &'static str,
    pub(crate) kind: Kind,
    /// What it is if nothing is said, in words.
    pub(crate) default: &'static str,
    /// Whether `SIGHUP` is enough for it to take effect.
    pub(crate) reloads: bool,
    pub(crate) about: &'static str,
}

/// The longest time in seconds that may be asked for: a day.
const DAY: u64 = 86400;

/// All options.
pub(crate) const SETTINGS: [Setting; 19] = [
    Setting {
        key: "hosts",
        kind: Kind::Texts,
        default: "the default socket, or those of the service manager",
        reloads: false,
        about: "Where to listen: unix:///PATH, or fd:// for the sockets of the service manager. --host takes its place.",
    },
    Setting {
        key: "data-root",
        kind: Kind::Text,
        default: "/var/lib/mica; for users $XDG_DATA_HOME/mica",
        reloads: false,
        about: "Where images, layers and the build cache are kept. --data-root takes its place.",
    },
    Setting {
        key: "registry-mirrors",
        kind: Kind::Texts,
        default: "none",
        reloads: true,
        about: "Where Docker Hub's images may come from too: https:// or http:// addresses.",
    },
    Setting {
        key: "insecure-registries",
        kind: Kind::Texts,
        default: "those on this machine",
        reloads: true,
        about: "Hosts, HOST:PORT or networks such as 10.0.0.0/8, whose registries need neither TLS nor a good certificate.",
    },
    Setting {
        key: "builder.entitlements.security-insecure",
        kind: Kind::Truth,
        default: "false",
        reloads: true,
        about: "Whether RUN --security=insecure runs, for users with the right full who allow it too. It may do what root may.",
    },
    Setting {
        key: "builder.gc.enabled",
        kind: Kind::Truth,
        default: "true",
        reloads: true,
        about: "Whether build cache goes without being asked for, the least recently used first, so far as the other keys here say. --no-gc takes its place.",
    },
    Setting {
        key: "builder.gc.defaultMaxUsedSpace",
        kind: Kind::Text,
        default: "80%, and 100 GB at most",
        reloads: true,
        about: "No more than this stays of the build cache: 20GB, or 10% of the disk. Images do not count. --gc-max-used-space takes its \
                place.",
    },
    Setting {
        key: "builder.gc.defaultMinFreeSpace",
        kind: Kind::Text,
        default: "20%, and 20 GB at most",
        reloads: true,
        about: "Build cache goes until so much of the disk is free. --gc-min-free-space takes its place.",
    },
    Setting {
        key: "builder.gc.defaultReservedSpace",
        kind: Kind::Text,
        default: "10%, and 10 GB at most",
        reloads: true,
        about: "So much of the build cache always stays, whatever the other two say. --gc-reserved-space takes its place.",
    },
    Setting {
        key: "builder.gc.defaultKeepStorage",
        kind: Kind::Text,
        default: "as defaultReservedSpace",
        reloads: true,
        about: "What older versions of docker call defaultReservedSpace, which goes before it.",
    },
    Setting {
        key: "rights.read.users",
        kind: Kind::Texts,
        default: "none",
        reloads: true,
        about: "Users, by name or number, who may look: list, inspect, save, follow events, read logs and disk usage.",
    },
    Setting {
        key: "rights.read.groups",
        kind: Kind::Texts,
        default: "none",
        reloads: true,
        about: "Groups whose members may do so.",
    },
    Setting {
        key: "rights.build.users",
        kind: Kind::Texts,
        default: "none",
        reloads: true,
        about: "Users who may also build, pull, load, import, tag, ask registries, and remove names that they gave themselves.",
    },
    Setting {
        key: "rights.build.groups",
        kind: Kind::Texts,
        default: "none",
        reloads: true,
        about: "Groups whose members may do so.",
    },
    Setting {
        key: "rights.full.users",
        kind: Kind::Texts,
        default: "root and the user that runs micad",
        reloads: true,
        about: "Users who may do everything: push, remove, prune, enter failed steps. Those of the default keep the right.",
    },
    Setting {
        key: "rights.full.groups",
        kind: Kind::Texts,
        default: "mica",
        reloads: true,
        about: "Groups whose members may do so. That of the default keeps the right.",
    },
    Setting {
        key: "log-level",
        kind: Kind::Word(&crate::log::LEVELS),
        default: "info",
        reloads: true,
        about: "How much is logged; debug has a line for every request. --log-level takes its place.",
    },
    Setting {
        key: "log-format",
        kind: Kind::Word(&["text", "json"]),
        default: "text",
        reloads: true,
        about: "What a line of the log looks like. --log-format takes its place.",
    },
    Setting {
        key: "shutdown-timeout",
        kind: Kind::Number(DAY),
        default: "10",
        reloads: true,
        about: "Seconds that builds and transfers may go on after micad was told to leave; those that need longer are cancelled. \
                --shutdown-timeout takes its place.",
    },
];

impl Kind {
    fn admits(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Texts => value
                .as_array()
                .is_some_and(|list| list.iter().all(Value::is_string)),
            Self::Truth => value.is_boolean(),
            Self::Number(most) => value.as_u64().is_some_and(|number| number <= most),
            Self::Word(words) => value.as_str().is_some_and(|word| words.contains(&word)),
        }
    }

    /// What it may be, in words.
    pub(crate) fn described(self) -> String {
        match self {
            Self::Text => "a text".to_owned(),
            Self::Texts => "a list of texts".to_owned(),
            Self::Truth => "true or false".to_owned(),
            Self::Number(most) => format!("a whole number from 0 to {most}"),
            Self::Word(words) => format!("one of {}", words.join(", ")),
        }
    }
}

/// Reads a flag that takes the place of a number in the settings file: it may say what the file may say there.
pub(crate) fn number(key: &'static str) -> impl Fn(&str) -> Result<u64, String> + Clone {
    move |text| {
        let setting = SETTINGS.iter().find(|setting| setting.key == key);
        let kind = setting.map_or(Kind::Text, |setting| setting.kind);
        let number = text.parse().ok();
        number
            .filter(|number| kind.admits(&Value::from(*number)))
            .ok_or_else(|| format!("`{key}` is {}", kind.described()))
    }
}

/// What is wrong with a value of the settings file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// The keys that lead to it.
    pub(crate) key: Vec<String>,
    /// What is wrong, and what is allowed.
    pub(crate) reason: String,
}

/// Looks whether all keys are known and all values of their kinds.
pub(crate) fn check(file: &Value) -> Result<(), Wrong> {
    match file {
        Value::Object(object) => check_object(object, &mut Vec::new()),
        other => Err(Wrong {
            key: Vec::new(),
            reason: format!("the settings are an object, not {}", kind_of(other)),
        }),
    }
}

fn check_object(object: &Map<String, Value>, keys: &mut Vec<String>) -> Result<(), Wrong> {
    for (key, value) in object {
        keys.push(key.clone());
        let path = keys.join(".");
        let wrong = |reason| Wrong {
            key: keys.clone(),
            reason,
        };
        let below = format!("{path}.");
        match SETTINGS.iter().find(|setting| setting.key == path) {
            Some(setting) if setting.kind.admits(value) => {}
            Some(setting) => {
                return Err(wrong(format!(
                    "`{path}` is {}, not {}",
                    setting.kind.described(),
                    kind_of(value)
                )));
            }
            None if SETTINGS.iter().any(|setting| setting.key.starts_with(&below)) => match value {
                Value::Object(inner) => check_object(inner, keys)?,
                other => {
                    let reason = format!(
                        "`{path}` is an object with {}, not {}",
                        known(&below),
                        kind_of(other)
                    );
                    return Err(wrong(reason));
                }
            },
            None => {
                let beside = path
                    .rsplit_once('.')
                    .map_or(String::new(), |(outer, _)| format!("{outer}."));
                return Err(wrong(format!(
                    "unknown field `{path}`: there are {}",
                    known(&beside)
                )));
            }
        }
        keys.pop();
    }
    Ok(())
}

/// The keys below some keys, each once.
fn known(below: &str) -> String {
    let mut names: Vec<&str> = SETTINGS
        .iter()
        .filter_map(|setting| setting.key.strip_prefix(below))
        .filter_map(|rest| rest.split('.').next())
        .collect();
    names.dedup();
    names.join(", ")
}

/// A value in words; its text is not repeated at length.
fn kind_of(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) if text.len() <= 40 => format!("{text:?}"),
        Value::String(_) => "a long text".to_owned(),
        Value::Array(list) if list.iter().all(Value::is_string) => "a list".to_owned(),
        Value::Array(_) => "a list with other things in it".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// The line where a key stands, counted from 1.
pub(crate) fn line_of(text: &str, keys: &[String]) -> usize {
    let mut at = 0;
    for key in keys {
        // as JSON writes it; keys with escapes in them are not found, and the line of what they are in is named
        let quoted = format!("\"{key}\"");
        let found = text[at..]
            .match_indices(&quoted)
            .find(|(from, _)| text[at + from + quoted.len()..].trim_start().starts_with(':'));
        if let Some((from, _)) = found {
            at += from + quoted.len();
        }
    }
    1 + text[..at].matches('\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> (usize, String) {
        let wrong = check(&serde_json::from_str(text).unwrap()).unwrap_err();
        (line_of(text, &wrong.key), wrong.reason)
    }

    #[test]
    fn every_wrong_value_is_named_with_its_line_and_what_is_allowed() {
        for (text, line, parts) in [
            (
                "{\n\"hostz\": []}",
                2,
                &["unknown field `hostz`", "hosts, data-root", "rights"][..],
            ),
            (
                "{\"hosts\": \"x\"}",
                1,
                &["`hosts` is a list of texts, not \"x\""],
            ),
            ("{\"hosts\": [1]}", 1, &["not a list with other things in it"]),
            (
                "{\"builder\": 1}",
                1,
                &["`builder` is an object with entitlements, gc, not 1"],
            ),
            (
                "{\"builder\": {\n\"entitlements\": {\n\n\"security\": 1}}}",
                4,
                &[
                    "unknown field `builder.entitlements.security`",
                    "there are security-insecure",
                ],
            ),
            (
                "{\"rights\": {\"read\": {\"user\": []}}}",
                1,
                &["there are users, groups"],
            ),
            (
                "{\"log-level\": \"loud\"}",
                1,
                &["one of error, warn, info, debug, not \"loud\""],
            ),
            (
                "{\"shutdown-timeout\": -1}",
                1,
                &["whole number from 0 to 86400, not -1"],
            ),
            ("{\"shutdown-timeout\": 1.5}", 1, &["not 1.5"]),
            ("[]", 1, &["the settings are an object, not a list"]),
            // a value that looks like the key is none
            (
                "{\"data-root\": \"log-level\",\n\"log-level\": 1}",
                2,
                &["`log-level`"],
            ),
        ] {
            let (own, reason) = wrong(text);
            assert_eq!(own, line, "{text}");
            for part in parts {
                assert!(reason.contains(part), "{part}: {reason}");
            }
        }
    }
}
