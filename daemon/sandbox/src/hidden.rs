//! A value that no text of this program shows.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bytes that are a secret. Their `Debug` shows nothing of them, and no error repeats them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hidden(Vec<u8>);

impl Hidden {
    /// The bytes, for those who have to use them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Hidden {
    fn from(bytes: Vec<u8>) -> Self {
        Hidden(bytes)
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden")
    }
}

#[cfg(test)]
mod tests {
    use super::Hidden;

    #[test]
    fn survives_the_wire_and_shows_nothing() {
        let value = Hidden::from(b"a\0\xffb".to_vec());
        let text = serde_json::to_string(&value).unwrap();
        assert_eq!(serde_json::from_str::<Hidden>(&text).unwrap(), value);
        assert_eq!(format!("{value:?}"), "Hidden");
    }
}
