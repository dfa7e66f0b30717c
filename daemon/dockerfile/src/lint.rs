//! Checks that find what is legal but probably not meant; they look at the text alone.
//!
//! The rules and their names are BuildKit's. Those that need to know values or images are not here:
//! UndefinedVar, UndefinedArgInFrom, InvalidDefaultArgInFrom, InvalidBaseImagePlatform, WorkdirRelativePath,
//! CopyIgnoredFile.

use std::collections::HashSet;

use thiserror::Error;

use crate::{
    excerpt::of_word,
    file::{Dockerfile, Stage, Warning},
    instruction::{Command, Instruction, Located, Span},
    keyvalue,
    statement::Statement,
    word,
};

/// Words that name secrets.
const SECRET_WORDS: [&str; 10] = [
    "apikey",
    "auth",
    "credential",
    "credentials",
    "key",
    "password",
    "pword",
    "passwd",
    "secret",
    "token",
];

/// How checks are configured, by the directive or a build argument.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checks {
    skip: Vec<String>,
    skip_all: bool,
    /// Whether a finding fails the build.
    pub error: bool,
}

/// A configuration of checks that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid check configuration \"{part}\", expected skip=RULE,RULE;error=true")]
pub struct ChecksError {
    /// The part that cannot be read.
    pub part: String,
}

impl Checks {
    /// Reads `skip=RULE,RULE;error=true`; `skip=all` skips every rule, `experimental=` is read and left aside.
    ///
    /// # Errors
    /// Any other key, a part without `=`, an `error` that is neither true nor false.
    pub fn parse(text: &str) -> Result<Self, ChecksError> {
        let mut checks = Self::default();
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let wrong = || ChecksError { part: of_word(part) };
            let (key, value) = part.split_once('=').ok_or_else(wrong)?;
            match (key.trim(), value.trim()) {
                ("skip", "all") => checks.skip_all = true,
                ("skip", rules) => checks
                    .skip
                    .extend(rules.split(',').map(|rule| rule.trim().to_owned())),
                ("experimental", _) => {}
                ("error", "true" | "1") => checks.error = true,
                ("error", "false" | "0") => checks.error = false,
                _ => return Err(wrong()),
            }
        }
        Ok(checks)
    }

    /// Whether findings of `rule` are not wanted.
    #[must_use]
    pub fn skips(&self, rule: &str) -> bool {
        self.skip_all || self.skip.iter().any(|skipped| skipped == rule)
    }
}

/// Adds the findings in `file` to those it has, in the order of lines.
pub(crate) fn add_warnings(file: &mut Dockerfile) {
    let mut findings = Findings(std::mem::take(&mut file.warnings));
    findings.casing(file);
    let mut names: HashSet<&str> = HashSet::new();
    for stage in &file.stages {
        findings.from(stage, &names);
        names.extend(stage.from.name.as_deref());
        findings.repeated(stage);
        let own_shell = stage
            .instructions
            .iter()
            .any(|l| matches!(l.instruction, Instruction::Shell(_)));
        for located in &stage.instructions {
            findings.instruction(located, own_shell, file.directives.escape);
        }
    }
    for global in &file.globals {
        findings.secrets(
            "ARG",
            global.args.iter().map(|arg| arg.name.as_str()),
            global.span,
        );
    }
    findings.0.sort_by_key(|warning| warning.span.start);
    file.warnings = findings.0;
}

/// What was found so far.
struct Findings(Vec<Warning>);

impl Findings {
    fn add(&mut self, span: Span, rule: &'static str, text: String) {
        self.0.push(Warning { span, rule, text });
    }

    /// Keywords spelled in another case than most.
    fn casing(&mut self, file: &Dockerfile) {
        let globals = file.globals.iter().map(|line| (line.span, line.source.as_str()));
        let stages = file.stages.iter().flat_map(|stage| {
            let own = stage
                .instructions
                .iter()
                .map(|located| (located.span, located.source.as_str()));
            std::iter::once((stage.span, stage.source.as_str())).chain(own)
        });
        let words: Vec<(Span, &str)> = globals
            .chain(stages)
            .map(|(span, source)| (span, word::first(source).0))
            .collect();
        let is_lower = |word: &str| !word.bytes().any(|b| b.is_ascii_uppercase());
        let is_upper = |word: &str| !word.bytes().any(|b| b.is_ascii_lowercase());
        let lower = words.iter().filter(|(_, word)| is_lower(word)).count();
        let upper = words.iter().filter(|(_, word)| is_upper(word)).count();
        for (span, word) in words {
            let (fits, majority) = if lower > upper {
                (is_lower(word), "lowercase")
            } else {
                (is_upper(word), "uppercase")
            };
            if !fits {
                let text =
                    format!("Command '{word}' should match the case of the command majority ({majority})");
                self.add(span, "ConsistentInstructionCasing", text);
            }
        }
    }

