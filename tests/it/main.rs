//! mica as its users see it: the real binaries, a daemon per test, real clients.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at what it did not expect, and says what it measured"
)]

mod attest;
mod budget;
mod build;
mod cache;
mod check;
mod context;
mod crash;
mod debian;
mod debug;
mod disk;
mod docker;
mod doctor;
#[path = "../../cli/tests/it/emulator.rs"]
mod emulator;
mod events;
mod events_crowd;
mod formats;
mod full_disk;
mod ghcr;
mod hostile;
mod house;
mod images;
mod leave;
mod limits;
mod logs;
mod memory;
mod metrics;
mod package;
mod progress;
mod prune;
#[path = "../../cli/tests/it/pseudo.rs"]
mod pseudo;
mod rebuild;
mod remote_cache;
mod search;
mod start;
mod sync;
mod versions;
