//! Checks that find what is legal but probably not meant. The rules, their names and their texts are BuildKit's.
//!
//! Some look at the text alone, others need to know values, the ignore file or base images: [`Facts`] says what is
//! known, and what is not known is not judged.

mod base;
mod base_name;
mod casing;
mod checks;
mod comment;
mod facts;
mod findings;
mod from;
mod globals;
mod instruction;
mod judge;
mod platform;
mod reach;
mod report;
mod rule;
mod scope;
mod secret;
mod stage;
mod words;

pub use checks::{CHECK_ARG, Checks, ChecksError};
pub use facts::{Base, Facts};
pub use findings::Warning;
pub use reach::needed_stages;
pub use report::{excerpt, render, summary};
pub use rule::Rule;

pub(crate) use comment::description;
pub(crate) use globals::Globals;
pub(crate) use scope::Scope;

use crate::{file::Dockerfile, instruction::Span, lint::findings::Findings};

/// What the checks find in `file`, in the order of lines; a thousand findings at most.
#[must_use]
pub fn check(file: &Dockerfile, facts: &Facts<'_>) -> Vec<Warning> {
    let mut findings = Findings::new(&facts.checks, &file.comments);
    for &line in &file.empty_continuations {
        let span = Span {
            start: line,
            end: line,
        };
        findings.add(span, Rule::NoEmptyContinuation, || {
            "Empty continuation line".to_owned()
        });
    }
    comment::judge(file, &mut findings);
    casing::judge(file, &mut findings);
    from::judge_names(file, &mut findings);
    let globals = Globals::of(file, facts, true);
    from::judge_defaults(file, facts, &mut findings);
    from::judge_values(file, &globals, &mut findings);
    stage::judge(file, facts, &globals, &mut findings);
    findings.finish()
}
