//! Power cuts and failing disks: what a store does to the disk is recorded, cut off at each point, and let fail at each point.
//!
//! `cargo test -p mica-store --test powercut -- --long` takes all points of a long life; without `--long` some of a short one.
// what is not expected ends the test
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::exit)]

mod check;
mod device;
mod faults;
mod journal;
mod life;
mod model;
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

fn main() {
    if device::work() {
        return;
    }
    let given: Vec<String> = std::env::args().skip(1).collect();
    let long = given.iter().any(|argument| argument == "--long");
    // one part alone
    let part = |name: &str| {
        let parts = ["cuts", "faults", "device"];
        given.iter().any(|argument| argument == name)
            || !given.iter().any(|argument| parts.contains(&&**argument))
    };
    sqlite::watch();
    let mut wrong = 0;
    if part("cuts") {
        wrong += cuts(long);
    }
    if part("faults") {
        wrong += faults(long);
    }
    if part("device") {
        wrong += device(long);
    }
    if wrong > 0 {
        std::process::exit(1);
    }
}

fn cuts(long: bool) -> usize {
    let began = Instant::now();
    let (rounds, every) = if long { (25, 1) } else { (3, 7) };
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
    tell(&counts.losses) + usize::from(blind.losses.is_empty())
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
    for line in counts.wrong.iter().chain(&counts.skipped) {
        println!("    {line}");
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
