//! Where registries are and how connections to them are made: all settings together, and real connections.

mod connections;
mod endpoints;
mod peers;
