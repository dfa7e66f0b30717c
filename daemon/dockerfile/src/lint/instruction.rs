//! What single instructions say.

use crate::{
    excerpt::of_word,
    instruction::{Command, Instruction, Located},
    keyvalue,
    lint::{
        judge::{Judge, State},
        rule::Rule,
        secret::is_secret,
    },
    statement::Statement,
    word,
};

/// Judges an instruction in the state before it.
pub(crate) fn judge(judge: &mut Judge<'_, '_>, located: &Located, state: &State) {
    match &located.instruction {
        Instruction::Cmd(Command::Shell(_)) | Instruction::Entrypoint(Command::Shell(_))
            if !state.has_shell =>
        {
            let text = format!(
                "JSON arguments recommended for {} to prevent unintended behavior related to OS signals",
                spelling(located)
            );
            judge.add(located, Rule::JsonArgsRecommended, || text);
        }
        Instruction::Maintainer(_) => {
            let text = "Maintainer instruction is deprecated in favor of using label";
            judge.add(located, Rule::MaintainerDeprecated, || text.to_owned());
        }
        Instruction::Env(pairs) => {
            judge.legacy(located);
            for (name, _) in pairs {
                let expanded = state.scope.expand(name, judge.globals.escape);
                let name = expanded.map_or_else(|| name.clone(), |expanded| expanded.value);
                if is_secret(&name) {
                    judge.add(located, Rule::SecretsUsedInArgOrEnv, || secret_text("ENV", &name));
                }
            }
        }
        Instruction::Label(_) => judge.legacy(located),
        Instruction::Expose(written) => {
            for word in written {
                let expanded = state.scope.expand(word, judge.globals.escape);
                let words = expanded.map(|expanded| expanded.words).unwrap_or_default();
                words.iter().for_each(|word| judge.port(located, word));
            }
        }
        Instruction::Workdir(path) => judge.workdir(located, path, state),
        Instruction::Copy(copy) if copy.from.is_none() => {
            judge.ignored(located, "Copy", &copy.sources, state)
        }
        Instruction::Add(add) => judge.ignored(located, "Add", &add.sources, state),
        _ => {}
    }
}

/// The keyword as it is spelled.
pub(crate) fn spelling(located: &Located) -> &str {
    word::first(&located.source).0
}

/// What is said of a variable that seems to hold a secret.
pub(crate) fn secret_text(keyword: &str, name: &str) -> String {
    format!(
        "Do not use ARG or ENV instructions for sensitive data ({keyword} \"{}\")",
        of_word(name)
    )
}

impl Judge<'_, '_> {
    fn legacy(&mut self, located: &Located) {
        let Ok(statement) = Statement::split(&located.source) else {
            return;
        };
        if keyvalue::is_legacy(&word::with_quotes(statement.rest, self.globals.escape)) {
            let keyword = statement.spelling;
            let text = format!(
                "\"{keyword} key=value\" should be used instead of legacy \"{keyword} key value\" format"
            );
            self.add(located, Rule::LegacyKeyValueFormat, || text);
        }
    }

    /// ExposeProtoCasing, ExposeInvalidFormat.
    fn port(&mut self, located: &Located, word: &str) {
        let (port, protocol) = word.rsplit_once('/').unwrap_or((word, ""));
        if protocol.bytes().any(|b| b.is_ascii_uppercase()) {
            let text = format!(
                "Defined protocol '{}' in EXPOSE instruction should be lowercase",
                of_word(word)
            );
            self.add(located, Rule::ExposeProtoCasing, || text);
        }
        if port.contains(':') && !port.starts_with(':') {
            let text = format!(
                "EXPOSE instruction should not define an IP address or host-port mapping, found '{}'",
                of_word(word)
            );
            self.add(located, Rule::ExposeInvalidFormat, || text);
        }
    }

    /// WorkdirRelativePath: only the first WORKDIR can make the others depend on the base.
    fn workdir(&mut self, located: &Located, path: &str, state: &State) {
        let Some(path) = state.scope.expand(path, self.globals.escape) else {
            return;
        };
        if !state.has_workdir && path.certain && !path.value.starts_with('/') {
            let text = format!(
                "Relative workdir \"{}\" can have unexpected results if the base image changes",
                of_word(&path.value)
            );
            self.add(located, Rule::WorkdirRelativePath, || text);
        }
    }

    /// CopyIgnoredFile. With `!` patterns a path that is left out may still have something in it that is not.
    fn ignored(&mut self, located: &Located, verb: &str, sources: &[String], state: &State) {
        let Some(patterns) = self.facts.ignore.filter(|patterns| !patterns.has_reincludes()) else {
            return;
        };
        for source in sources {
            let Some(source) = state.scope.expand(source, self.globals.escape) else {
                continue;
            };
            if !source.certain || is_address(&source.value) {
                continue;
            }
            let path = crate::ignore::clean(&source.value);
            let relative = path.strip_prefix('/').unwrap_or(&path);
            let left_out = match relative {
                "." | "" => patterns.excludes_everything(),
                path => patterns.excludes(path),
            };
            if left_out {
                let text = format!(
                    "Attempting to {verb} file \"{}\" that is excluded by .dockerignore",
                    of_word(&path)
                );
                self.add(located, Rule::CopyIgnoredFile, || text);
            }
        }
    }
}

/// Whether a source is fetched and does not come from the build context.
fn is_address(source: &str) -> bool {
    source.contains("://") || source.starts_with("git@") || source.starts_with("github.com/")
}
