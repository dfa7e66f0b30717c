//! The program as users meet it, against a daemon that is played by the tests.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod beside;
mod build;
mod buildx;
mod check;
mod context;
mod credentials;
mod docker;
mod emulator;
mod events;
mod fake;
mod handed;
mod home;
mod images;
mod lists;
mod login;
mod man;
mod pseudo;
mod registry;
mod search;
mod start;
mod system;
mod terminal;
mod usage;
