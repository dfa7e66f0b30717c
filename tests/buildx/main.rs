//! BuildKit's own clients against a daemon: docker's plugin buildx, buildctl, and the crate bollard.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at what it did not expect, and says what it left out"
)]

mod asking;
mod bake;
mod buildctl;
mod builds;
mod client;
mod ending;
mod failures;
mod history;
mod inputs;
mod layouts;
mod outputs;
mod registries;
mod whole;
mod with_bollard;
