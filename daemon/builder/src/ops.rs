//! What each instruction does.

pub(crate) mod add;
pub(crate) mod config;
pub(crate) mod copy;
pub(crate) mod mount;
pub(crate) mod parents;
pub(crate) mod remote;
pub(crate) mod run;
pub(crate) mod sources;
pub(crate) mod transfer;
pub(crate) mod workdir;
