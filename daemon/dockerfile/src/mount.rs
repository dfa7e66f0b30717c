//! `RUN --mount`: its options, and what they mean once variables are in.

use thiserror::Error;

use crate::{
    excerpt::of_word,
    expand::{ExpandError, expand_word},
    suggest,
};

/// A `--mount` whose values are unexpanded, except `from`, which never is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// `from`: a stage, image or context name; `None` is the build context for a bind, nothing for a cache.
    pub from: Option<String>,
    fields: Vec<(Key, Option<String>)>,
}

/// What a `--mount` says, with its defaults filled in by type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountOptions {
    /// What is mounted.
    pub kind: MountKind,
    /// Where; relative to the working directory unless absolute. Without one, bind, cache and tmpfs cover the
    /// working directory itself, which must then not be `/`; secret and ssh have places of their own.
    pub target: Option<String>,
    /// Path inside `from`, or for a secret the old way to give its id.
    pub source: Option<String>,
    /// As [`Mount::from`].
    pub from: Option<String>,
    /// Whether writing is refused.
    pub readonly: bool,
    /// Id of a cache, secret or ssh agent.
    pub id: Option<String>,
    /// How builds at the same time share a cache.
    pub sharing: CacheSharing,
    /// Permission bits of a secret, socket or new cache directory.
    pub mode: Option<u32>,
    /// Owner of the same.
    pub uid: Option<u32>,
    /// Group of the same.
    pub gid: Option<u32>,
    /// Most bytes a tmpfs may hold.
    pub size: Option<u64>,
    /// Environment variable a secret goes into.
    pub env: Option<String>,
    /// Whether a missing secret or agent is an error.
    pub required: bool,
}

/// What is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MountKind {
    /// A path of the build context, a stage or an image.
    Bind,
    /// A directory that outlives the build.
    Cache,
    /// A file system in memory.
    Tmpfs,
    /// A secret of the client.
    Secret,
    /// The socket of an ssh agent of the client.
    Ssh,
}

impl MountKind {
    /// The word after `type=`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Cache => "cache",
            Self::Tmpfs => "tmpfs",
            Self::Secret => "secret",
            Self::Ssh => "ssh",
        }
    }
}

/// How a cache is shared by steps that run at the same time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum CacheSharing {
    /// All see the same directory.
    #[default]
    Shared,
    /// Who finds it busy gets a fresh one.
    Private,
    /// Who finds it busy waits.
    Locked,
}

/// Why a `--mount` was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MountError {
    /// The comma separated list has a misplaced or unclosed quote.
    #[error("misplaced quote in \"{text}\", expected KEY=VALUE,... with whole fields in quotes")]
    Quotes {
        /// The list.
        text: String,
    },
    /// A field that needs a value has none.
    #[error("invalid field '{field}' must be a key=value pair")]
    NoValue {
        /// The field.
        field: String,
    },
    /// A key nobody knows.
    #[error("unexpected key '{key}'{hint}")]
    UnknownKey {
        /// The key.
        key: String,
        /// Empty, or ` (did you mean X?)`.
        hint: String,
    },
    /// A key the type does not have; `type` must come before it.
    #[error("unexpected key '{key}' for mount type '{kind}'")]
    KeyForKind {
        /// The key.
        key: &'static str,
        /// The type.
        kind: &'static str,
    },
    /// A value outside what its key takes.
    #[error("invalid value '{value}' for {key}, expected {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// What it takes.
        expected: &'static str,
    },
    /// `from` with a variable.
    #[error("'from' doesn't support variable expansion, define alias stage instead")]
    VariableInFrom,
    /// The mount would hide the root.
    #[error("target '/' is not allowed, expected a path below it")]
    RootTarget,
    /// Keys that only make sense one without the other, or none of several that are needed.
    #[error("invalid {kind} mount: {problem}")]
    Combination {
        /// The type.
        kind: &'static str,
        /// What does not fit.
        problem: &'static str,
    },
    /// A variable in a value could not be expanded.
    #[error("cannot expand '{value}'")]
    Expand {
        /// The value.
        value: String,
        /// Why.
        #[source]
        source: ExpandError,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Type,
    From,
    Source,
    Target,
    ReadOnly,
    ReadWrite,
    Required,
    Size,
    Id,
    Sharing,
    Mode,
    Uid,
    Gid,
    Env,
}

/// Every spelling of every key.
const KEYS: [(&str, Key); 19] = [
    ("type", Key::Type),
    ("from", Key::From),
    ("source", Key::Source),
    ("src", Key::Source),
    ("target", Key::Target),
    ("dst", Key::Target),
    ("destination", Key::Target),
    ("readonly", Key::ReadOnly),
    ("ro", Key::ReadOnly),
    ("readwrite", Key::ReadWrite),
    ("rw", Key::ReadWrite),
    ("required", Key::Required),
    ("size", Key::Size),
    ("id", Key::Id),
    ("sharing", Key::Sharing),
    ("mode", Key::Mode),
    ("uid", Key::Uid),
    ("gid", Key::Gid),
    ("env", Key::Env),
];

