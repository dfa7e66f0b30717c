//! The name of one build, by which its log and its failed step are found again.

use std::fmt;
use std::process;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use thiserror::Error;

use crate::digest::Hasher;

/// Digits of a name.
const DIGITS: usize = 12;

/// The name of one build: twelve lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuildId([u8; DIGITS / 2]);

/// A text that names no build.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid build ID {0:?}: expected twelve hexadecimal digits, as a failed build shows them")]
pub struct BuildIdError(String);

impl BuildId {
    /// A name that no other build has: made of the time, this process and how often it was asked before.
    #[must_use]
    pub fn fresh() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut hasher = Hasher::new();
        hasher.field(&since.as_nanos().to_le_bytes());
        hasher.field(&process::id().to_le_bytes());
        hasher.field(&COUNT.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        let mut bytes = [0; DIGITS / 2];
        bytes.copy_from_slice(&hasher.finish().as_raw()[..DIGITS / 2]);
        Self(bytes)
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for BuildId {
    type Err = BuildIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BuildIdError(text.chars().take(2 * DIGITS).collect());
        let lower = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != DIGITS || !text.as_bytes().iter().all(lower) {
            return Err(bad());
        }
        let mut bytes = [0; DIGITS / 2];
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| bad())?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_nothing_else_is() {
        let (one, other) = (BuildId::fresh(), BuildId::fresh());
        assert_ne!(one, other);
        assert_eq!(one.to_string().parse(), Ok(one));
        for text in [
            "",
            "0123456789a",
            "0123456789abc",
            "0123456789AB",
            "../../../etc",
            "ääääää",
        ] {
            assert!(text.parse::<BuildId>().is_err(), "{text}");
        }
    }
}
