//! What came of it all, and what of that must not be.

use std::collections::BTreeMap;
use std::fmt;

use crate::soak::process::Holdings;
use crate::soak::tally::Tally;

/// How much more memory than after a quarter of the time the daemon may have in the end: this part of it, and so many MiB.
const GROWTH: (f64, u64) = (0.25, 48);

/// What came of a crowd's doings.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// What was done.
    pub tally: Tally,
    /// What the daemon had before, and when all were gone.
    pub before: Holdings,
    /// See `before`.
    pub after: Holdings,
    /// What its descriptors led to when all were gone.
    pub open: BTreeMap<String, usize>,
    /// What it had in the meantime, at a hundred times.
    pub curve: Vec<Holdings>,
    /// What is left of jobs in the store.
    pub scratch: Vec<String>,
    /// Blobs whose bytes are not those of their names.
    pub damaged: Vec<String>,
    /// The daemon's exit code when it was told to leave.
    pub exit: Option<i32>,
    /// How much was promised that had to hold in the end.
    pub kept: usize,
}

impl Report {
    /// The middle of the daemon's memory around this percentage of the time, in MiB.
    fn memory_at(&self, percent: usize) -> u64 {
        let middle = self.curve.len() * percent / 100;
        let around = self.curve.iter().skip(middle.saturating_sub(5)).take(10);
        let mut around: Vec<u64> = around.map(|holdings| holdings.memory).collect();
        around.sort_unstable();
        around.get(around.len() / 2).copied().unwrap_or_default()
    }

    /// Everything that must not be.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.tally.failures();
        if self.tally.broken_answers > 0 {
            problems.push(format!("{} answers of 500 and above", self.tally.broken_answers));
        }
        let (early, late) = (self.memory_at(25), self.memory_at(95));
        let bound = early + (early as f64 * GROWTH.0) as u64 + GROWTH.1;
        if late > bound {
            problems.push(format!(
                "the daemon grew from {early} MiB to {late} MiB, and {bound} MiB are the most"
            ));
        }
        if !self.after.is_within(&self.before) {
            problems.push(format!(
                "the daemon had {} before and has {} now: {:?}",
                self.before, self.after, self.open
            ));
        }
        problems.extend(
            self.scratch
                .iter()
                .map(|left| format!("left in the store: {left}")),
        );
        problems.extend(
            self.damaged
                .iter()
                .map(|blob| format!("the blob {blob} is damaged")),
        );
        if self.exit != Some(0) {
            problems.push(format!("the daemon left with {:?}", self.exit));
        }
        problems
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.tally)?;
        write!(f, "memory in MiB, from the first to the last tenth of the time:")?;
        for tenth in 0..10 {
            write!(f, " {}", self.memory_at(tenth * 10 + 5))?;
        }
        writeln!(f)?;
        writeln!(f, "before: {}", self.before)?;
        writeln!(f, "after: {}", self.after)?;
        write!(f, "{} promises held to the end and over a restart", self.kept)
    }
}
