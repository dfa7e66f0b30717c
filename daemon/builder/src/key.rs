//! The key of a step: its inputs and nothing of the machine it is done on (dockerfile contract section 13).

use mica_oci::{CacheKey, ChainId, Hasher};

/// Raised when keys of old records must not match any more.
const VERSION: &[u8] = b"mica step 1";

/// Collects the inputs of a step.
pub(crate) struct KeyWriter(Hasher);

impl KeyWriter {
    /// A step of some kind on top of `parent`.
    pub(crate) fn new(kind: &str, parent: &ChainId) -> Self {
        let mut hasher = Hasher::new();
        hasher.field(VERSION);
        hasher.field(kind.as_bytes());
        hasher.field(parent.digest().as_raw());
        Self(hasher)
    }

    /// Adds one input.
    #[must_use]
    pub(crate) fn field(mut self, value: impl AsRef<[u8]>) -> Self {
        self.0.field(value.as_ref());
        self
    }

    /// Adds an input that may be absent.
    #[must_use]
    pub(crate) fn option(self, value: Option<impl AsRef<[u8]>>) -> Self {
        match value {
            Some(value) => self.field(b"some").field(value),
            None => self.field(b"none"),
        }
    }

    /// Adds a list of inputs.
    #[must_use]
    pub(crate) fn list<T: AsRef<[u8]>>(self, values: impl ExactSizeIterator<Item = T>) -> Self {
        let start = self.field(values.len().to_le_bytes());
        values.fold(start, |key, value| key.field(value))
    }

    /// The key.
    pub(crate) fn finish(self) -> CacheKey {
        CacheKey(self.0.finish())
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
            assert!(keys[..i].iter().all(|b| a != b), "{i}");
        }
    }
}
