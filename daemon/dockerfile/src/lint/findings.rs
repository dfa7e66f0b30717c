//! What the checks found, as far as it is wanted.

use std::collections::BTreeMap;

use crate::{
    directive,
    instruction::Span,
    lint::{checks::Checks, rule::Rule},
};

/// Most findings that are kept: whoever has more has no use for them, and the file may be hostile.
const MAX_FINDINGS: usize = 1000;

/// A finding of the checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The lines it is about.
    pub span: Span,
    /// The rule; it knows its name, its description and the address of its page.
    pub rule: Rule,
    /// What was found.
    pub text: String,
}

/// Collects findings.
pub(crate) struct Findings<'a> {
    checks: &'a Checks,
    /// Comments directly above instructions, by the instruction's first line.
    comments: &'a BTreeMap<u32, Vec<String>>,
    /// What holds for the instruction on the line asked for last.
    own: Option<(u32, Checks)>,
    found: Vec<Warning>,
}

impl<'a> Findings<'a> {
    pub(crate) fn new(checks: &'a Checks, comments: &'a BTreeMap<u32, Vec<String>>) -> Self {
        Self {
            checks,
            comments,
            own: None,
            found: Vec::new(),
        }
    }

    /// Notes a finding, once, if the file wants it and no comment above the instruction says otherwise.
    pub(crate) fn add(&mut self, span: Span, rule: Rule, text: impl FnOnce() -> String) {
        if self.is_full() || !self.wants(span, rule) {
            return;
        }
        let text = text();
        let warning = Warning { span, rule, text };
        if !self.found.contains(&warning) {
            self.found.push(warning);
        }
    }

    /// Whether nothing more is noted.
    pub(crate) fn is_full(&self) -> bool {
        self.found.len() >= MAX_FINDINGS
    }

    fn wants(&mut self, span: Span, rule: Rule) -> bool {
        let Some(comments) = self.comments.get(&span.start) else {
            return self.checks.wants(rule);
        };
        match &self.own {
            Some((line, checks)) if *line == span.start => checks.wants(rule),
            _ => {
                let checks = with_comments(self.checks, comments);
                let wants = checks.wants(rule);
                self.own = Some((span.start, checks));
                wants
            }
        }
    }

    /// All of them in the order of lines.
    pub(crate) fn finish(mut self) -> Vec<Warning> {
        self.found.sort_by_key(|warning| warning.span.start);
        self.found
    }
}

/// The configuration with what `check=` comments above an instruction add for it alone.
fn with_comments(checks: &Checks, comments: &[String]) -> Checks {
    let mut checks = checks.clone();
    comments
        .iter()
        .filter_map(|comment| directive::pair(comment))
        .filter(|(name, _)| name.eq_ignore_ascii_case("check"))
        .filter_map(|(_, value)| Checks::parse(value).ok())
        .for_each(|own| checks.join(&own));
    checks
}
