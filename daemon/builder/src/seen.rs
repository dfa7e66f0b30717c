//! Which states builds of this process went through, so that a step that makes no layer can be told from one done before.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use mica_oci::Digest;

/// How many states are remembered before the memory starts anew.
const LIMIT: usize = 100_000;

/// The states builds went through so far. Only for what people are told: nothing is done differently for it.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<HashSet<Digest>>);

impl Seen {
    /// Remembers a state; says whether it was known.
    pub(crate) fn note(&self, state: Digest) -> bool {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if states.len() >= LIMIT {
            states.clear();
        }
        !states.insert(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_known_the_second_time() {
        let seen = Seen::default();
        let [a, b] = [b"a", b"b"].map(|bytes| Digest::of(bytes));
        assert_eq!([seen.note(a), seen.note(a), seen.note(b)], [false, true, false]);
    }
}
