//! Cuts the power after each change that a store made, in several ways, and looks at what is left.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use crate::check::check;
use crate::journal::{Journal, Op};
use crate::life::{Life, STEPS};
use crate::model::{Cut, Disk, fingerprint, put_back};
use crate::promise::{Promise, Promised};
use crate::support::fast_folder;

/// How many outcomes of chance are tried after each change.
const CHANCES: u64 = 3;

/// What was done.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) operations: usize,
    /// Moments at which the power was cut.
    pub(crate) points: usize,
    /// What was found then, without what was the same as before.
    pub(crate) outcomes: usize,
    /// What was wrong, with an example each.
    pub(crate) losses: BTreeMap<String, (usize, String)>,
}

/// Lives so many rounds and replays every `every`-th moment; as if syncs of all but the database did nothing, unless `synced`.
pub(crate) fn run(rounds: usize, every: usize, synced: bool) -> Counts {
    let (mut ops, promises, root) = record(rounds);
    if !synced {
        for op in &mut ops {
            if matches!(op, Op::Sync(path) if !path.to_string_lossy().contains("db.sqlite")) {
                *op = Op::Sync(PathBuf::from("nothing"));
            }
        }
    }
    let mut counts = Counts {
        operations: ops.len(),
        ..Counts::default()
    };
    let (mut disk, mut promised, mut told) = (Disk::new(), Promised::default(), promises.iter().peekable());
    let mut seen = HashSet::new();
    for at in 0..=ops.len() {
        while let Some((_, promise)) = told.next_if(|(when, _)| *when <= at) {
            promised.add(promise);
            // what was found before is to be looked at again
            seen.clear();
        }
        if at % every == 0 || at == ops.len() {
            counts.points += 1;
            cut_at(&disk, at, &promised, &mut seen, &mut counts);
        }
        if let Some(op) = ops.get(at) {
            disk.apply(&root, op);
        }
    }
    counts
}

/// The changes, the promises with the number of changes before each, and the folder.
type Recorded = (Vec<Op>, Vec<(usize, Promise)>, PathBuf);

fn record(rounds: usize) -> Recorded {
    let folder = fast_folder();
    let root = folder.path().join("store");
    std::fs::create_dir(&root).unwrap();
    mica_layer::disk::recorded::set_boot("recorded".into());
    let journal = Journal::begin(&root, None);
    let mut life = Life::begin(&root, journal.clone()).unwrap();
    for round in 0..rounds {
        life.enter(round);
        for (name, step) in STEPS {
            step(&mut life).unwrap_or_else(|error| panic!("{name}: {}", crate::check::whole(&error)));
        }
        // the daemon is started again now and then
        if round % 5 == 4 {
            life = life.open_again(&root).unwrap();
        }
    }
    life.settle();
    drop(life);
    let (ops, promises) = journal.end();
    (ops, promises, root)
}

fn cut_at(disk: &Disk, at: usize, promised: &Promised, seen: &mut HashSet<(u64, bool)>, counts: &mut Counts) {
    let chances = (0..CHANCES).map(|chance| Cut::Random(at as u64 * CHANCES + chance + 1));
    let cuts = [Cut::Nothing, Cut::Everything, Cut::Bytes, Cut::Zeros, Cut::Names];
    for (number, cut) in [Cut::Nothing].into_iter().chain(cuts).chain(chances).enumerate() {
        // first a mere kill, after which the machine goes on
        let boot = if number == 0 { "recorded" } else { "another" };
        let found = disk.after(cut);
        if !seen.insert((fingerprint(&found), number == 0)) {
            continue;
        }
        counts.outcomes += 1;
        let folder = fast_folder();
        put_back(folder.path(), &found);
        if let Err(wrong) = look(folder.path(), boot, promised) {
            let kind = format!("{cut:?}");
            let kind = kind.split('(').next().unwrap_or_default();
            let kind = format!("{kind}: {}", without_names(&wrong));
            let example = format!("after {at} changes, {cut:?}, boot {boot}: {wrong}");
            counts.losses.entry(kind).or_insert((0, example)).0 += 1;
        }
    }
}

/// Looks at the store in `root`, the kernel being of this boot.
pub(crate) fn look(root: &Path, boot: &str, promised: &Promised) -> Result<(), String> {
    mica_layer::disk::recorded::set_boot(boot.into());
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(root, promised)));
    result.unwrap_or_else(|_| Err("it panics".into()))
}

/// What tells one kind of wrong from another.
fn without_names(wrong: &str) -> String {
    let is_name = |word: &str| word.contains('/') || word.contains("sha256") || word.len() > 40;
    let words = wrong
        .split(' ')
        .map(|word| if is_name(word) { "…" } else { word });
    words.take(14).collect::<Vec<_>>().join(" ")
}
