//! The variables of FROM lines: automatic ones, and ARGs before the first FROM.

use crate::{
    file::Dockerfile,
    lint::{facts::Facts, scope::Scope},
};

/// What FROM lines see.
pub(crate) struct Globals {
    /// The variables.
    pub(crate) scope: Scope,
    /// The file's escape character.
    pub(crate) escape: char,
    /// Whether all defaults could be expanded.
    pub(crate) sound: bool,
}

impl Globals {
    /// Evaluates the global ARGs of `file`, with build arguments or as if none were given.
    pub(crate) fn of(file: &Dockerfile, facts: &Facts<'_>, with_build_args: bool) -> Self {
        let escape = file.directives.escape;
        let mut globals = Self {
            scope: automatic(file, facts),
            escape,
            sound: true,
        };
        for arg in file.globals.iter().flat_map(|line| &line.args) {
            let given = facts.build_arg(&arg.name).filter(|_| with_build_args);
            globals.scope.declare(&arg.name);
            match (given, &arg.default) {
                (Some(value), _) => globals.scope.set(&arg.name, value),
                (None, Some(default)) => match globals.scope.expand(default, escape) {
                    Some(expanded) => globals.scope.assign(&arg.name, &expanded),
                    None => globals.sound = false,
                },
                (None, None) => {}
            }
        }
        globals
    }
}

/// The ARGs every file has without declaring them, which build arguments may override.
fn automatic(file: &Dockerfile, facts: &Facts<'_>) -> Scope {
    let mut scope = Scope::default();
    let mut set = |name: &str, value: &str| scope.set(name, facts.build_arg(name).unwrap_or(value));
    for (prefix, platform) in [("BUILD", facts.build_platform), ("TARGET", facts.target_platform)] {
        let mut parts = platform.splitn(3, '/').chain(std::iter::repeat(""));
        set(&format!("{prefix}PLATFORM"), platform);
        for suffix in ["OS", "ARCH", "VARIANT"] {
            set(&format!("{prefix}{suffix}"), parts.next().unwrap_or_default());
        }
        set(&format!("{prefix}OSVERSION"), "");
    }
    let last = file.stages.last().and_then(|stage| stage.from.name.as_deref());
    set("TARGETSTAGE", facts.target.or(last).unwrap_or("default"));
    scope
}
