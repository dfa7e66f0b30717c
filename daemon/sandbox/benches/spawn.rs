//! Milliseconds for one `true`.
fn main() {}
