//! Runs one process in its own namespaces on an overlay of layer trees.
//!
//! [`run`] is the daemon's side: it starts a helper (the daemon's own program with
//! [`HELPER_ARGUMENT`]) and blocks until the process is over. [`init_main`] is the helper's side.
//! The helper makes the namespaces and every mount, so when it dies nothing is left behind.
//!
//! Needs root and Linux 5.12 (`mount_setattr(2)`) with seccomp filters.

mod error;
mod files;
mod group;
mod hidden;
mod hierarchy;
mod init;
mod limits;
mod outcome;
mod run;
mod seal;
mod spec;
mod sys;
mod wire;

pub use error::Error;
pub use files::{render_hosts, render_resolv_conf, resolv_conf_path};
pub use group::sweep_groups;
pub use hidden::Hidden;
pub use init::init_main;
pub use limits::Limits;
pub use outcome::{Exit, Outcome, Stream, Usage};
pub use run::{run, run_on};
pub use spec::{
    HELPER_ARGUMENT, MAX_HIDDEN, MAX_LOWERS, MountSpec, Network, Resource, Rlimit, Scratch, Security, Spec,
};
pub use sys::peer_groups;
