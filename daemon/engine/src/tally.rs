//! What was done since the engine was opened, counted.

use std::sync::atomic::{AtomicU64, Ordering};

use mica_task::{Event, Reporter};

use crate::engine::Engine;

/// Counts of what builds do.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    built_bytes: AtomicU64,
    cache_hits: AtomicU64,
    cache_misses: AtomicU64,
}

/// What was done since the engine was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Bytes of blobs that came from registries.
    pub pulled_bytes: u64,
    /// Bytes of blobs that were sent to registries.
    pub pushed_bytes: u64,
    /// Bytes of the layers of images that were built.
    pub built_bytes: u64,
    /// Steps whose result was taken from the cache.
    pub cache_hits: u64,
    /// Steps that were carried out.
    pub cache_misses: u64,
    /// Prunes of images or of the build cache.
    pub prunes: u64,
    /// Bytes they gave back.
    pub reclaimed_bytes: u64,
}

impl Tally {
    fn hear(&self, event: &Event) {
        match event {
            Event::Done { cached: true, .. } => self.cache_hits.fetch_add(1, Ordering::Relaxed),
            Event::Executing { .. } => self.cache_misses.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
    }

    /// An image was built that has so many bytes.
    pub(crate) fn built(&self, bytes: u64) {
        self.built_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Engine {
    /// What was done since it was opened.
    pub fn counted(&self) -> Counted {
        let (pulled_bytes, pushed_bytes) = self.registries().traffic();
        let (prunes, reclaimed_bytes) = self.feed().pruned();
        let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let tally = self.tally();
        Counted {
            pulled_bytes,
            pushed_bytes,
            built_bytes: count(&tally.built_bytes),
            cache_hits: count(&tally.cache_hits),
            cache_misses: count(&tally.cache_misses),
            prunes,
            reclaimed_bytes,
        }
    }

    /// A reporter that counts what it passes on.
    pub(crate) fn counting(&self, to: &Reporter) -> Reporter {
        let (engine, to) = (self.clone(), to.clone());
        Reporter::new(move |event| {
            engine.tally().hear(&event);
            to.report(event);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_hits_or_misses() {
        let tally = Tally::default();
        let step = 1;
        let done = |cached| Event::Done {
            step,
            cached,
            state: String::new(),
        };
        for event in [
            Event::Executing {
                step,
                container: true,
            },
            done(false),
            done(true),
            done(true),
        ] {
            tally.hear(&event);
        }
        assert_eq!(tally.cache_hits.load(Ordering::Relaxed), 2);
        assert_eq!(tally.cache_misses.load(Ordering::Relaxed), 1);
    }
}
