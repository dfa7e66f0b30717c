//! The database: the one transactional truth for images, names, layers and cache records.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::disk::failpoint;
use crate::error::Error;
use crate::inputs;
use crate::locks::{lock, wait};
use crate::room::Ballast;
use crate::rows;

/// Version 1 of the tables. `generation` in `meta` counts the changes of images and names. `tar` and `tree` say whether a layer has
/// that form: 0 no, 1 yes, 2 yes and durable. What `layer_blobs` says was hashed; `layer_claims` is what images say of blobs,
/// `false_claims` what of that was found untrue.
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS images (
    id BLOB PRIMARY KEY, manifest BLOB NOT NULL, manifest_type TEXT NOT NULL, manifest_size INTEGER NOT NULL,
    size INTEGER NOT NULL, parent BLOB, tagged_at TEXT) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS images_by_manifest ON images (manifest);
CREATE INDEX IF NOT EXISTS images_by_parent ON images (parent) WHERE parent IS NOT NULL;
CREATE TABLE IF NOT EXISTS summaries (image BLOB PRIMARY KEY, created TEXT, labels TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS image_layers (
    image BLOB NOT NULL, position INTEGER NOT NULL, diff_id BLOB NOT NULL, blob BLOB NOT NULL,
    PRIMARY KEY (image, position)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS image_layers_by_layer ON image_layers (diff_id);
CREATE TABLE IF NOT EXISTS refs (name TEXT PRIMARY KEY, image BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS refs_by_image ON refs (image);
CREATE TABLE IF NOT EXISTS layers (
    diff_id BLOB PRIMARY KEY, size INTEGER NOT NULL, content BLOB,
    tar INTEGER NOT NULL DEFAULT 0, tree INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS layer_blobs (
    digest BLOB PRIMARY KEY, diff_id BLOB NOT NULL, size INTEGER NOT NULL, compression TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS layer_blobs_by_layer ON layer_blobs (diff_id);
CREATE TABLE IF NOT EXISTS layer_claims (
    diff_id BLOB NOT NULL, digest BLOB NOT NULL, size INTEGER NOT NULL, compression TEXT NOT NULL,
    PRIMARY KEY (diff_id, digest)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS layer_claims_by_blob ON layer_claims (digest);
CREATE TABLE IF NOT EXISTS false_claims (
    diff_id BLOB NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (diff_id, digest)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents (
    image BLOB NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (image, digest)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS documents_by_digest ON documents (digest);
CREATE TABLE IF NOT EXISTS sources (
    digest BLOB NOT NULL, registry TEXT NOT NULL, path TEXT NOT NULL, account BLOB NOT NULL, seen INTEGER NOT NULL,
    PRIMARY KEY (digest, registry, path, account)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sources_by_age ON sources (seen);
CREATE TABLE IF NOT EXISTS cache (
    key BLOB PRIMARY KEY, layer BLOB NOT NULL, parent BLOB NOT NULL, content BLOB NOT NULL, created TEXT NOT NULL,
    description TEXT NOT NULL, last_used TEXT NOT NULL, use_count INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS cache_by_content ON cache (parent, content);
CREATE INDEX IF NOT EXISTS cache_by_layer ON cache (layer);
CREATE TABLE IF NOT EXISTS step_inputs (
    alike BLOB NOT NULL, key BLOB NOT NULL, inputs BLOB NOT NULL, made INTEGER NOT NULL,
    PRIMARY KEY (alike, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS step_inputs_by_age ON step_inputs (made);
CREATE TABLE IF NOT EXISTS mounts (
    id BLOB PRIMARY KEY, key BLOB NOT NULL, name TEXT NOT NULL, size INTEGER NOT NULL, created TEXT NOT NULL,
    last_used TEXT NOT NULL, use_count INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS mounts_by_key ON mounts (key);
INSERT OR IGNORE INTO meta (key, value) VALUES ('generation', '0');
CREATE TRIGGER IF NOT EXISTS image_came AFTER INSERT ON images BEGIN
    UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'generation'; END;
CREATE TRIGGER IF NOT EXISTS image_went AFTER DELETE ON images BEGIN
    UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'generation'; END;
CREATE TRIGGER IF NOT EXISTS name_came AFTER INSERT ON refs BEGIN
    UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'generation'; END;
CREATE TRIGGER IF NOT EXISTS name_went AFTER DELETE ON refs BEGIN
    UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'generation'; END;
CREATE TABLE IF NOT EXISTS blob_sizes (digest BLOB PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tree_sizes (diff_id BLOB PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID;
";

/// How often images and names changed: never less than what `refs.json` says, which is written after each change is durable.
pub(crate) fn generation(db: &Connection) -> Result<u64, Error> {
    let counted: Option<i64> = rows::first(
        db,
        "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'generation'",
        [],
    )?;
    Ok(counted.map_or(0, |counted| counted.max(0).unsigned_abs()))
}

/// How long one connection waits for another's write, which is never long.
const BUSY: Duration = Duration::from_secs(30);
/// How long it is waited for readers until the log is emptied.
const SOON: Duration = Duration::from_secs(1);
/// With fewer bytes of unused pages the file stays as it is.
const WASTE: u64 = 256 << 10;
/// A log that is no longer stays as it is.
const SHORT_LOG: u64 = 64 << 10;
/// So many bytes at most are held in memory while the file is written anew; more go through a temporary file.
const IN_MEMORY: u64 = 16 << 20;
/// When the log has so many pages they are moved into the file, as SQLite does by itself unless somebody else does.
const LOG_PAGES: i32 = 1000;
/// Prepared statements kept by each connection.
const STATEMENTS: usize = 64;
/// The most of the file that each connection keeps in memory: a list of ten thousand images reads that much.
const CACHE_KIB: i32 = 8 << 10;
/// The most connections for reading; who finds all of them taken waits for one. SQLite does not give a descriptor back to the system
/// as long as another connection holds a lock on the file, and here one always does: each more would stay open for good.
const READERS: usize = 8;

/// Whether a write must survive a power cut when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// It must.
    Full,
    /// It may be lost, along with all such writes since the last that may not.
    Normal,
}

/// One writer and some readers of one file.
pub(crate) struct Database {
    path: PathBuf,
    writer: Mutex<Writer>,
    readers: Mutex<Readers>,
    given_back: Condvar,
    ballast: Arc<Ballast>,
}

/// The connections for reading.
#[derive(Default)]
struct Readers {
    idle: Vec<Connection>,
    /// How many there are, those in use included.
    open: usize,
}

/// A connection for reading, given back when it drops.
struct Reader<'a> {
    database: &'a Database,
    /// There until then.
    connection: Option<Connection>,
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let mut readers = lock(&self.database.readers);
        match self.connection.take() {
            Some(connection) => readers.idle.push(connection),
            None => readers.open -= 1,
        }
        self.database.given_back.notify_one();
    }
}

struct Writer {
    connection: Connection,
    durability: Durability,
    /// Whether the log may not be on disk as it reads: a write failed.
    doubt: bool,
    /// How many pages the log had after the last commit.
    logged: Arc<AtomicI32>,
}

impl Writer {
    /// Moves what the log holds into the file and begins the log anew. A sync that failed may have dropped some of it from the
    /// disk while it still reads well, and whatever is added behind that would be lost with it.
    fn renew_log(&mut self) -> Result<(), Error> {
        if !self.doubt {
            return Ok(());
        }
        let busy: bool = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        self.doubt = busy;
        match busy {
            false => Ok(()),
            true => Err(Error::io("renew the database's log")(std::io::Error::other(
                "somebody is reading it; try again",
            ))),
        }
    }
}

impl Writer {
    /// Moves what the log holds into the file, as far as nobody reads it there, if it is long or `anyway`. SQLite would do the same and tell nobody
    /// of a sync that failed, which may have dropped something from the log that is to come before what is promised next.
    fn move_log(&mut self, anyway: bool) {
        if !anyway && self.logged.load(Ordering::Relaxed) < LOG_PAGES {
            return;
        }
        let moved = self
            .connection
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        let failed = moved
            .err()
            .and_then(|error| Some(error.sqlite_error()?.extended_code));
        // all that is in the log stays there otherwise, and is moved the next time
        self.doubt |= failed == Some(rusqlite::ffi::SQLITE_IOERR_FSYNC);
    }

    /// Sets how durable the next write is.
    fn set(&mut self, durability: Durability) -> Result<(), Error> {
        if self.durability != durability {
            let mode = match durability {
                Durability::Full => "FULL",
                Durability::Normal => "NORMAL",
            };
            self.connection.pragma_update(None, "synchronous", mode)?;
            self.durability = durability;
        }
        Ok(())
    }

    /// Writes the whole database anew, of which so many bytes are in use.
    fn write_anew(&mut self, used: u64) -> Result<(), Error> {
        self.set(Durability::Full)?;
        let place = if used <= IN_MEMORY { "MEMORY" } else { "DEFAULT" };
        self.connection.pragma_update(None, "temp_store", place)?;
        let written = self.connection.execute_batch("VACUUM");
        self.connection.pragma_update(None, "temp_store", "DEFAULT")?;
        Ok(written?)
    }

    /// Moves what the log holds into the file, and gives its room back unless somebody is reading it all the time.
    fn empty_log(&mut self) -> Result<(), Error> {
        self.connection.busy_timeout(SOON)?;
        let moved = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        self.connection.busy_timeout(BUSY)?;
        Ok(moved?)
    }
}

impl Database {
    /// Opens the database, or makes an empty one.
    pub(crate) fn open(path: &Path, ballast: &Arc<Ballast>) -> Result<Self, Error> {
        Self::with_tables(path, connected(path)?, ballast)
    }

    /// Opens a database that has been used before; nothing if it has no tables, which most of the time lie in its log.
    pub(crate) fn open_used(path: &Path, ballast: &Arc<Ballast>) -> Result<Option<Self>, Error> {
        let writer = connected(path)?;
        let tables = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'images')";
        match writer.connection.query_row(tables, [], |row| row.get(0))? {
            true => Self::with_tables(path, writer, ballast).map(Some),
            false => Ok(None),
        }
    }

    fn with_tables(path: &Path, writer: Writer, ballast: &Arc<Ballast>) -> Result<Self, Error> {
        writer.connection.execute_batch(SCHEMA)?;
        match inputs::drop_old(&writer.connection) {
            // they only take up room
            Err(error) if error.is_full_disk() => {}
            dropped => dropped?,
        }
        Ok(Self {
            path: path.to_owned(),
            writer: Mutex::new(writer),
            readers: Mutex::default(),
            given_back: Condvar::new(),
            ballast: ballast.clone(),
        })
    }

    /// Runs `read` on one state of the database. It must not read or write by itself: it has its connection already, and might wait
    /// for one that another like it has.
    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&Transaction<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut reader = self.reader();
        let connection = match &mut reader.connection {
            Some(connection) => connection,
            none => none.insert(connect(&self.path, false)?),
        };
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
        read(&transaction)
    }

    /// Ends its use and leaves all of it in its one file, which still is to be synced.
    pub(crate) fn settle(self) -> Result<(), Error> {
        // readers hold the log
        drop(self.readers);
        let writer = self.writer.into_inner().unwrap_or_else(PoisonError::into_inner);
        writer.connection.pragma_update(None, "journal_mode", "DELETE")?;
        let closed = writer.connection.close();
        closed.map_err(|(_, error)| error.into())
    }

    /// Gives the disk back what the file and the log have in them for no use, if that is much or `anyway`.
    pub(crate) fn shrink(&self, anyway: bool) -> Result<(), Error> {
        let mut writer = lock(&self.writer);
        writer.renew_log()?;
        let number = |name: &str| -> Result<u64, Error> {
            let value = writer.connection.pragma_query_value(None, name, |row| row.get(0));
            Ok(u64::try_from(value.map(|number: i64| number)?).unwrap_or(0))
        };
        let (pages, unused, size) = (
            number("page_count")?,
            number("freelist_count")?,
            number("page_size")?,
        );
        let shrunk = match anyway || (unused * size >= WASTE && unused * 2 >= pages) {
            true => writer.write_anew((pages - unused) * size),
            false => Ok(()),
        };
        let shrunk = shrunk.and_then(|()| match anyway || self.log_bytes() > SHORT_LOG {
            true => writer.empty_log(),
            false => Ok(()),
        });
        writer.doubt |= shrunk.is_err();
        shrunk
    }

    /// How long the log is.
    fn log_bytes(&self) -> u64 {
        let mut path = self.path.clone().into_os_string();
        path.push("-wal");
        fs_err::metadata(PathBuf::from(path)).map_or(0, |meta| meta.len())
    }

    /// A connection, or the right to make one.
    fn reader(&self) -> Reader<'_> {
        let mut readers = lock(&self.readers);
        loop {
            let idle = readers.idle.pop();
            if idle.is_some() || readers.open < READERS {
                readers.open += usize::from(idle.is_none());
                return Reader {
                    database: self,
                    connection: idle,
                };
            }
            readers = wait(&self.given_back, readers);
        }
    }

    /// As [`write`](Self::write), durably, for what gives room back: it works on a full disk, too.
    pub(crate) fn write_to_free<T>(
        &self,
        mut write: impl FnMut(&Transaction<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let _lent = self.ballast.lend();
        let result = match self.write(Durability::Full, &mut write) {
            // a quota, or somebody who was faster
            Err(error) if error.is_full_disk() && self.ballast.give_up() => {
                self.write(Durability::Full, write)
            }
            result => result,
        };
        if self.ballast.is_given_up() {
            // so that the next one finds room in the log again
            lock(&self.writer).move_log(true);
        }
        result
    }

    /// Runs `write` in a transaction of its own, which is rolled back if it fails.
    pub(crate) fn write<T>(
        &self,
        durability: Durability,
        write: impl FnOnce(&Transaction<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut writer = lock(&self.writer);
        writer.renew_log()?;
        writer.set(durability)?;
        let transaction = writer
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let result = write(&transaction)?;
        failpoint("commit.before");
        if let Err(error) = transaction.commit() {
            writer.doubt = true;
            return Err(error.into());
        }
        failpoint("commit.after");
        writer.move_log(false);
        Ok(result)
    }
}

/// The connection that writes.
fn connected(path: &Path) -> Result<Writer, Error> {
    let mut connection = connect(path, true)?;
    let logged = Arc::new(AtomicI32::new(0));
    let counted = logged.clone();
    // in the place of SQLite's own hook, which moves the log
    connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
        counted.store(pages, Ordering::Relaxed);
        Ok(())
    }))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let mut writer = Writer {
        connection,
        durability: Durability::Full,
        doubt: true,
        logged,
    };
    // an earlier process may have died of a sync that failed. On a full disk this fails, and the store is opened to make room
    let _ = writer.renew_log();
    writer.doubt = false;
    Ok(writer)
}

fn connect(path: &Path, writes: bool) -> Result<Connection, Error> {
    let flags = match writes {
        true => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        false => OpenFlags::SQLITE_OPEN_READ_ONLY,
    } | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::Paths;

    fn open(path: &Path) -> Database {
        Database::open(path, &Ballast::of(&Paths::new(path.parent().unwrap()))).unwrap()
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let database = open(&folder.path().join("db"));
        let insert = |t: &Transaction<'_>| {
            t.execute("INSERT INTO meta VALUES ('a', 'b')", [])?;
            Ok(())
        };
        let count = || {
            database
                .read(|t| {
                    Ok(
                        t.query_row("SELECT count(*) FROM meta WHERE key = 'a'", [], |row| {
                            row.get::<_, i64>(0)
                        })?,
                    )
                })
                .unwrap()
        };
        let failed = database.write(Durability::Full, |t| {
            insert(t)?;
            Err::<(), _>(Error::corrupt("x", "y"))
        });
        assert!(failed.is_err());
        assert_eq!(count(), 0);
        database.write(Durability::Normal, insert).unwrap();
        assert_eq!(count(), 1);
    }

    #[test]
    fn many_readers_share_few_connections() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let database = open(&path);
        let most = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..READERS * 8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let read = database.read(|t| {
                            std::thread::yield_now();
                            Ok(
                                t.query_row("SELECT count(*) FROM meta WHERE key = 'a'", [], |row| {
                                    row.get::<_, i64>(0)
                                })?,
                            )
                        });
                        assert_eq!(read.unwrap(), 0);
                        let open = lock(&database.readers).open;
                        most.fetch_max(open, std::sync::atomic::Ordering::Relaxed);
                    }
                });
            }
        });
        assert!(most.into_inner() <= READERS);
        let readers = lock(&database.readers);
        assert_eq!(readers.idle.len(), readers.open);
        // a read that fails gives its connection back too
        drop(readers);
        for _ in 0..READERS * 2 {
            assert!(database.read(|_| Err::<(), _>(Error::corrupt("x", "y"))).is_err());
        }
    }
}
