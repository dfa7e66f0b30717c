//! What is to be sent: the folder, its ignore patterns and where its Dockerfile is.

use std::fs;
use std::hash::{DefaultHasher, Hasher as _};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use mica_dockerfile::ignore::IgnorePatterns;

use crate::error::Error;

/// The longest Dockerfile and ignore file that are taken.
pub(crate) const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

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
    in_place: Option<InPlace>,
}

/// How a daemon that reads the folder where it lies finds the Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InPlace {
    /// It is this file of the folder, relative.
    Inside(String),
    /// It is handed over apart.
    Apart(Vec<u8>),
}

/// Which Dockerfile is wanted.
#[derive(Debug)]
pub(crate) enum Wanted<'a> {
    /// The folder's own.
    Default,
    /// A file, relative to the working directory.
    File(&'a Path),
    /// This one.
    Bytes(Vec<u8>),
}

impl Source {
    /// No folder at all, and a Dockerfile.
    pub(crate) fn empty(dockerfile: Vec<u8>) -> Self {
        let mut source = Self {
            folder: PathBuf::new(),
            patterns: IgnorePatterns::default(),
            always: Vec::new(),
            extras: Vec::new(),
            dockerfile: String::new(),
            in_place: None,
        };
        source.add_dockerfile(dockerfile, None);
        source
    }

    /// Looks at the folder.
    ///
    /// # Errors
    /// When folder or Dockerfile are not there, or the ignore file cannot be read.
    pub(crate) fn prepare(folder: &str, wanted: Wanted<'_>) -> Result<Self, Error> {
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
        let wanted = match wanted {
            Wanted::Bytes(bytes) => return Self::with_dockerfile(root, bytes),
            Wanted::File(file) => std::path::absolute(file).map_err(|error| prepare(error.to_string()))?,
            Wanted::Default => default_dockerfile(&root),
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
            let mut name = wanted.clone().into_os_string();
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
            in_place: None,
        };
        source.in_place = source.find_in_place(&wanted, &found, own.is_some())?;
        source.place_dockerfile(&found, own.is_some(), common)?;
        Ok(source)
    }

    /// The folder `root`, and a Dockerfile that is none of its files.
    fn with_dockerfile(root: PathBuf, bytes: Vec<u8>) -> Result<Self, Error> {
        let common = read(&root.join(IGNORE_FILE))?;
        let patterns = common.as_ref().map_or(Ok(IgnorePatterns::default()), |bytes| {
            IgnorePatterns::parse(bytes)
        });
        let mut source = Self {
            folder: root,
            patterns: patterns.map_err(|error| Error::Context {
                message: format!("{IGNORE_FILE}: {error}"),
                source: None,
            })?,
            always: vec![IGNORE_FILE.to_owned()],
            extras: Vec::new(),
            dockerfile: String::new(),
            in_place: Some(InPlace::Apart(bytes.clone())),
        };
        source.add_dockerfile(bytes, common);
        Ok(source)
    }

    /// Where the folder is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// How the Dockerfile is found where the folder is read where it lies; nothing if that would give another image: an
    /// ignore file of a Dockerfile's own that is not beside it in the folder is not known there.
    pub(crate) fn in_place(&self) -> Option<&InPlace> {
        self.in_place.as_ref()
    }

    fn find_in_place(&self, wanted: &Path, found: &Path, has_own: bool) -> Result<Option<InPlace>, Error> {
        // beside the wanted file means beside the found one, if the name itself is no link
        let is_itself = wanted
            .parent()
            .and_then(|parent| fs::canonicalize(parent).ok())
            .zip(wanted.file_name())
            .is_some_and(|(parent, name)| parent.join(name) == *found);
        let inside = found.strip_prefix(&self.folder).ok().and_then(Path::to_str);
        Ok(match inside.filter(|_| is_itself) {
            Some(path) => Some(InPlace::Inside(path.to_owned())),
            None if has_own => None,
            None => read(found)?.map(InPlace::Apart),
        })
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
        // The daemon takes away what the archive's ignore file names, so that the build cannot copy it.
        let kept = common.filter(|_| !(has_own && self.patterns.excludes(IGNORE_FILE)));
        self.add_dockerfile(bytes, kept);
        Ok(())
    }

    /// Puts a Dockerfile into the archive that the build cannot copy; `ignore` is the folder's ignore file.
    fn add_dockerfile(&mut self, bytes: Vec<u8>, ignore: Option<Vec<u8>>) {
        // Named by what it says, so that the same build twice sends the same archive.
        let mut hasher = DefaultHasher::new();
        hasher.write(&bytes);
        self.dockerfile = format!(".dockerfile.{:016x}", hasher.finish());
        let mut ignore = ignore.unwrap_or_else(|| IGNORE_FILE.into());
        ignore.extend_from_slice(format!("\n{}\n", self.dockerfile).as_bytes());
        self.extras.push(Extra {
            path: self.dockerfile.clone(),
            bytes,
        });
        self.extras.push(Extra {
            path: IGNORE_FILE.to_owned(),
            bytes: ignore,
        });
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