impl Key {
    fn name(self) -> &'static str {
        KEYS.iter()
            .find(|(_, key)| *key == self)
            .map_or("", |(name, _)| name)
    }
}

impl Mount {
    /// The values that are expanded, as written.
    pub(crate) fn values(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().filter_map(|(_, value)| value.as_deref())
    }

    /// Reads the value of a `--mount` flag. If no value holds a variable, what it means is checked as well.
    pub(crate) fn parse(text: &str) -> Result<Self, MountError> {
        let mut mount = Self {
            from: None,
            fields: Vec::new(),
        };
        let mut variables = false;
        for field in comma_fields(text)? {
            let (name, value) = match field.split_once('=') {
                Some((name, value)) => (name.to_ascii_lowercase(), Some(value)),
                None => (field.to_ascii_lowercase(), None),
            };
            let Some((_, key)) = KEYS.iter().find(|(known, _)| *known == name) else {
                let hint = suggest::hint(&name, KEYS.iter().map(|(known, _)| *known));
                return Err(MountError::UnknownKey {
                    key: of_word(&name),
                    hint,
                });
            };
            match (key, value) {
                (Key::ReadOnly | Key::ReadWrite | Key::Required, None) => {}
                (_, None) => {
                    return Err(MountError::NoValue {
                        field: of_word(&field),
                    });
                }
                (Key::From, Some(value)) if value.contains('$') => return Err(MountError::VariableInFrom),
                (Key::From, Some(value)) => {
                    mount.from = (!value.is_empty()).then(|| value.to_owned());
                    continue;
                }
                (_, Some(value)) => variables |= value.contains('$'),
            }
            mount.fields.push((*key, value.map(str::to_owned)));
        }
        if !variables {
            mount.resolve('\\', &|_| None)?;
        }
        Ok(mount)
    }

    /// What the mount means with the variables of `env` in its values; `escape` is the file's escape character.
    ///
    /// # Errors
    /// A variable that cannot be expanded, a value its key does not take, keys that do not fit together.
    pub fn resolve(
        &self,
        escape: char,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<MountOptions, MountError> {
        let mut readonly = None;
        let mut sharing = None;
        let mut options = MountOptions::empty(self.from.clone());
        for (key, raw) in &self.fields {
            let value = match raw {
                Some(raw) => expand_word(raw, escape, env).map_err(|source| MountError::Expand {
                    value: of_word(raw),
                    source,
                })?,
                None => String::new(),
            };
            match key {
                Key::ReadOnly => readonly = Some(raw.is_none() || truth(*key, &value)?),
                Key::ReadWrite => readonly = Some(raw.is_some() && !truth(*key, &value)?),
                Key::Required => {
                    options.only_for(*key, &[MountKind::Secret, MountKind::Ssh])?;
                    options.required = raw.is_none() || truth(*key, &value)?;
                }
                Key::Sharing => sharing = Some(sharing_of(&value)?),
                _ => options.set(*key, value)?,
            }
        }
        options.readonly = readonly.unwrap_or(!matches!(options.kind, MountKind::Cache | MountKind::Tmpfs));
        options.finish(sharing)
    }
}

impl MountOptions {
    fn empty(from: Option<String>) -> Self {
        Self {
            kind: MountKind::Bind,
            target: None,
            source: None,
            from,
            readonly: true,
            id: None,
            sharing: CacheSharing::Shared,
            mode: None,
            uid: None,
            gid: None,
            size: None,
            env: None,
            required: false,
        }
    }

    fn set(&mut self, key: Key, value: String) -> Result<(), MountError> {
        let some = |value: String| (!value.is_empty()).then_some(value);
        match key {
            Key::Type => self.kind = kind_of(&value)?,
            Key::Source => self.source = some(value),
            Key::Target => self.target = some(value),
            Key::Id => self.id = some(value),
            Key::Env => self.env = some(value),
            Key::Mode => self.mode = Some(number(key, &value, 8)?),
            Key::Uid => self.uid = Some(number(key, &value, 10)?),
            Key::Gid => self.gid = Some(number(key, &value, 10)?),
            Key::Size => {
                self.only_for(key, &[MountKind::Tmpfs])?;
                self.size = Some(bytes_of(&value)?);
            }
            Key::From | Key::ReadOnly | Key::ReadWrite | Key::Required | Key::Sharing => {}
        }
        Ok(())
    }

    fn only_for(&self, key: Key, kinds: &[MountKind]) -> Result<(), MountError> {
        if kinds.contains(&self.kind) {
            return Ok(());
        }
        Err(MountError::KeyForKind {
            key: key.name(),
            kind: self.kind.as_str(),
        })
    }

