//! How a build goes on, as people know it from buildx: on a terminal rows that change, elsewhere lines.

mod ending;
mod kind;
mod palette;
mod plain;
mod screen;
mod tail;
mod trace;
mod view;

pub(crate) use kind::Kind;
pub(crate) use view::{End, View, is_status};
