//! The harness of the end-to-end tests: a daemon of their own, the real binaries, folders to build, registries.

pub mod conformance;
mod context;
mod daemon;
mod debian;
mod faulty_pushes;
pub mod http;
mod listener;
#[path = "../../store/tests/powercut/mounts.rs"]
mod mounts;
mod output;
pub mod registry;
mod request;
pub mod servers;
mod small_disk;
pub mod soak;

pub use context::Context;
pub use daemon::{Daemon, Options, binary};
pub use debian::{copy_apt, debian_rootfs, put_debian_rootfs};
pub use faulty_pushes::FaultyPushes;
pub use listener::{Heard, Listener};
pub use output::{Ran, run, run_fed};
pub use registry::FakeRegistry;
pub use request::Answer;
pub use small_disk::SmallDisk;
