//! The mica daemon.
fn main() {}
