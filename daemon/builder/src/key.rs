//! The key of a step: its inputs and nothing of the machine it is done on (dockerfile contract section 13).

use std::borrow::Cow;

use mica_oci::{CacheKey, ChainId, Hasher};

use crate::inputs::Inputs;

/// Raised when keys of old records must not match any more.
const VERSION: &[u8] = b"mica step 1";

/// A step's key, and what it was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StepKey {
    /// The key.
    pub key: CacheKey,
    /// What it was made of.
    pub inputs: Inputs,
}

/// Collects the inputs of a step.
pub(crate) struct KeyWriter {
    hasher: Hasher,
    inputs: Inputs,
    name: Cow<'static, str>,
}

impl KeyWriter {
    /// A step of some kind on top of `parent`.
    pub(crate) fn new(kind: &str, parent: &ChainId) -> Self {
        let mut hasher = Hasher::new();
        hasher.field(VERSION);
        hasher.field(kind.as_bytes());
        hasher.field(parent.digest().as_raw());
        let mut inputs = Inputs::default();
        inputs.push("the layers below", parent.digest().short().as_bytes());
        Self {
            hasher,
            inputs,
            name: "options".into(),
        }
    }

    /// What the inputs that are added next are called. The names are no part of the key.
    #[must_use]
    pub(crate) fn named(self, name: impl Into<Cow<'static, str>>) -> Self {
        let name = name.into();
        Self { name, ..self }
    }

    /// Adds one input.
    #[must_use]
    pub(crate) fn field(mut self, value: impl AsRef<[u8]>) -> Self {
        self.hasher.field(value.as_ref());
        self.inputs.push(&self.name, value.as_ref());
        self
    }

    /// Adds an input that may be absent.
    #[must_use]
    pub(crate) fn option(self, value: Option<impl AsRef<[u8]>>) -> Self {
        match value {
            Some(value) => self.mark(b"some").field(value),
            None => self.mark(b"none"),
        }
    }

    /// Adds a list of inputs.
    #[must_use]
    pub(crate) fn list<T: AsRef<[u8]>>(self, values: impl ExactSizeIterator<Item = T>) -> Self {
        let start = self.mark(&values.len().to_le_bytes());
        values.fold(start, |key, value| key.field(value))
    }

    /// Adds a list of inputs, each with a name of its own.
    #[must_use]
    pub(crate) fn named_list<T: AsRef<[u8]>>(
        self,
        values: impl ExactSizeIterator<Item = (String, T)>,
    ) -> Self {
        let start = self.mark(&values.len().to_le_bytes());
        values.fold(start, |key, (name, value)| key.named(name).field(value))
    }

    /// Adds what keeps inputs apart.
    fn mark(mut self, value: &[u8]) -> Self {
        self.hasher.field(value);
        self
    }

    /// The key.
    pub(crate) fn finish(self) -> StepKey {
        StepKey {
            key: CacheKey(self.hasher.finish()),
            inputs: self.inputs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_inputs_apart() {
        let key = || KeyWriter::new("run", &ChainId::empty());
        let keys = [
            key().finish(),
            key().field("a").finish(),
            key().field("a").field("").finish(),
            key().list(["a"].iter()).finish(),
            key().option(Some("a")).finish(),
            key().option(None::<&str>).finish(),
            KeyWriter::new("copy", &ChainId::empty()).finish(),
        ];
        for (i, a) in keys.iter().enumerate() {
            assert!(keys[..i].iter().all(|b| a.key != b.key), "{i}");
        }
    }
}
