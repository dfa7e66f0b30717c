//! Where a piece of work sends its events.

use std::sync::Arc;

use crate::event::Event;

/// Takes events; clones lead to the same place. Reporting never blocks for long and never fails: where nobody listens,
/// events vanish.
#[derive(Clone)]
pub struct Reporter(Arc<dyn Fn(Event) + Send + Sync>);

impl Reporter {
    /// A reporter that hands every event to `sink`.
    pub fn new(sink: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(sink))
    }

    /// A reporter nobody listens to.
    pub fn silent() -> Self {
        Self::new(|_| {})
    }

    /// Tells of something.
    pub fn report(&self, event: Event) {
        (self.0)(event);
    }
}
