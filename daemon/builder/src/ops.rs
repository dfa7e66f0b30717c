//! What each instruction does.

pub mod add;
pub mod config;
pub mod copy;
pub mod run;
pub mod transfer;
pub mod workdir;
