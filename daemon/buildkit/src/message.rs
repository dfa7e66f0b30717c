//! The messages on the wire. Only what is read or written here is named: protocol buffers pass over the rest. Numbers and
//! types are BuildKit's (its `.proto` files), the names follow them in Rust's spelling.

pub mod content;
pub mod control;
pub mod gateway;
pub mod session;
pub mod solver;
