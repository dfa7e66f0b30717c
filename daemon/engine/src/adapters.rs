//! Plugs the store and the sandbox into what the builder asks for.

mod agent;
pub(crate) mod exec;
pub(crate) mod images;
mod mounts;
