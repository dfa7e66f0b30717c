//! Room on the store's disk: looked for before much is brought in, and told of where there was too little.

use std::error::Error as _;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use mica_oci::Digest;
use mica_store::is_full_disk;

use crate::bridge::blocking;
use crate::engine::Engine;
use crate::error::Error;

/// How long what was removed may take to give its room back.
const PATIENCE: Duration = Duration::from_secs(10);
/// What the database and its lists may need beside what is brought in, in bytes.
const RESERVE: u64 = 4 << 20;
/// With fewer files to be made than this, it is they that are told of.
const FEW_FILES: u64 = 1000;

/// What to do about a full disk.
pub(crate) const NEXT_STEP: &str = "make room with `mica system prune` or `mica builder prune` and try again";

/// What is free on the store's disk, to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Free {
    /// The store.
    pub root: PathBuf,
    /// Bytes that can be taken, if that can be seen.
    pub bytes: Option<u64>,
    /// Files that can be made, where these are few.
    pub files: Option<u64>,
}

impl fmt::Display for Free {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes {
            Some(bytes) => write!(f, "{} free", Bytes(bytes))?,
            None => f.write_str("nobody knows how much free")?,
        }
        match self.files {
            Some(files) => write!(f, ", and {files} more files to be made"),
            None => Ok(()),
        }
    }
}

/// A number of bytes in decimal units, three digits; as docker writes it.
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut value = self.0 as f64;
        let mut unit = "B";
        for next in ["kB", "MB", "GB", "TB", "PB", "EB"] {
            // 999.5 would be written as 1000
            if value < 999.5 {
                break;
            }
            (value, unit) = (value / 1000.0, next);
        }
        match (unit, value) {
            ("B", _) => write!(f, "{value}{unit}"),
            (_, ..9.995) => write!(f, "{value:.2}{unit}"),
            (_, ..99.95) => write!(f, "{value:.1}{unit}"),
            _ => write!(f, "{value:.0}{unit}"),
        }
    }
}

impl Engine {
    /// Fails if `needed` bytes more do not fit on the disk beside the `promised` ones that others are bringing in. What nobody
    /// needs is given up first where that could help; what is left of the downloads `keep` says yes to is needed. May wait for
    /// a disk.
    pub(crate) fn look_for_room(
        &self,
        what: &str,
        needed: u64,
        promised: u64,
        keep: &dyn Fn(&Digest) -> bool,
    ) -> Result<(), Error> {
        let all = needed.saturating_add(promised).saturating_add(RESERVE);
        // where nothing can be seen it is tried
        let fits = |free: &Free| needed == 0 || free.bytes.is_none_or(|bytes| bytes >= all);
        if fits(&self.free()) {
            return Ok(());
        }
        self.store().wait_for_room(PATIENCE);
        let mut free = self.free();
        // others want to go on with that some time: it does not go for what it cannot help, whatever length a client claims
        let unfinished = self
            .store()
            .disk_usage()
            .map_or(u64::MAX, |usage| usage.unfinished);
        let spare = unfinished.saturating_add(RESERVE);
        if !fits(&free) && free.bytes.is_some_and(|bytes| bytes.saturating_add(spare) >= all) {
            self.workshop().forget_failed_steps();
            // it helps, or it does not
            let _ = self.store().give_back(keep);
            self.store().wait_for_room(PATIENCE);
            free = self.free();
        }
        if fits(&free) {
            return Ok(());
        }
        free.bytes = free
            .bytes
            .map(|bytes| bytes.saturating_sub(promised.saturating_add(RESERVE)));
        Err(Error::NoRoom {
            what: what.to_owned(),
            needed,
            free,
        })
    }

    /// Fails if a body that is `length` bytes long, as its client says, does not fit on the disk. May wait for a disk.
    pub fn look_for_room_of(&self, what: &str, length: u64) -> Result<(), Error> {
        self.look_for_room(what, length, 0, &|_| false)
    }

