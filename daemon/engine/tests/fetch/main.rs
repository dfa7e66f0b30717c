//! Builds with sources that are not in the context, against servers on loopback.

#![allow(clippy::unwrap_used)]

mod files;
mod git;
mod layout;
mod server;
mod world;
