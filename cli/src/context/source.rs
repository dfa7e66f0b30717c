//! What is to be sent: the folder, its ignore patterns and where its Dockerfile is.

use std::fs;
use std::hash::{DefaultHasher, Hasher as _};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use mica_dockerfile::ignore::IgnorePatterns;

use crate::error::Error;

/// The longest Dockerfile and ignore file that are taken.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// The ignore file of the context.
const IGNORE_FILE: &str = ".dockerignore";

/// A file of the archive that is not a file of the folder.
#[derive(Debug)]
pub(super) struct Extra {
    pub(super) path: String,
    pub(super) bytes: Vec<u8>,
}

/// A context, ready to be sent.
#[derive(Debug)]
pub(crate) struct Source {
    pub(super) folder: PathBuf,
    pub(super) patterns: IgnorePatterns,
    /// Paths in the archive that no pattern leaves out.
    pub(super) always: Vec<String>,
    /// Files put into the archive in place of the folder's.
    pub(super) extras: Vec<Extra>,
    dockerfile: String,
}

impl Source {
    /// Looks at the folder. `file` is the Dockerfile of `--file`, relative to the working directory.
    ///
    /// # Errors
    /// When folder or Dockerfile are not there, or the ignore file cannot be read.
    pub(crate) fn prepare(folder: &str, file: Option<&Path>) -> Result<Self, Error> {
        let given = Path::new(folder);
        let root = fs::canonicalize(given).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => prepare(format!("path \"{folder}\" not found")),
            _ => prepare(format!("unable to resolve \"{folder}\": {error}")),
        })?;
        if !root.is_dir() {
            return Err(prepare(format!(
                "context must be a directory: {}",
                given.display()
            )));
        }
        let wanted = match file {
            Some(file) => std::path::absolute(file).map_err(|error| prepare(error.to_string()))?,
            None => default_dockerfile(&root),
        };
        let found = fs::canonicalize(&wanted).map_err(|error| {
            let reason = match error.kind() {
                io::ErrorKind::NotFound => "no such file or directory".to_owned(),
                _ => error.to_string(),
            };
            prepare(format!(
                "unable to evaluate symlinks in Dockerfile path: lstat {}: {reason}",
                wanted.display()
            ))
        })?;
        let own_ignore = PathBuf::from({
            let mut name = wanted.into_os_string();
            name.push(IGNORE_FILE);
            name
        });
        let common = read(&root.join(IGNORE_FILE))?;
        let own = read(&own_ignore)?;
        let patterns = own
            .as_ref()
            .or(common.as_ref())
            .map_or(Ok(IgnorePatterns::default()), |bytes| {
                IgnorePatterns::parse(bytes)
            });
        let name = if own.is_some() {
            own_ignore
        } else {
            PathBuf::from(IGNORE_FILE)
        };
        let patterns = patterns.map_err(|error| Error::Context {
            message: format!("{}: {error}", name.display()),
            source: None,
        })?;
        let mut source = Self {
            folder: root,
            patterns,
            // Sent even if it names itself: the daemon takes away what it names then. Without a say it is a file
            // like others.
            always: if own.is_some() {
                Vec::new()
            } else {
                vec![IGNORE_FILE.to_owned()]
            },
            extras: Vec::new(),
            dockerfile: String::new(),
        };
        source.place_dockerfile(&found, own.is_some(), common)?;
        Ok(source)
    }

    /// The Dockerfile's path in the archive.
    pub(crate) fn dockerfile(&self) -> &str {
        &self.dockerfile
    }

    /// What the Dockerfile holds.
    pub(crate) fn dockerfile_bytes(&self) -> Result<Vec<u8>, Error> {
        if let Some(extra) = self.extras.iter().find(|extra| extra.path == self.dockerfile) {
            return Ok(extra.bytes.clone());
        }
        let path = self.folder.join(&self.dockerfile);
        read(&path)?.ok_or_else(|| prepare(format!("{} is gone", path.display())))
    }

    /// What is left out of the context.
    pub(crate) fn ignored(&self) -> &IgnorePatterns {
        &self.patterns
    }

    /// Decides where the Dockerfile is in the archive. `has_own` says that the ignore file is one the daemon does
    /// not know, `common` is the one it knows.
    fn place_dockerfile(
        &mut self,
        found: &Path,
        has_own: bool,
        common: Option<Vec<u8>>,
    ) -> Result<(), Error> {
        let inside = found.strip_prefix(&self.folder);
        let is_left_out = |path: &Path| has_own && self.patterns.excludes(&path.to_string_lossy());
        if let Ok(inside) = inside
            && !is_left_out(inside)
        {
            let path = inside
                .to_str()
                .ok_or_else(|| prepare(format!("the Dockerfile's path {} is not UTF-8", inside.display())))?;
            self.dockerfile = path.to_owned();
            self.always.push(path.to_owned());
            return Ok(());
        }
        let bytes = read(found)?.ok_or_else(|| prepare(format!("{} is gone", found.display())))?;
        // Named by what it says, so that the same build twice sends the same archive.
        let mut hasher = DefaultHasher::new();
        hasher.write(&bytes);
        self.dockerfile = format!(".dockerfile.{:016x}", hasher.finish());
        // The daemon takes away what the archive's ignore file names, so that the build cannot copy it.
        let kept = common.filter(|_| !(has_own && self.patterns.excludes(IGNORE_FILE)));
        let mut ignore = kept.unwrap_or_else(|| IGNORE_FILE.into());
        ignore.extend_from_slice(format!("\n{}\n", self.dockerfile).as_bytes());
        self.extras.push(Extra {
            path: self.dockerfile.clone(),
            bytes,
        });
        self.extras.push(Extra {
            path: IGNORE_FILE.to_owned(),
            bytes: ignore,
        });
        Ok(())
    }
}

fn prepare(message: String) -> Error {
    Error::Prepare { message }
}

/// `Dockerfile`, or `dockerfile` if only that is there.
fn default_dockerfile(root: &Path) -> PathBuf {
    let upper = root.join("Dockerfile");
    let lower = root.join("dockerfile");
    if fs::symlink_metadata(&upper).is_err() && fs::symlink_metadata(&lower).is_ok() {
        lower
    } else {
        upper
    }
}

/// A small file whole, or nothing if there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let failed = |source| Error::File {
        action: "cannot read",
        path: path.to_owned(),
        source,
    };
    // Not everything that has a name can be opened without waiting: a pipe would.
    match fs::metadata(path) {
        Ok(data) if data.is_file() => {}
        Ok(_) => return Err(prepare(format!("{} is not a file", path.display()))),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(prepare(format!(
            "{} is longer than {MAX_FILE_BYTES} bytes",
            path.display()
        )));
    }
    Ok(Some(bytes))
}
