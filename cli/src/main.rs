//! The mica command line.
fn main() {}
