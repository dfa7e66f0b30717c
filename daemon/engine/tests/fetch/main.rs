//! Builds with sources that are not in the context, against servers on loopback.

mod files;
mod git;
mod layout;
mod server;
mod world;
