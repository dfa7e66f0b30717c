//! What every long piece of work shares: events, cancellation.

pub mod cancel;
pub mod event;
pub mod place;
pub mod reporter;
pub mod transfer;

pub use cancel::{Cancel, Cancellable, Cancelled};
pub use event::{Event, StepId, Stream};
pub use place::{Chore, Finding, PlannedStep, StagePlace, StagePlatform};
pub use reporter::Reporter;
pub use transfer::{LayerState, TransferEvent};
