//! Settings files: read whole, within bounds, with errors that name the place.

use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::hosts::error::HostError;

/// No settings file or certificate is larger; the system's whole bundle of authorities is a fifth of it.
const FILE_LIMIT: u64 = 1 << 20;

/// No folder of settings or certificates has more entries.
const FOLDER_LIMIT: usize = 1024;

/// A TOML file as it was read.
#[derive(Debug)]
pub(crate) struct Document {
    path: PathBuf,
    text: String,
}

impl Document {
    /// Reads a file; `None` if there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, HostError> {
        let Some(bytes) = read(path)? else {
            return Ok(None);
        };
        let path = path.to_owned();
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(Self { path, text })),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                Err(Self { path, text }.malformed(valid..valid, "not UTF-8"))
            }
        }
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What the file says.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, HostError> {
        toml::from_str(&self.text)
            .map_err(|error| self.malformed(error.span().unwrap_or(0..0), error.message().to_owned()))
    }

    /// The error for what is wrong at a place of the file.
    pub(crate) fn malformed(&self, span: Range<usize>, reason: impl Into<String>) -> HostError {
        let mut end = span.start.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &self.text[..end];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        HostError::Malformed {
            path: self.path.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            reason: reason.into(),
        }
    }
}

/// Reads a file; `None` if there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, HostError> {
    let metadata = match fs_err::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(source) => return Err(HostError::Read { source }),
    };
    if !metadata.is_file() {
        // a pipe would be waited for
        let source = io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} is no file", path.display()),
        );
        return Err(HostError::Read { source });
    }
    let mut bytes = Vec::new();
    fs_err::File::open(path)
        .and_then(|file| file.take(FILE_LIMIT + 1).read_to_end(&mut bytes))
        .map_err(|source| HostError::Read { source })?;
    match bytes.len() as u64 > FILE_LIMIT {
        true => Err(HostError::TooLarge {
            path: path.to_owned(),
            what: format!("{FILE_LIMIT} bytes"),
        }),
        false => Ok(Some(bytes)),
    }
}

/// The entries of a folder in the order of their names; none if there is no such folder, or it is another user's.
pub(crate) fn list(folder: &Path) -> Result<Vec<PathBuf>, HostError> {
    let entries = match fs_err::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) || error.kind() == io::ErrorKind::PermissionDenied => {
            return Ok(Vec::new());
        }
        Err(source) => return Err(HostError::Read { source }),
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(|source| HostError::Read { source })?.path());
        if paths.len() > FOLDER_LIMIT {
            return Err(HostError::TooLarge {
                path: folder.to_owned(),
                what: format!("{FOLDER_LIMIT} entries"),
            });
        }
    }
    paths.sort();
    Ok(paths)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_line_and_column() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.toml");
        for (text, place) in [
            (&b"a = 1\nb = "[..], "line 2, column 5: "),
            (b"a = 1\n\xc3\xa9\xc3\xa9 = 1", "line 2, column 1: "),
            (b"a = \"x\"", "line 1, column 5: "),
            (b"a = 1\nb = \"\xff\"", "line 2, column 6: not UTF-8"),
        ] {
            fs_err::write(&path, text).unwrap();
            let read = Document::read(&path)
                .and_then(|d| d.unwrap().parse::<std::collections::BTreeMap<String, u32>>());
            let error = read.unwrap_err().to_string();
            let expected = format!("{}: {place}", path.display());
            assert!(error.starts_with(&expected), "{error}");
        }
    }

    #[test]
    fn what_is_not_there_is_no_error_and_what_is_too_large_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        assert!(read(&path).unwrap().is_none());
        assert!(list(&path).unwrap().is_empty());
        fs_err::write(&path, vec![b'#'; 1 << 20]).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().len(), 1 << 20);
        assert!(read(&path.join("below")).unwrap().is_none());
        fs_err::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
        assert!(matches!(read(&path), Err(HostError::TooLarge { .. })));
        assert!(matches!(read(folder.path()), Err(HostError::Read { .. })));
    }
}
