//! mica as its users see it: the real binaries, a daemon per test, real clients.

mod build;
mod cache;
mod crash;
mod debian;
mod docker;
mod house;
mod images;
mod memory;
mod start;
