//! The only builder there is: the daemon.

use crate::error::Error;
use crate::program;

/// What buildx calls it.
pub(super) const BUILDER: &str = "default";

/// Fails if a builder other than the daemon is named.
pub(super) fn check(name: &str) -> Result<(), Error> {
    if matches!(name, "" | BUILDER | "mica") {
        return Ok(());
    }
    let program = program::name();
    Err(Error::Refused {
        message: format!(
            "no builder {name:?} found: {program} has one builder, {BUILDER}, which is its daemon; leave --builder and \
             `buildx use` out"
        ),
    })
}