    /// The same result; of a full disk it is said how much of it is free when all is given back that was begun. May wait for a
    /// disk.
    pub(crate) fn told<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        result.map_err(|error| match error.is_full_disk() && !error.names_room() {
            true => {
                self.workshop().forget_failed_steps();
                self.store().wait_for_room(PATIENCE);
                Error::FullDisk {
                    error: Box::new(error),
                    free: self.free(),
                }
            }
            false => error,
        })
    }

    /// As [`told`](Self::told), where threads are not waited for.
    pub(crate) async fn told_later<T>(&self, result: Result<T, Error>) -> Result<T, Error>
    where
        T: Send + 'static,
    {
        match result {
            Err(error) if error.is_full_disk() => {
                let engine = self.clone();
                blocking(move || engine.told(Err(error))).await
            }
            result => result,
        }
    }

    fn free(&self) -> Free {
        let room = self.store().room().ok();
        Free {
            root: self.root().to_owned(),
            bytes: room.map(|room| room.bytes),
            files: room.map(|room| room.files).filter(|files| *files < FEW_FILES),
        }
    }
}

impl Error {
    /// Whether a full disk, or a quota that is used up, is at the bottom of it.
    pub fn is_full_disk(&self) -> bool {
        // a transparent error is told apart from what it passes on by its kind only
        match self {
            Self::FullDisk { .. } | Self::NoRoom { .. } => true,
            Self::Store(error) => error.is_full_disk(),
            Self::Shared(error) => error.is_full_disk(),
            Self::Build(error) => {
                let foreign = |error: &(dyn std::error::Error + 'static)| match error.downcast_ref::<Self>() {
                    Some(error) => error.is_full_disk(),
                    None => is_full_disk(error),
                };
                error.is_full_disk() || error.foreign().is_some_and(foreign)
            }
            // git tells it in words
            Self::Git { said, .. } => said.contains("No space left on device"),
            // what the other side says of its own disk is no concern of this one
            Self::Registry(error) => is_full_disk(&**error),
            _ => self.source().is_some_and(is_full_disk),
        }
    }

    /// Whether it says how much of the disk is free.
    pub(crate) fn names_room(&self) -> bool {
        match self {
            Self::FullDisk { .. } | Self::NoRoom { .. } => true,
            Self::Shared(error) => error.names_room(),
            Self::Build(error) => {
                let foreign = error.foreign().and_then(|error| error.downcast_ref::<Self>());
                foreign.is_some_and(Self::names_room)
            }
            _ => false,
        }
    }
}

/// What is said of a full disk behind what failed.
pub(crate) fn fullness(free: &Free) -> String {
    let root = free.root.display();
    format!(": the disk of {root} is full: {free} once all that was begun is removed: {NEXT_STEP}")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_full_disk_is_told_once_with_what_to_do() {
        let full = || Error::Io {
            action: "read the archive",
            source: io::ErrorKind::StorageFull.into(),
        };
        let free = Free {
            root: "/store".into(),
            bytes: Some(48_200_000),
            files: None,
        };
        assert!(full().is_full_disk() && !full().names_room());
        assert_eq!(full().describe().matches(NEXT_STEP).count(), 1);
        let told = Error::FullDisk {
            error: Box::new(full()),
            free: free.clone(),
        };
        assert!(told.is_full_disk() && told.names_room());
        let text = told.describe();
        assert_eq!(text.matches(NEXT_STEP).count(), 1, "{text}");
        assert_eq!(text.matches("cannot read the archive").count(), 1, "{text}");
        assert!(
            text.contains(": the disk of /store is full: 48.2MB free once"),
            "{text}"
        );
        let none = Error::NoRoom {
            what: "a:1".to_owned(),
            needed: 134_000_000,
            free,
        };
        assert!(
            none.describe()
                .starts_with("a:1 needs 134MB on the disk of /store, with 48.2MB free there: ")
        );
        // a registry's own disk is no concern of this one
        let other = Error::LoginRefused {
            said: "no space left on device".to_owned(),
        };
        assert!(!other.is_full_disk());
    }

    #[test]
    fn bytes_are_written_as_docker_does() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1.00kB"),
            (12_345, "12.3kB"),
            (999_600, "1.00MB"),
            (123_456_789, "123MB"),
            (u64::MAX, "18.4EB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }
}
