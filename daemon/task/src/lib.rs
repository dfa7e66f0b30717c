//! What every long piece of work shares: events, cancellation.

pub mod cancel;
pub mod event;
pub mod reporter;

pub use cancel::{Cancel, Cancellable, Cancelled};
pub use event::{Event, StepId, Stream};
pub use reporter::Reporter;
