//! What micad serves is what its description says, and whatever it is asked it stands.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at what it did not expect, and says what it left out"
)]

mod answers;
mod client;
mod fuzz;
mod schema;
mod world;
