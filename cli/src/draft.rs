//! A file that comes into being whole or not at all: written beside its place, then renamed.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Drafts of other processes that may lie about.
const MAX_LEFT: usize = 100;

/// A file beside the target that becomes the target when it is whole and vanishes when it does not.
#[derive(Debug)]
pub(crate) struct Draft {
    path: Option<PathBuf>,
}

impl Draft {
    /// Makes the file, readable by its owner only.
    pub(crate) fn create(target: &Path) -> Result<(File, Self), Error> {
        let told = |source| failed(target, source);
        // Pipes and devices are written to as they are; renaming onto /dev/null would replace it.
        let existing = fs::metadata(target);
        if existing.as_ref().is_ok_and(|data| data.is_dir()) {
            return Err(told(io::ErrorKind::IsADirectory.into()));
        }
        if existing.is_ok_and(|data| !data.is_file()) {
            let file = OpenOptions::new().write(true).open(target).map_err(told)?;
            return Ok((file, Self { path: None }));
        }
        let name = target
            .file_name()
            .ok_or_else(|| told(io::ErrorKind::InvalidInput.into()))?;
        let mut number = 0;
        loop {
            let mut draft = OsString::from(".");
            draft.push(name);
            draft.push(format!(".{}-{number}", std::process::id()));
            let path = target.with_file_name(draft);
            let opened = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path);
            match opened {
                Ok(file) => return Ok((file, Self { path: Some(path) })),
                // One that a crash left: process IDs come again.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < MAX_LEFT => {
                    number += 1
                }
                Err(error) => return Err(told(error)),
            }
        }
    }

    /// Puts it in the target's place.
    pub(crate) fn keep(mut self, target: &Path) -> Result<(), Error> {
        let Some(path) = self.path.take() else {
            return Ok(());
        };
        fs::rename(&path, target).map_err(|source| {
            self.path = Some(path);
            failed(target, source)
        })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _gone = fs::remove_file(path);
        }
    }
}

fn failed(target: &Path, source: io::Error) -> Error {
    Error::File {
        action: "cannot create",
        path: target.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn only_what_is_kept_comes_into_being() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("f");
        let (mut first, draft) = Draft::create(&target).unwrap();
        let (_, other) = Draft::create(&target).unwrap();
        first.write_all(b"whole").unwrap();
        assert!(!target.exists());
        draft.keep(&target).unwrap();
        drop(other);
        assert_eq!(fs::read_to_string(&target).unwrap(), "whole");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(Draft::create(folder.path()).is_err());
    }
}
