//! The daemon as its clients see it: the real program, on a socket of its own, with a real store.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "everything in here is a test, and a skipped one says so"
)]

mod archive;
mod build;
mod connection;
mod crowd;
mod directory;
mod docker;
mod http;
mod images;
mod life;
mod locked;
mod micad;
mod prune;
mod raw;
mod rights;
mod running;
mod secrets;
mod status;
mod system;
mod transfer;
mod usage;
mod wrong;
