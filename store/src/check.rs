//! Checking the store: what the database says against what is on disk, while everything else goes on.
//!
//! Rows are read and files looked at a page at a time under the shared side of the gate, so that nothing is deleted in
//! between; what takes long is done outside it, on what a lease keeps. What a lease keeps is in flight and never a stray.

mod compressed;
mod derived;
pub(crate) mod documents;
mod files;
pub(crate) mod finding;
pub(crate) mod harm;
mod layers;
mod rest;
mod strays;

use std::io;

use crate::check::finding::{Fault, Finding, Level, Remedy, Thing};
use crate::error::Error;
use crate::store::Store;

/// So many rows are looked at at once, and nothing is deleted meanwhile.
const PAGE: usize = 64;
/// After so many bytes progress is told again.
const STRIDE: u64 = 16 << 20;

/// What a check tells while it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckEvent {
    /// How far it has got.
    Progress {
        /// What is being looked at.
        doing: &'static str,
        /// Bytes read so far.
        bytes: u64,
        /// Bytes that are to be read, as far as can be told before.
        total: u64,
    },
    /// Something is not as it should be.
    Found(Box<Finding>),
}

/// What was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked {
    /// Images.
    pub images: u64,
    /// Layers.
    pub layers: u64,
    /// Blobs and trees.
    pub files: u64,
    /// Bytes that were read and hashed.
    pub bytes: u64,
    /// Things that were not as they should be.
    pub findings: u64,
}

/// Who waits for a check.
pub struct Watch<'a> {
    /// Fails when the check is not wanted any more.
    pub go_on: &'a (dyn Fn() -> io::Result<()> + Sync),
    /// Hears what is found.
    pub tell: &'a mut dyn FnMut(CheckEvent),
}

/// A check that goes on.
struct Check<'a, 'w> {
    store: &'a Store,
    level: Level,
    watch: &'a mut Watch<'w>,
    checked: Checked,
    doing: &'static str,
    total: u64,
    /// When progress is told next, in bytes.
    next: u64,
    /// What is told as soon as nobody has to wait for that.
    untold: Vec<CheckEvent>,
}

impl Store {
    /// Looks at all that is in the store and tells what is not as it should be. Nothing is changed. The store is used by others
    /// meanwhile: what comes and goes is not found.
    ///
    /// # Errors
    /// If the watcher does not want it any more, or something cannot be looked at at all.
    pub fn check(&self, level: Level, watch: &mut Watch<'_>) -> Result<Checked, Error> {
        let mut check = Check {
            store: self,
            level,
            watch,
            checked: Checked::default(),
            doing: "database",
            total: 0,
            next: 0,
            untold: Vec::new(),
        };
        match check.all() {
            Ok(()) => {}
            Err(error) if error.is_damaged_database() => check.damaged_database(&error),
            Err(error) => return Err(error),
        }
        check.tell();
        Ok(check.checked)
    }
}

impl Check<'_, '_> {
    fn all(&mut self) -> Result<(), Error> {
        self.begin("database")?;
        self.database()?;
        self.total = match self.level {
            Level::Quick => 0,
            Level::Full | Level::Trees => self.bytes_to_read()?,
        };
        self.begin("images")?;
        self.images()?;
        self.other_documents()?;
        self.begin("layers")?;
        self.layers()?;
        self.compressed()?;
        self.begin("names")?;
        self.names()?;
        self.cache_records()?;
        self.begin("stray files")?;
        self.strays()?;
        self.begin("index.json")?;
        self.derived()
    }

    fn begin(&mut self, doing: &'static str) -> Result<(), Error> {
        self.doing = doing;
        self.next = 0;
        self.go_on()
    }

    /// Fails if the check is not wanted any more; tells what there is to tell. The caller does not hold the gate: whoever listens
    /// may be slow.
    fn go_on(&mut self) -> Result<(), Error> {
        self.tell();
        (self.watch.go_on)().map_err(Error::io("check the store"))
    }

    fn tell(&mut self) {
        for event in self.untold.drain(..) {
            (self.watch.tell)(event);
        }
        let bytes = self.checked.bytes;
        if bytes >= self.next {
            self.next = bytes + STRIDE;
            (self.watch.tell)(CheckEvent::Progress {
                doing: self.doing,
                bytes,
                total: self.total.max(bytes),
            });
        }
    }

    fn found(&mut self, finding: Finding) {
        if let (Fault::Content { .. }, Some(blob)) = (&finding.fault, finding.thing.blob()) {
            self.store.inner.damaged.note(&blob);
        }
        self.checked.findings += 1;
        self.untold.push(CheckEvent::Found(Box::new(finding)));
    }

    fn damaged_database(&mut self, error: &Error) {
        self.found(Finding {
            thing: Thing::Database,
            fault: Fault::Unreadable {
                reason: error.chain(),
            },
            place: self.store.inner.paths.database(),
            harms: Vec::new(),
            remedy: Remedy::Rebuild,
        });
    }
}
