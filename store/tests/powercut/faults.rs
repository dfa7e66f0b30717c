//! Lets each change of the disk fail in turn: nothing that was promised goes, and the next attempt works.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use mica_store::Error;

use crate::check::{whole, whole_store};
use crate::journal::{Fault, Journal};
use crate::life::{Life, STEPS};
use crate::model::{Cut, Disk, put_back};
use crate::promise::Promised;
use crate::replay::look;
use crate::support::fast_folder;

/// What was done.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) faults: usize,
    /// Those that the call that met them told of.
    pub(crate) told: usize,
    /// What was wrong, with an example each.
    pub(crate) wrong: BTreeMap<String, (usize, String)>,
}

/// Lives two rounds for each `every`-th change that is made in them and each kind of fault; and for each sync that fails.
pub(crate) fn run(every: usize) -> Counts {
    let mut counts = Counts::default();
    for fault in [Fault::NoSpace, Fault::Broken, Fault::Short] {
        let mut at = 0;
        while counts.attempt(at, fault, live) {
            at += every;
        }
    }
    if every > 1 {
        for at in syncs(live) {
            counts.attempt(at, Fault::Broken, live);
        }
    }
    for at in syncs(fill_the_log) {
        counts.attempt(at, Fault::Broken, fill_the_log);
    }
    counts
}

/// Which changes are syncs.
fn syncs(live: Lived) -> Vec<usize> {
    let folder = fast_folder();
    let journal = Journal::begin(folder.path(), None);
    live(folder.path(), &journal).unwrap();
    journal.end();
    journal.syncs()
}

/// Lives, and says whether a fault was told of.
type Lived = fn(&Path, &Arc<Journal>) -> Result<bool, String>;

impl Counts {
    /// Lives with this fault; false if there are not so many changes.
    fn attempt(&mut self, at: usize, fault: Fault, live: Lived) -> bool {
        match attempt(at, fault, live) {
            Ok(None) => return false,
            Ok(Some(told)) => self.told += usize::from(told),
            Err((met, wrong)) => {
                let kind: Vec<&str> = wrong.split(' ').filter(|word| word.len() < 30).take(10).collect();
                let example = format!("{at}: {met}: {wrong}");
                let kind = format!("{fault:?}: {}", kind.join(" "));
                self.wrong.entry(kind).or_insert((0, example)).0 += 1;
            }
        }
        self.faults += 1;
        true
    }
}

/// Lives with this fault. Gives whether a call told of it; nothing if there are not so many changes.
fn attempt(at: usize, fault: Fault, live: Lived) -> Result<Option<bool>, (String, String)> {
    let folder = fast_folder();
    let root = folder.path().join("store");
    std::fs::create_dir(&root).unwrap();
    mica_layer::disk::recorded::set_boot("recorded".into());
    let journal = Journal::begin(&root, Some((at, fault)));
    let lived = catch_unwind(AssertUnwindSafe(|| live(&root, &journal)));
    let (ops, promises) = journal.end();
    let Some(met) = journal.met() else { return Ok(None) };
    let wrong = |wrong: String| (met.clone(), wrong);
    let told = lived.map_err(|_| wrong("it panics".into()))?.map_err(wrong)?;
    let mut promised = Promised::default();
    promises.iter().for_each(|(_, promise)| promised.add(promise));
    look(&root, "recorded", &promised).map_err(|error| wrong(format!("opened again, {error}")))?;
    // what the system could not make durable may be gone after a cut
    let mut disk = Disk::new();
    ops.iter().for_each(|op| disk.apply(&root, op));
    for cut in [Cut::Everything, Cut::Bytes] {
        let folder = fast_folder();
        put_back(folder.path(), &disk.after(cut));
        look(folder.path(), "another", &promised)
            .map_err(|error| wrong(format!("after a power cut, {error}")))?;
    }
    Ok(Some(told))
}

/// Does one of everything; what fails is tried once more. Gives whether anything failed.
fn live(root: &Path, journal: &Arc<Journal>) -> Result<bool, String> {
    let mut told = false;
    let mut again = |error: Error| {
        if std::mem::replace(&mut told, true) {
            return Err(format!("one fault is told twice: {}", whole(&error)));
        }
        plain(&error)
    };
    let mut life = match Life::begin(root, journal.clone()) {
        Ok(life) => life,
        Err(error) => {
            again(error)?;
            Life::begin(root, journal.clone())
                .map_err(|error| format!("no second open: {}", whole(&error)))?
        }
    };
    for round in 0..2 {
        life.enter(round);
        for (name, step) in STEPS {
            if let Err(error) = step(&mut life) {
                again(error)?;
                step(&mut life).map_err(|error| format!("cannot {name} afterwards: {}", whole(&error)))?;
            }
        }
    }
    journal.calm();
    let promised = journal.promised();
    let seen = whole_store(root, &life.store, &promised);
    seen.map_err(|error| format!("the store that goes on: {error}"))?;
    Ok(told)
}

/// Fills the database's log with what may be lost until it is moved into the file, and then promises something.
fn fill_the_log(root: &Path, journal: &Arc<Journal>) -> Result<bool, String> {
    let mut told = false;
    let mut twice = |step: &mut dyn FnMut() -> Result<(), Error>| {
        let Err(error) = step() else { return Ok(()) };
        if std::mem::replace(&mut told, true) {
            return Err(format!("one fault is told twice: {}", whole(&error)));
        }
        plain(&error)?;
        step().map_err(|error| format!("it fails again: {}", whole(&error)))
    };
    let mut life = None;
    twice(&mut || {
        life = Some(Life::begin(root, journal.clone())?);
        Ok(())
    })?;
    let mut life = life.ok_or("no store")?;
    twice(&mut || life.build_tar())?;
    for number in 0..400 {
        twice(&mut || life.remember_much(number))?;
    }
    life.enter(1);
    twice(&mut || life.build_tar())?;
    journal.calm();
    let promised = journal.promised();
    let seen = whole_store(root, &life.store, &promised);
    seen.map_err(|error| format!("the store that goes on: {error}"))?;
    Ok(told)
}

/// What is told names what failed and why, and a full disk can be told from anything else.
fn plain(error: &Error) -> Result<(), String> {
    let text = whole(error);
    let why = [
        "No space left",
        "full",
        "nput/output error",
        "I/O error",
        "unable to open database file",
    ];
    let full = text.contains("No space left") || text.contains("disk is full");
    match error.is_full_disk() == full && why.iter().any(|why| text.contains(why)) {
        true => Ok(()),
        false => Err(format!("this tells nothing: {text}")),
    }
}
