//! The harness of the end-to-end tests: a daemon of their own, the real binaries, folders to build.

mod context;
mod daemon;
mod output;
pub mod registry;

pub use context::Context;
pub use daemon::{Daemon, binary};
pub use output::{Ran, run};
pub use registry::FakeRegistry;
