//! What was done, how long it took, and what went wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Failures that are kept word for word; more are counted.
const KEPT: usize = 40;

/// What all clients did.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    took: BTreeMap<&'static str, Vec<u32>>,
    failures: Vec<String>,
    failed: usize,
    /// How often another prune was running, which is no failure.
    pub(super) prunes_refused: usize,
    /// Answers with 500 and above.
    pub(super) broken_answers: usize,
}

impl Tally {
    pub(super) fn done(&mut self, verb: &'static str, took: Duration) {
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        self.took.entry(verb).or_default().push(micros);
    }

    pub(super) fn failed(&mut self, failure: String) {
        self.failed += 1;
        if self.failures.len() < KEPT {
            self.failures.push(failure);
        }
    }

    /// What went wrong, the first of it word for word.
    pub(super) fn failures(&self) -> Vec<String> {
        let more = self.failed - self.failures.len();
        let more = (more > 0).then(|| format!("and {more} more failures"));
        self.failures.iter().cloned().chain(more).collect()
    }

    /// How many verbs were done.
    pub(super) fn count(&self) -> usize {
        self.took.values().map(Vec::len).sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<16} {:>8} {:>10} {:>10} {:>10}",
            "verb", "count", "p50 ms", "p99 ms", "most ms"
        )?;
        for (verb, took) in &self.took {
            let mut sorted = took.clone();
            sorted.sort_unstable();
            let at = |percent: usize| {
                let place = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
                f64::from(sorted.get(place).copied().unwrap_or_default()) / 1000.0
            };
            writeln!(
                f,
                "{verb:<16} {:>8} {:>10.1} {:>10.1} {:>10.1}",
                sorted.len(),
                at(50),
                at(99),
                at(100)
            )?;
        }
        write!(
            f,
            "{} verbs, {} failures, {} answers of 500 and above, {} prunes refused as another was running",
            self.count(),
            self.failed,
            self.broken_answers,
            self.prunes_refused
        )
    }
}