    fn from(&mut self, stage: &Stage, earlier: &HashSet<&str>) {
        let words: Vec<&str> = stage.source.split_whitespace().collect();
        if let (Some(name), [keyword, .., as_word, spelled]) = (&stage.from.name, words.as_slice()) {
            let spelled = of_word(spelled);
            if spelled.bytes().any(|b| b.is_ascii_uppercase()) {
                self.add(
                    stage.span,
                    "StageNameCasing",
                    format!("Stage name '{spelled}' should be lowercase"),
                );
            }
            let is_lower = |word: &str| word.bytes().all(|b| b.is_ascii_lowercase());
            if is_lower(keyword) != is_lower(as_word) {
                let text = format!("'{as_word}' and '{keyword}' keywords' casing do not match");
                self.add(stage.span, "FromAsCasing", text);
            }
            if earlier.contains(name.as_str()) {
                let text = format!("Duplicate stage name '{spelled}', stage names should be unique");
                self.add(stage.span, "DuplicateStageName", text);
            }
            if matches!(name.as_str(), "context" | "scratch") {
                let text = format!("Stage name should not use the same name as reserved stage \"{name}\"");
                self.add(stage.span, "ReservedStageName", text);
            }
        }
        match stage.from.platform.as_deref() {
            Some("$TARGETPLATFORM" | "${TARGETPLATFORM}") => {
                let text = "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the \
                            default behavior";
                self.add(stage.span, "RedundantTargetPlatform", text.to_owned());
            }
            Some(platform) if !platform.contains('$') => {
                let text = format!(
                    "FROM --platform flag should not use constant value \"{}\"",
                    of_word(platform)
                );
                self.add(stage.span, "FromPlatformFlagConstDisallowed", text);
            }
            _ => {}
        }
    }

    /// Instructions of which only the last counts.
    fn repeated(&mut self, stage: &Stage) {
        for keyword in ["CMD", "ENTRYPOINT", "HEALTHCHECK"] {
            let all: Vec<Span> = stage
                .instructions
                .iter()
                .filter(|located| located.instruction.keyword() == keyword)
                .map(|located| located.span)
                .collect();
            for &span in all.split_last().map_or(&[][..], |(_, overruled)| overruled) {
                let text = format!(
                    "Multiple {keyword} instructions should not be used in the same stage because only the last \
                     one will be used"
                );
                self.add(span, "MultipleInstructionsDisallowed", text);
            }
        }
    }

    fn instruction(&mut self, located: &Located, own_shell: bool, escape: char) {
        let span = located.span;
        let keyword = located.instruction.keyword();
        match &located.instruction {
            Instruction::Cmd(Command::Shell(_)) | Instruction::Entrypoint(Command::Shell(_))
                if !own_shell =>
            {
                let text = format!(
                    "JSON arguments recommended for {keyword} to prevent unintended behavior related to OS signals"
                );
                self.add(span, "JSONArgsRecommended", text);
            }
            Instruction::Maintainer(_) => {
                let text = "Maintainer instruction is deprecated in favor of using label";
                self.add(span, "MaintainerDeprecated", text.to_owned());
            }
            Instruction::Env(pairs) => {
                self.legacy(located, escape);
                self.secrets(keyword, pairs.iter().map(|(name, _)| name.as_str()), span);
            }
            Instruction::Label(_) => self.legacy(located, escape),
            Instruction::Arg(args) => self.secrets(keyword, args.iter().map(|arg| arg.name.as_str()), span),
            Instruction::Expose(words) => words.iter().for_each(|word| self.port(word, span)),
            _ => {}
        }
    }

    fn legacy(&mut self, located: &Located, escape: char) {
        let Ok(statement) = Statement::split(&located.source) else {
            return;
        };
        if keyvalue::is_legacy(&word::with_quotes(statement.rest, escape)) {
            let keyword = statement.keyword;
            let text = format!(
                "\"{keyword} key=value\" should be used instead of legacy \"{keyword} key value\" format"
            );
            self.add(located.span, "LegacyKeyValueFormat", text);
        }
    }

