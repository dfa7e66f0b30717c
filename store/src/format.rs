//! What a store says of itself: its version, what it needs to be understood, and who has it open.

use std::io::{Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fs_err as fs;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::catalogue::listed_generation;
use crate::database::{Database, generation};
use crate::disk::{self, Output};
use crate::error::Error;
use crate::paths::Paths;
use crate::room::Ballast;

/// The version this program writes and reads.
const VERSION: u32 = 1;

/// How long the lock may be somebody else's: a program that is just being started has all that who starts it has, also when that one
/// was killed meanwhile.
const PATIENCE: Duration = Duration::from_millis(300);
/// How often it is tried.
const PAUSE: Duration = Duration::from_millis(10);

/// `format.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Format {
    version: u32,
    features: Features,
}

/// Words for what came after a version: old programs may ignore them, may read only, or must keep off.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Features {
    #[serde(default)]
    compatible: Vec<String>,
    #[serde(default)]
    readonly: Vec<String>,
    #[serde(default)]
    incompatible: Vec<String>,
}

/// Makes the folders of a store, or makes sure that what is there is a store that is understood.
/// The returned file is locked for as long as it is open.
pub(crate) fn take(paths: &Paths) -> Result<Output, Error> {
    let known = paths.format().exists();
    if !known && has_blobs(paths)? {
        return Err(Error::NotAStore {
            root: paths.root().to_owned(),
        });
    }
    if let Some(above) = paths.root().parent() {
        disk::make_folder(above, 0o755).map_err(Error::io("make the store"))?;
    }
    // images may hold secrets
    disk::make_folder(paths.root(), 0o700).map_err(Error::io("make the store"))?;
    disk::make_folder(&paths.own(), 0o700).map_err(Error::io("make the store"))?;
    let lock = lock(paths)?;
    if known {
        check(paths)?;
        check_database(paths)?;
    }
    make_folders(paths)?;
    Ok(lock)
}

/// Takes a store that is there, whatever has become of its database.
pub(crate) fn take_described(paths: &Paths) -> Result<Output, Error> {
    if !paths.format().exists() {
        return Err(Error::Format {
            root: paths.root().to_owned(),
            reason: format!(
                "{} is not there, so it is no store of mica's",
                display(&paths.format())
            ),
        });
    }
    let lock = lock(paths)?;
    check(paths)?;
    make_folders(paths)?;
    Ok(lock)
}

fn make_folders(paths: &Paths) -> Result<(), Error> {
    disk::make_folder(&paths.blobs(), 0o755).map_err(Error::io("make the store"))?;
    for folder in [
        paths.ingest(),
        paths.partials(),
        paths.trees(),
        paths.work(),
        paths.trash(),
    ] {
        disk::make_folder(&folder, 0o700).map_err(Error::io("make the store"))?;
    }
    if !paths.oci_layout().exists() {
        disk::replace(&paths.oci_layout(), br#"{"imageLayoutVersion":"1.0.0"}"#, true)
            .map_err(Error::io("make the store"))?;
    }
    Ok(())
}

/// Writes `format.json`, the last thing a new store gets.
pub(crate) fn settle(paths: &Paths) -> Result<(), Error> {
    if paths.format().exists() {
        return Ok(());
    }
    let format = Format {
        version: VERSION,
        features: Features::default(),
    };
    let bytes = serde_json::to_vec(&format).map_err(|error| Error::Format {
        root: paths.root().to_owned(),
        reason: error.to_string(),
    })?;
    // what lies in a folder is as durable as the folder's own name; nothing is kept here before that
    for folder in [paths.root().parent(), Some(paths.root()), paths.blobs().parent()]
        .into_iter()
        .flatten()
    {
        disk::sync_folder(folder).map_err(Error::io("make the store"))?;
    }
    disk::replace(&paths.format(), &bytes, true).map_err(Error::io("describe the store"))
}

/// A store half made has no blobs; somebody else's image layout may.
fn has_blobs(paths: &Paths) -> Result<bool, Error> {
    match fs::read_dir(paths.blobs()) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("look into the store")(error)),
    }
}