    /// Checks what can only be checked when all keys are known.
    fn finish(mut self, sharing: Option<CacheSharing>) -> Result<Self, MountError> {
        use MountKind::{Cache, Secret, Ssh};
        let kind = self.kind.as_str();
        let wrong = |problem| Err(MountError::Combination { kind, problem });
        let given = [
            (self.mode.is_some(), Key::Mode),
            (self.uid.is_some(), Key::Uid),
            (self.gid.is_some(), Key::Gid),
        ];
        for (_, key) in given.into_iter().filter(|(given, _)| *given) {
            self.only_for(key, &[Cache, Secret, Ssh])?;
        }
        if sharing.is_some() {
            self.only_for(Key::Sharing, &[Cache])?;
        }
        if self.env.is_some() {
            self.only_for(Key::Env, &[Secret])?;
        }
        self.sharing = sharing.unwrap_or_default();
        if self.kind == Secret {
            if self.from.is_some() {
                return wrong("it has no from");
            }
            if self.source.is_none() && self.target.is_none() && self.id.is_none() {
                return wrong("one of id, source and target is required");
            }
            if self.source.is_some() && self.id.is_some() {
                return wrong("both source and id can't be set");
            }
        }
        match &self.target {
            Some(target) if is_root(target) => Err(MountError::RootTarget),
            _ => Ok(self),
        }
    }
}

/// Whether an absolute path is the root once cleaned.
fn is_root(target: &str) -> bool {
    let depth = target.split('/').fold(0_usize, |depth, part| match part {
        "" | "." => depth,
        ".." => depth.saturating_sub(1),
        _ => depth + 1,
    });
    target.starts_with('/') && depth == 0
}

fn kind_of(value: &str) -> Result<MountKind, MountError> {
    use MountKind::{Bind, Cache, Secret, Ssh, Tmpfs};
    let lower = value.to_ascii_lowercase();
    [Bind, Cache, Tmpfs, Secret, Ssh]
        .into_iter()
        .find(|kind| kind.as_str() == lower)
        .ok_or_else(|| MountError::Value {
            key: "type",
            value: of_word(value),
            expected: "bind, cache, tmpfs, secret or ssh",
        })
}

fn sharing_of(value: &str) -> Result<CacheSharing, MountError> {
    match value.to_ascii_lowercase().as_str() {
        "shared" => Ok(CacheSharing::Shared),
        "private" => Ok(CacheSharing::Private),
        "locked" => Ok(CacheSharing::Locked),
        _ => Err(MountError::Value {
            key: "sharing",
            value: of_word(value),
            expected: "shared, private or locked",
        }),
    }
}

/// The spellings of true and false that Go's `strconv.ParseBool` takes.
fn truth(key: Key, value: &str) -> Result<bool, MountError> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(MountError::Value {
            key: key.name(),
            value: of_word(value),
            expected: "true or false",
        }),
    }
}

fn number(key: Key, value: &str, radix: u32) -> Result<u32, MountError> {
    let digits = !value.starts_with('+');
    u32::from_str_radix(value, radix)
        .ok()
        .filter(|_| digits)
        .ok_or_else(|| MountError::Value {
            key: key.name(),
            value: of_word(value),
            expected: if radix == 8 { "an octal number" } else { "a number" },
        })
}

/// A size with an optional binary unit: `1m`, `512k`, `1.5g`, `10MiB`.
fn bytes_of(value: &str) -> Result<u64, MountError> {
    let bad = || MountError::Value {
        key: "size",
        value: of_word(value),
        expected: "a size as 64m",
    };
    let lower = value.to_ascii_lowercase();
    let split = lower
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(lower.len());
    let (amount, unit) = lower.split_at(split);
    let shift = match unit.trim_start() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => return Err(bad()),
    };
    let factor = 1_u64 << shift;
    if let Ok(whole) = amount.parse::<u64>() {
        return whole.checked_mul(factor).ok_or_else(bad);
    }
    let amount: f64 = amount.parse().map_err(|_| bad())?;
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        clippy::cast_possible_truncation
    )]
    let bytes = (amount * factor as f64) as u64;
    if amount.is_finite() && bytes < u64::MAX {
        Ok(bytes)
    } else {
        Err(bad())
    }
}

/// Splits at commas; a field wholly in `"` may hold commas, and `""` for a quote.
fn comma_fields(text: &str) -> Result<Vec<String>, MountError> {
    let quotes = || MountError::Quotes { text: of_word(text) };
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let after = if let Some(mut quoted) = rest.strip_prefix('"') {
            let mut field = String::new();
            loop {
                let (part, more) = quoted.split_once('"').ok_or_else(quotes)?;
                field.push_str(part);
                match more.strip_prefix('"') {
                    Some(more) => {
                        field.push('"');
                        quoted = more;
                    }
                    None => {
                        fields.push(field);
                        break more;
                    }
                }
            }
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let (field, more) = rest.split_at(end);
            if field.contains('"') {
                return Err(quotes());
            }
            fields.push(field.to_owned());
            more
        };
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None if after.is_empty() => return Ok(fields),
            None => return Err(quotes()),
        }
    }
}
