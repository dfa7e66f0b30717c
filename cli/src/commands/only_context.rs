//! The only context there is: the daemon that flags and variables name.

/// What docker calls it.
pub(super) const DEFAULT: &str = "default";

/// What is said of a context that is not there.
pub(super) fn absent(name: &str) -> String {
    format!("context {name:?}: context not found: the only one is {DEFAULT}")
}
