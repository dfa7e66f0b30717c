//! Power cuts and failing disks: what a store does to the disk is recorded, cut off at each point, and let fail at each point.
//!
//! `cargo test -p mica-store --test powercut -- --long` takes all points of a long life; without `--long` some of a short one.
// what is not expected ends the test
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::exit)]

mod check;
mod journal;
mod life;
mod model;
mod promise;
mod random;
mod replay;
mod sqlite;
#[path = "../support/mod.rs"]
mod support;

use std::time::Instant;

fn main() {
    let long = std::env::args().any(|argument| argument == "--long");
    sqlite::watch();
    let began = Instant::now();
    let mut wrong = 0;
    let (rounds, every) = if long { (25, 1) } else { (3, 7) };
    let counts = replay::run(rounds, every);
    println!(
        "power cuts: {} operations, {} crash points, {} outcomes, {} losses, {} s",
        counts.operations,
        counts.points,
        counts.outcomes,
        counts.losses.values().map(|(count, _)| count).sum::<usize>(),
        began.elapsed().as_secs()
    );
    for (kind, (count, example)) in &counts.losses {
        println!("  {count} × {kind}\n    {example}");
        wrong += count;
    }
    if wrong > 0 {
        std::process::exit(1);
    }
}
