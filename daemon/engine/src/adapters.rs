//! Plugs the store and the sandbox into what the builder asks for.

pub(crate) mod exec;
pub(crate) mod images;
