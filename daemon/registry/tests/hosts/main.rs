//! Where registries are and how connections to them are made: all settings together, and real connections.
// only functions marked as tests may unwrap by themselves
#![allow(clippy::unwrap_used)]

mod connections;
mod endpoints;
mod peers;
