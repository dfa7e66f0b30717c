//! Stores that are damaged in every way, and what a repair makes of it.
// only functions marked as tests may unwrap by themselves
#![allow(clippy::unwrap_used)]

mod documents;
mod layers;
#[path = "../support/mod.rs"]
mod support;
mod world;
