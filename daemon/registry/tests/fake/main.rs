//! The client against a registry in this process: what it promises, one test each.

#![allow(clippy::unwrap_used)]

mod blobs;
mod checks;
mod ghcr;
mod hurry;
mod manifests;
mod mounts;
mod parts;
mod pieces;
mod redirects;
mod search;
mod setting;
mod source;
mod tokens;
mod troubles;
mod uploads;
mod web;
