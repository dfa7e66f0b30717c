//! What the checks are told about the build the file is for.

use std::collections::BTreeMap;

use crate::{ignore::IgnorePatterns, lint::checks::Checks};

/// What is known of a build before any step of it is done. What is left empty is not known, and rules that would
/// need it find nothing.
#[derive(Debug, Clone, Default)]
pub struct Facts<'a> {
    /// Which rules are wanted.
    pub checks: Checks,
    /// `--build-arg`, the later of two with one name counting; without a value it is as good as not given.
    pub build_args: &'a [(String, Option<String>)],
    /// What the image is for, as `os/architecture[/variant]` in Go's names.
    pub target_platform: &'a str,
    /// Where it is built, likewise.
    pub build_platform: &'a str,
    /// The name of the stage that is built; the last one's if `None`.
    pub target: Option<&'a str>,
    /// The numbers of the stages that are carried out, ascending; all of them if `None`. What instructions say is judged only
    /// there, as BuildKit never looks at the others.
    pub stages: Option<&'a [usize]>,
    /// What is known of the images that stages are based on, by the stage's number.
    pub bases: BTreeMap<usize, Base>,
    /// What of the build context is left out; `None` if there is no ignore file.
    pub ignore: Option<&'a IgnorePatterns>,
}

/// What is known of an image that a stage is based on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Base {
    /// Its variables, all of them.
    pub variables: Vec<(String, String)>,
    /// What it is for, as `os/architecture[/variant]`.
    pub platform: Option<String>,
    /// Whether its config names a shell.
    pub has_shell: bool,
}

impl Facts<'_> {
    /// The value of a build argument.
    pub(crate) fn build_arg(&self, name: &str) -> Option<&str> {
        let mut given = self.build_args.iter().rev();
        given
            .find(|(given, _)| given == name)
            .and_then(|(_, value)| value.as_deref())
    }

    /// Whether a stage is carried out.
    pub(crate) fn carries_out(&self, stage: usize) -> bool {
        self.stages
            .is_none_or(|stages| stages.binary_search(&stage).is_ok())
    }
}
