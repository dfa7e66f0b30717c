//! The questions, in the order they are asked: what changes something comes after what looks at it.

mod archives;
mod build;
mod lists;
mod lookups;
mod names;
mod registries;
mod system;
mod versions;

use crate::ask::Ask;
use crate::fixture::Fixture;

/// All questions.
pub(crate) fn all(fixture: &Fixture) -> Vec<Ask> {
    [
        system::asks(),
        lookups::asks(),
        archives::load(fixture),
        lists::asks(fixture),
        names::look(fixture),
        versions::asks(),
        archives::save(fixture),
        names::tag(fixture),
        system::events(),
        registries::asks(fixture),
        archives::import(),
        names::remove(fixture),
        build::asks(fixture),
        system::last(),
    ]
    .concat()
}
