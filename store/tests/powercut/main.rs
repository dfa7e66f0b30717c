//! Power cuts and failing disks: what a store does to the disk is recorded, cut off at each point, and let fail at each point.
//!
//! `cargo test -p mica-store --test powercut -- --long` takes all points of a long life; without `--long` some of a short one.
//! `cuts`, `faults` or `device` behind it does only that.
// what is not expected ends the test
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::exit)]

mod check;
mod device;
mod faults;
mod journal;
mod life;
mod model;
mod mounts;
mod promise;
mod random;
mod replay;
mod sqlite;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::time::Instant;

/// What was wrong: how often, and an example, for each kind.
type Wrong = BTreeMap<String, (usize, String)>;

/// Does a part, the long way or not, and gives how much was wrong.
type Part = fn(bool) -> usize;

fn main() {
    if device::work() {
        return;
    }
    let given: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| given.iter().any(|word| word == flag);
    if has("--list") {
        return;
    }
    // words are parts to be done alone, as names of tests are elsewhere
    let words: Vec<&String> = given.iter().filter(|word| !word.starts_with('-')).collect();
    sqlite::watch();
    let parts: [(&str, Part); 3] = [("cuts", cuts), ("faults", faults), ("device", device)];
    let (mut passed, mut failed) = (0, 0);
    for (name, part) in parts {
        if words.is_empty() || words.iter().any(|word| *word == name) {
            match part(has("--long")) {
                0 => passed += 1,
                _ => failed += 1,
            }
        }
    }
    let result = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "test result: {result}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out"
    );
    if failed > 0 {
        std::process::exit(1);
    }
}

/// The fewest operations that a long run is made of.
const LONG_RUN: usize = 5000;

fn cuts(long: bool) -> usize {
    let began = Instant::now();
    let (rounds, every) = if long { (13, 1) } else { (3, 7) };
    let counts = replay::run(rounds, every, true);
    println!(
        "power cuts: {} operations, {} crash points, {} outcomes, {} losses, {} s",
        counts.operations,
        counts.points,
        counts.outcomes,
        sum(&counts.losses),
        began.elapsed().as_secs()
    );
    // the same without any sync: what finds nothing then finds nothing ever
    let blind = replay::run(1, 29, false);
    println!(
        "power cuts when nothing is synced: {} outcomes, {} losses",
        blind.outcomes,
        sum(&blind.losses)
    );
    let short = long && counts.operations < LONG_RUN;
    if short {
        println!("a long run has at least {LONG_RUN} operations");
    }
    tell(&counts.losses) + usize::from(blind.losses.is_empty()) + usize::from(short)
}

fn faults(long: bool) -> usize {
    let began = Instant::now();
    let counts = faults::run(if long { 1 } else { 23 });
    println!(
        "faults: {} injected, {} told by the call that met them, {} wrong, {} s",
        counts.faults,
        counts.told,
        sum(&counts.wrong),
        began.elapsed().as_secs()
    );
    tell(&counts.wrong)
}

fn device(long: bool) -> usize {
    let began = Instant::now();
    let counts = device::run(if long { 60 } else { 4 });
    println!(
        "loop device: {} power cuts, {} promises, {} wrong, {} skipped, {} s",
        counts.cuts,
        counts.promises,
        counts.wrong.len(),
        usize::from(counts.skipped.is_some()),
        began.elapsed().as_secs()
    );
    for line in &counts.wrong {
        println!("    {line}");
    }
    if let Some(reason) = &counts.skipped {
        println!("skipped: power cuts of a loop device: {reason}");
    }
    counts.wrong.len()
}

fn sum(wrong: &Wrong) -> usize {
    wrong.values().map(|(count, _)| count).sum()
}

fn tell(wrong: &Wrong) -> usize {
    for (kind, (count, example)) in wrong {
        println!("  {count} × {kind}\n    {example}");
    }
    sum(wrong)
}
