//! The client against a registry in this process: what it promises, one test each.

mod blobs;
mod hurry;
mod pieces;
mod setting;
mod source;
mod uploads;
