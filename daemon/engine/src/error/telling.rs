//! An error and its causes in one line.

use std::error::Error as _;

use crate::error::Error;
use crate::room::{NEXT_STEP, fullness};

impl Error {
    /// The failure in BuildKit's words, where it has some that people look for.
    pub fn describe_for_buildkit(&self) -> String {
        let (error, free) = match self {
            Self::FullDisk { error, free } => (&**error, Some(free)),
            error => (error, None),
        };
        match error {
            Self::Build(error) => match &**error {
                mica_builder::Error::Run { command, ended, .. } => {
                    let words = mica_builder::unsuccessful(command, *ended);
                    words + &free.map(fullness).unwrap_or_default()
                }
                _ => self.describe(),
            },
            _ => self.describe(),
        }
    }

    /// The failure and its causes in one line, each layer saying its own part; of a full disk also what can be done.
    pub fn describe(&self) -> String {
        match self.is_full_disk() && !self.names_room() {
            true => format!("{}: {NEXT_STEP}", self.chain()),
            false => self.chain(),
        }
    }

    pub(super) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let part = error.to_string();
            // transparent wrappers and careless libraries repeat what was said already
            if !part.is_empty() && !text.ends_with(&part) {
                text.push_str(": ");
                text.push_str(&part);
            }
            cause = error.source();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn the_chain_is_told_once() {
        let inner = io::Error::other("disk full");
        let error = Error::Store(mica_store::Error::Io {
            action: "write a blob",
            source: inner,
        });
        assert_eq!(error.describe(), "cannot write a blob: disk full");
    }
}
