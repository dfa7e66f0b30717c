//! Which rules are wanted, and whether findings are errors.

use std::collections::BTreeSet;

use thiserror::Error;

use crate::{directive::Directives, excerpt::of_word, lint::rule::Rule};

/// The build argument that overrules the directive.
pub const CHECK_ARG: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// How checks are configured, by the directive or a build argument.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checks {
    skip: Rules,
    experimental: Rules,
    /// Whether a finding fails the build.
    pub error: bool,
}

/// Some rules, or all there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Rules {
    all: bool,
    named: BTreeSet<Rule>,
}

/// A configuration of checks that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid check configuration \"{part}\", expected skip=RULE,RULE;error=true")]
pub struct ChecksError {
    /// The part that cannot be read.
    pub part: String,
}

impl Checks {
    /// Reads `skip=RULE,RULE;experimental=RULE;error=true`; `all` stands for every rule, and names of no rule mean
    /// nothing.
    ///
    /// # Errors
    /// Any other key, a part without `=`, an `error` that is neither true nor false.
    pub fn parse(text: &str) -> Result<Self, ChecksError> {
        let mut checks = Self::default();
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let wrong = || ChecksError { part: of_word(part) };
            let (key, value) = part.split_once('=').ok_or_else(wrong)?;
            match (key.trim(), value.trim()) {
                ("skip", rules) => checks.skip.add(rules),
                ("experimental", rules) => checks.experimental.add(rules),
                ("error", "true" | "True" | "TRUE" | "t" | "T" | "1") => checks.error = true,
                ("error", "false" | "False" | "FALSE" | "f" | "F" | "0") => checks.error = false,
                _ => return Err(wrong()),
            }
        }
        Ok(checks)
    }

    /// What holds for a file: the build argument `BUILDKIT_DOCKERFILE_CHECK` if it has a value, else the directive.
    ///
    /// # Errors
    /// As [`Checks::parse`].
    pub fn of(directives: &Directives, build_args: &[(String, Option<String>)]) -> Result<Self, ChecksError> {
        let given = build_args.iter().rev().find(|(name, _)| name == CHECK_ARG);
        let text = given
            .and_then(|(_, value)| value.as_deref())
            .or(directives.check.as_deref());
        text.map_or_else(|| Ok(Self::default()), Self::parse)
    }

    /// Whether findings of `rule` are wanted.
    #[must_use]
    pub fn wants(&self, rule: Rule) -> bool {
        if rule.is_experimental() {
            self.experimental.has(rule)
        } else {
            !self.skip.has(rule)
        }
    }

    /// Takes in what another configuration says of single rules; `error` stays as it is.
    pub(crate) fn join(&mut self, other: &Self) {
        self.skip.join(&other.skip);
        self.experimental.join(&other.experimental);
    }
}

impl Rules {
    fn add(&mut self, rules: &str) {
        if rules == "all" {
            self.all = true;
        } else {
            let names = rules.split(',').map(str::trim);
            self.named.extend(names.filter_map(Rule::named));
        }
    }

    fn has(&self, rule: Rule) -> bool {
        self.all || self.named.contains(&rule)
    }

    fn join(&mut self, other: &Self) {
        self.all |= other.all;
        self.named.extend(&other.named);
    }
}

#[cfg(test)]
mod tests {
    use super::{Checks, Rule};
    use crate::directive::Directives;

    #[test]
    fn checks_are_configured_by_rule_or_all_at_once() {
        let checks = Checks::parse("skip=UndefinedVar, FromAsCasing;error=true;").unwrap();
        assert!(!checks.wants(Rule::UndefinedVar) && !checks.wants(Rule::FromAsCasing));
        assert!(checks.wants(Rule::StageNameCasing) && checks.error);
        assert!(!Checks::parse("skip=all").unwrap().wants(Rule::UndefinedVar));
        assert!(!Checks::parse("").unwrap().error);
        for text in ["skip", "error=maybe", "x=y"] {
            assert!(Checks::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn experimental_rules_are_wanted_only_by_name() {
        let rule = Rule::InvalidDefinitionDescription;
        for (text, wanted) in [
            ("", false),
            ("experimental=all", true),
            ("experimental=InvalidDefinitionDescription", true),
            ("skip=all;experimental=all", true),
            ("experimental=UndefinedVar", false),
        ] {
            assert_eq!(Checks::parse(text).unwrap().wants(rule), wanted, "{text}");
        }
    }

    #[test]
    fn the_build_argument_overrules_the_directive() {
        let directives = Directives {
            check: Some("skip=UndefinedVar".to_owned()),
            ..Directives::default()
        };
        let with = |value: Option<&str>| {
            let args = [("BUILDKIT_DOCKERFILE_CHECK".to_owned(), value.map(str::to_owned))];
            Checks::of(&directives, &args).unwrap()
        };
        assert!(with(Some("error=true")).error);
        assert!(with(Some("error=true")).wants(Rule::UndefinedVar));
        assert!(!with(None).wants(Rule::UndefinedVar));
        assert!(!Checks::of(&directives, &[]).unwrap().wants(Rule::UndefinedVar));
    }
}
