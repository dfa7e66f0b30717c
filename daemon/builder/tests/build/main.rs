//! Whole builds with a real store, images that are made up, and processes that are only played.

#![allow(clippy::unwrap_used, clippy::result_large_err, reason = "these are tests")]

mod archives;
mod cancelling;
mod checks;
mod config;
mod copying;
mod edits;
mod explaining;
mod failing;
mod files;
mod folder;
mod handing;
mod imports;
mod inline;
mod model;
mod mounting;
mod named;
mod parallel;
mod parents;
mod planning;
mod platforms;
mod refusals;
mod remote;
mod remotes;
mod verifying;
mod world;