fn lock(paths: &Paths) -> Result<Output, Error> {
    let mut file = disk::open(&paths.lock()).map_err(Error::io("open the store's lock"))?;
    if !is_taken(&file).map_err(Error::io("take the store's lock"))? {
        let mut text = String::new();
        // who it is is only told, so not knowing is fine
        let owner = match file.read_to_string(&mut text) {
            Ok(_) => text.trim().parse().ok(),
            Err(_) => None,
        };
        return Err(Error::Locked {
            root: paths.root().to_owned(),
            owner,
        });
    }
    // what is there is written over: on a full disk it could not be written again
    let sign = |file: &mut Output| {
        file.rewind()?;
        let text = format!("{}\n", std::process::id());
        file.write_all(text.as_bytes())?;
        file.cut(text.len() as u64)
    };
    sign(&mut file).map_err(Error::io("sign the store's lock"))?;
    Ok(file)
}

/// Takes the lock, unless another process keeps it.
fn is_taken(file: &Output) -> std::io::Result<bool> {
    let began = Instant::now();
    loop {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) if began.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn check(paths: &Paths) -> Result<(), Error> {
    let bytes = fs::read(paths.format()).map_err(Error::io("read the store's format"))?;
    let refuse = |reason: String| Error::Format {
        root: paths.root().to_owned(),
        reason,
    };
    let format: Format = serde_json::from_slice(&bytes)
        .map_err(|error| refuse(format!("mica/format.json is damaged: {error}")))?;
    if format.version != VERSION {
        return Err(refuse(format!(
            "it has format version {}, this program knows version {VERSION}",
            format.version
        )));
    }
    let Features {
        readonly,
        incompatible,
        ..
    } = format.features;
    if let Some(word) = incompatible.iter().chain(&readonly).next() {
        return Err(refuse(format!(
            "it uses the feature {word:?}, which this program does not know"
        )));
    }
    Ok(())
}

/// Refuses a database that would make everything else look like waste.
fn check_database(paths: &Paths) -> Result<(), Error> {
    if !paths.database().exists() {
        return Err(lost(paths, "is gone"));
    }
    let size = fs::metadata(paths.database())
        .map_err(Error::io("look at the store's database"))?
        .len();
    // it is never empty once the store was described
    if size == 0 {
        return Err(lost(paths, "is empty"));
    }
    Ok(())
}

/// Opens the database of a store that was taken.
pub(crate) fn open_database(paths: &Paths, ballast: &Arc<Ballast>) -> Result<Database, Error> {
    let open = || {
        if !paths.format().exists() {
            return Database::open(&paths.database(), ballast);
        }
        // it has tables once the store was described
        let database = Database::open_used(&paths.database(), ballast)?;
        let database =
            database.ok_or_else(|| lost(paths, "has no tables, as its log db.sqlite-wal is gone"))?;
        check_age(paths, &database)?;
        Ok(database)
    };
    open().map_err(|error| damaged(paths, error))
}

/// Refuses a database that is older than the list that was made from it: to it, the images that came since are waste.
fn check_age(paths: &Paths, database: &Database) -> Result<(), Error> {
    let own = database.read(|db| generation(db))?;
    match listed_generation(paths) {
        Some(listed) if listed > own => Err(lost(
            paths,
            "is older than the list of images, as if its log db.sqlite-wal were gone or damaged",
        )),
        _ => Ok(()),
    }
}

/// Says of a database that SQLite can make no sense of which it is, and how it is made again.
fn damaged(paths: &Paths, error: Error) -> Error {
    match error.is_damaged_database() {
        true => lost(paths, &format!("is damaged ({})", error.chain())),
        false => error,
    }
}

/// The refusal of a store whose database cannot be used.
fn lost(paths: &Paths, how: &str) -> Error {
    Error::Format {
        root: paths.root().to_owned(),
        reason: format!(
            "its database {} {how}; \"mica system check --rebuild\" makes it again from {} and the blobs, and so does \"micad --rebuild --data-root {}\"",
            display(&paths.database()),
            display(&paths.refs()),
            display(paths.root()),
        ),
    }
}

fn display(path: &Path) -> String {
    path.display().to_string()
}
