//! What a stage is based on.

use crate::{
    file::{Dockerfile, Stage},
    lint::globals::Globals,
};

/// What a stage is based on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BaseOf {
    /// Nothing.
    Scratch,
    /// An earlier stage, by number.
    Stage(usize),
    /// An image, or what cannot be told.
    Image(String),
}

impl BaseOf {
    /// The base of stage `number`.
    pub(crate) fn find(file: &Dockerfile, number: usize, globals: &Globals) -> Self {
        let Some(stage) = file.stages.get(number) else {
            return Self::Scratch;
        };
        let expanded = globals.scope.expand(&stage.from.image, globals.escape);
        let name = expanded.map(|expanded| expanded.value).unwrap_or_default();
        if let Some(earlier) = stage_named(&file.stages[..number], &name) {
            Self::Stage(earlier)
        } else if name == "scratch" {
            Self::Scratch
        } else {
            Self::Image(name)
        }
    }
}

/// The last of `stages` that is called `name`.
pub(crate) fn stage_named(stages: &[Stage], name: &str) -> Option<usize> {
    stages
        .iter()
        .rposition(|stage| stage.from.name.as_deref() == Some(name))
}
