//! What builds told: one compressed file for each of the last builds.

use std::collections::HashSet;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use fs_err::{self as fs, File};
use mica_oci::BuildId;

use crate::disk;
use crate::error::Error;
use crate::locks::lock;
use crate::space;
use crate::store::{Inner, Store};

/// How many logs are kept.
const LOGS: usize = 200;

/// How much all logs together may take, in bytes, before a new one is begun.
const LOGS_BYTES: u64 = 1 << 30;

/// A log that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// The build.
    pub build: BuildId,
    /// When something was last written to it.
    pub written: SystemTime,
    /// Its length on disk in bytes.
    pub size: u64,
}

/// The builds whose logs are being written.
#[derive(Debug, Default)]
pub(crate) struct Logs(Mutex<HashSet<BuildId>>);

/// A log that is being written. It is over when this is dropped.
pub struct OpenLog {
    store: Arc<Inner>,
    build: BuildId,
    file: File,
}

impl std::fmt::Debug for OpenLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("OpenLog").field(&self.build).finish()
    }
}

impl Write for OpenLog {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.file.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for OpenLog {
    fn drop(&mut self) {
        lock(&self.store.logs.0).remove(&self.build);
    }
}

impl Store {
    /// A file for the log of a new build. The oldest logs go when there are too many. Logs are not synced: a power cut may
    /// take them.
    pub fn create_log(&self, build: &BuildId) -> Result<OpenLog, Error> {
        let paths = &self.inner.paths;
        disk::make_folder(&paths.logs(), 0o700).map_err(Error::io("make a log"))?;
        self.drop_old_logs()?;
        // before the file is there for others to remove
        lock(&self.inner.logs.0).insert(*build);
        match disk::create(&paths.log(build)) {
            Ok(file) => Ok(OpenLog {
                store: self.inner.clone(),
                build: *build,
                file: file.unwatched(),
            }),
            Err(error) => {
                lock(&self.inner.logs.0).remove(build);
                Err(Error::io("make a log")(error))
            }
        }
    }

    /// Removes the logs of all builds that have ended; gives the number of bytes.
    pub(crate) fn forget_logs(&self) -> Result<u64, Error> {
        let mut bytes = 0;
        for log in self.logs()? {
            if !lock(&self.inner.logs.0).contains(&log.build) {
                let path = self.inner.paths.log(&log.build);
                bytes += space::at(&path);
                disk::remove(&path).map_err(Error::io("remove a log"))?;
            }
        }
        Ok(bytes)
    }

    /// The log of a build, as it was written.
    pub fn log(&self, build: &BuildId) -> Result<Option<File>, Error> {
        match File::open(self.inner.paths.log(build)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read a log")(error)),
        }
    }

    /// All logs, the newest first.
    pub fn logs(&self) -> Result<Vec<LogEntry>, Error> {
        let failed = || Error::io("list the logs");
        let folder = match fs::read_dir(self.inner.paths.logs()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(failed())?,
        };
        let mut logs = Vec::new();
        for entry in folder {
            let entry = entry.map_err(failed())?;
            // what has another name was not put here by a store
            let Some(build) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            match entry.metadata() {
                Ok(metadata) => logs.push(LogEntry {
                    build,
                    written: metadata.modified().map_err(failed())?,
                    size: metadata.len(),
                }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed()(error)),
            }
        }
        logs.sort_by_key(|log| std::cmp::Reverse((log.written, log.build)));
        Ok(logs)
    }

    fn drop_old_logs(&self) -> Result<(), Error> {
        let mut bytes = 0;
        for (number, log) in self.logs()?.iter().enumerate() {
            bytes += log.size;
            if number + 1 >= LOGS || bytes > LOGS_BYTES {
                disk::remove(&self.inner.paths.log(&log.build)).map_err(Error::io("remove an old log"))?;
            }
        }
        Ok(())
    }
}
