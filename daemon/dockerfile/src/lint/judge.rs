//! What instructions are judged with, and the state they are judged in.

use crate::{
    instruction::{Located, Onbuild},
    lint::{facts::Facts, findings::Findings, globals::Globals, rule::Rule, scope::Scope},
};

/// What is known at one place of a stage.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// The variables.
    pub(crate) scope: Scope,
    /// Whether there was a WORKDIR.
    pub(crate) has_workdir: bool,
    /// Whether a shell was chosen.
    pub(crate) has_shell: bool,
    /// What stages on this one do first: texts and what they say.
    pub(crate) triggers: Vec<Onbuild>,
}

/// All an instruction is judged with.
pub(crate) struct Judge<'a, 'b> {
    /// What is known of the build.
    pub(crate) facts: &'a Facts<'a>,
    /// What FROM lines see.
    pub(crate) globals: &'a Globals,
    /// What was found so far.
    pub(crate) findings: &'a mut Findings<'b>,
}

impl Judge<'_, '_> {
    /// Notes a finding about an instruction.
    pub(crate) fn add(&mut self, located: &Located, rule: Rule, text: impl FnOnce() -> String) {
        self.findings.add(located.span, rule, text);
    }
}
