//! The helper's side: makes the sandbox, starts the process in it, waits for its end.

mod base;
mod binds;
mod cgroup;
mod exec;
mod filter;
mod lent;
mod overlay;
mod process;
mod rights;
mod stubs;
mod supervise;
mod user;
mod walk;

pub use supervise::init_main;
