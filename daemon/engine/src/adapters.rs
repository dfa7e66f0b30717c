//! Plugs the store, the network and the sandbox into what the builder asks for.

mod agent;
pub(crate) mod caches;
mod elsewhere;
pub(crate) mod exec;
pub(crate) mod fetch;
mod git;
mod git_program;
pub(crate) mod images;
mod kept;
mod layout;
mod mounts;