    fn secrets<'a>(&mut self, keyword: &str, names: impl Iterator<Item = &'a str>, span: Span) {
        for name in names {
            let lower = name.to_ascii_lowercase();
            let mut parts = lower.split('_');
            if parts.clone().any(|part| SECRET_WORDS.contains(&part)) && !parts.any(|part| part == "public") {
                let text = format!(
                    "Do not use ARG or ENV instructions for sensitive data ({keyword} \"{}\")",
                    of_word(name)
                );
                self.add(span, "SecretsUsedInArgOrEnv", text);
            }
        }
    }

    fn port(&mut self, word: &str, span: Span) {
        if word.contains('$') {
            return;
        }
        let (port, protocol) = word.split_once('/').unwrap_or((word, ""));
        if protocol.bytes().any(|b| b.is_ascii_uppercase()) {
            let text = format!(
                "Defined protocol '{}' in EXPOSE instruction should be lowercase",
                of_word(word)
            );
            self.add(span, "ExposeProtoCasing", text);
        }
        if port.contains(':') {
            let text = format!(
                "EXPOSE instruction should not define an IP address or host-port mapping, found '{}'",
                of_word(word)
            );
            self.add(span, "ExposeInvalidFormat", text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Checks;
    use crate::Dockerfile;

    fn rules(text: &str) -> Vec<(u32, &'static str)> {
        let file = Dockerfile::parse(text.as_bytes()).unwrap();
        file.warnings
            .iter()
            .map(|warning| (warning.span.start, warning.rule))
            .collect()
    }

    #[test]
    fn each_rule_finds_its_line_and_nothing_else() {
        for (text, want) in [
            ("FROM a AS b\nRUN c\nCMD [\"d\"]\n", &[][..]),
            ("FROM a AS B\n", &[(1, "StageNameCasing")]),
            ("FROM a as b\n", &[(1, "FromAsCasing")]),
            ("from a as b\n", &[]),
            ("FROM a\nRUN b \\\n\n c\n", &[(2, "NoEmptyContinuation")]),
            ("FROM a\nRUN b \\\n# fine\n c\n", &[]),
            ("FROM a\nRUN b\nrun c\n", &[(3, "ConsistentInstructionCasing")]),
            ("from a\nrun b\nRun c\n", &[(3, "ConsistentInstructionCasing")]),
            ("FROM a AS b\nFROM a AS b\n", &[(2, "DuplicateStageName")]),
            ("FROM a AS scratch\n", &[(1, "ReservedStageName")]),
            (
                "FROM a\nCMD b\nENTRYPOINT [\"c\"]\n",
                &[(2, "JSONArgsRecommended")],
            ),
            ("FROM a\nSHELL [\"x\"]\nCMD b\n", &[]),
            ("FROM a\nMAINTAINER b\n", &[(2, "MaintainerDeprecated")]),
            (
                "FROM a\nENV b c\nLABEL d e\n",
                &[(2, "LegacyKeyValueFormat"), (3, "LegacyKeyValueFormat")],
            ),
            (
                "FROM a\nCMD [\"b\"]\nCMD [\"c\"]\n",
                &[(2, "MultipleInstructionsDisallowed")],
            ),
            (
                "ARG TOKEN\nFROM a\nENV DB_PASSWORD=x KEYS=1\nARG PUBLIC_KEY\n",
                &[(1, "SecretsUsedInArgOrEnv"), (3, "SecretsUsedInArgOrEnv")],
            ),
            (
                "FROM --platform=linux/arm64 a\n",
                &[(1, "FromPlatformFlagConstDisallowed")],
            ),
            (
                "FROM --platform=$TARGETPLATFORM a\n",
                &[(1, "RedundantTargetPlatform")],
            ),
            ("FROM --platform=$BUILDPLATFORM a\n", &[]),
            (
                "FROM a\nEXPOSE 80/TCP 1:2 $x\n",
                &[(2, "ExposeInvalidFormat"), (2, "ExposeProtoCasing")],
            ),
        ] {
            assert_eq!(rules(text), want, "{text:?}");
        }
    }

    #[test]
    fn checks_are_configured_by_rule_or_all_at_once() {
        let checks = Checks::parse("skip=A, B;error=true;").unwrap();
        assert!(checks.skips("A") && checks.skips("B") && !checks.skips("C") && checks.error);
        assert!(Checks::parse("skip=all").unwrap().skips("X"));
        assert!(!Checks::parse("").unwrap().error);
        for text in ["skip", "error=maybe", "x=y"] {
            assert!(Checks::parse(text).is_err(), "{text}");
        }
    }
}
