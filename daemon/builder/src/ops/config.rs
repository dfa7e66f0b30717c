//! The instructions that only change the image's config.

use std::collections::BTreeMap;

use mica_dockerfile::{
    ArgDecl, Command, Healthcheck, Instruction, Onbuild, expand_word, expand_words, parse_expose,
    parse_signal,
};
use mica_oci::config::{EmptyObject, KeySet};

use crate::environment::Environment;
use crate::error::StepError;
use crate::options::Options;
use crate::quote::{duration, quote_list};
use crate::state::State;

/// What the instructions of a stage can look up beside the stage itself.
pub(crate) struct Scope<'a> {
    /// Global ARGs and automatic ones.
    pub globals: &'a Environment,
    /// What the build was asked for.
    pub options: &'a Options,
    /// The escape character of the file.
    pub escape: char,
}

impl Scope<'_> {
    /// Expands a word to one value.
    pub(crate) fn word(&self, state: &State, word: &str) -> Result<String, StepError> {
        Ok(expand_word(word, self.escape, &state.env.lookup())?)
    }

    fn pairs(&self, state: &State, pairs: &[(String, String)]) -> Result<Vec<(String, String)>, StepError> {
        let expand = |(name, value): &(String, String)| {
            let name = self.word(state, name)?;
            if name.is_empty() {
                return Err(StepError::Invalid("names cannot be blank".into()));
            }
            Ok((name, self.word(state, value)?))
        };
        pairs.iter().map(expand).collect()
    }
}

/// Carries out an instruction that makes no layer. Must not be called with one that does.
pub(crate) fn apply(
    instruction: &Instruction,
    state: &mut State,
    scope: &Scope<'_>,
) -> Result<(), StepError> {
    match instruction {
        Instruction::Arg(args) => arg(args, state, scope),
        Instruction::Env(pairs) => env(pairs, state, scope),
        Instruction::Label(pairs) => label(pairs, state, scope),
        Instruction::Cmd(command) => {
            cmd(command, state);
            Ok(())
        }
        Instruction::Entrypoint(command) => {
            entrypoint(command, state);
            Ok(())
        }
        Instruction::Expose(words) => expose(words, state, scope),
        Instruction::Healthcheck(check) => {
            healthcheck(check, state);
            Ok(())
        }
        Instruction::Maintainer(author) => {
            state.image.author.clone_from(author);
            state.note(format!("MAINTAINER {author}"));
            Ok(())
        }
        Instruction::Onbuild(Onbuild { text, .. }) => {
            state
                .image
                .config
                .on_build
                .get_or_insert_default()
                .push(text.clone());
            Ok(())
        }
        Instruction::Shell(shell) => {
            state.image.config.shell = Some(shell.clone());
            state.note(format!("SHELL [{}]", shell.join(" ")));
            Ok(())
        }
        Instruction::Stopsignal(signal) => {
            let signal = scope.word(state, signal)?;
            parse_signal(&signal).map_err(|e| StepError::Invalid(e.to_string()))?;
            state.note(format!("STOPSIGNAL {signal}"));
            state.image.config.stop_signal = signal;
            Ok(())
        }
        Instruction::User(user) => {
            let user = scope.word(state, user)?;
            state.note(format!("USER {user}"));
            state.image.config.user = user;
            Ok(())
        }
        Instruction::Volume(paths) => volume(paths, state, scope),
        Instruction::Add(_) | Instruction::Copy(_) | Instruction::Run(_) | Instruction::Workdir(_) => Err(
            StepError::Invalid(format!("{} makes a layer", instruction.keyword())),
        ),
    }
}

/// The argument list of a command: exec form as it is, shell form with the shell before it.
pub(crate) fn with_shell(command: &Command, state: &State) -> Vec<String> {
    match command {
        Command::Exec(argv) => argv.clone(),
        Command::Shell(text) => state.shell().into_iter().chain([text.clone()]).collect(),
    }
}

fn cmd(command: &Command, state: &mut State) {
    let argv = with_shell(command, state);
    state.note(format!("CMD {}", quote_list(&argv)));
    state.image.config.args_escaped = matches!(command, Command::Shell(_)) || !argv.is_empty();
    state.image.config.cmd = Some(argv).filter(|argv| !argv.is_empty());
    state.has_cmd = true;
}

/// A new entry point makes a CMD that came with the base meaningless.
fn entrypoint(command: &Command, state: &mut State) {
    let argv = with_shell(command, state);
    state.note(format!("ENTRYPOINT {}", quote_list(&argv)));
    state.image.config.entrypoint = Some(argv).filter(|argv| !argv.is_empty());
    if !state.has_cmd {
        state.image.config.cmd = None;
    }
}

fn arg(args: &[ArgDecl], state: &mut State, scope: &Scope<'_>) -> Result<(), StepError> {
    let mut texts = Vec::new();
    for ArgDecl { name, default } in args {
        // one after the other: `ARG x=1 y=$x` sees the new x
        let value = match (scope.options.build_arg(name), default) {
            (Some(value), _) => Some(value.to_owned()),
            (None, Some(default)) => Some(scope.word(state, default)?),
            (None, None) => scope.globals.get(name).map(str::to_owned),
        };
        match &value {
            Some(value) => {
                state.env.set(name, value);
                texts.push(format!("{name}={value}"));
            }
            None => texts.push(name.clone()),
        }
        state.args.push((name.clone(), value));
    }
    state.note(format!("ARG {}", texts.join(" ")));
    Ok(())
}

fn env(pairs: &[(String, String)], state: &mut State, scope: &Scope<'_>) -> Result<(), StepError> {
    let pairs = scope.pairs(state, pairs)?;
    pairs.iter().for_each(|(name, value)| state.set_env(name, value));
    state.note(format!("ENV {}", join(&pairs)));
    Ok(())
}

fn label(pairs: &[(String, String)], state: &mut State, scope: &Scope<'_>) -> Result<(), StepError> {
    let pairs = scope.pairs(state, pairs)?;
    state
        .image
        .config
        .labels
        .get_or_insert_with(BTreeMap::new)
        .extend(pairs.iter().cloned());
    state.note(format!("LABEL {}", join(&pairs)));
    Ok(())
}

fn join(pairs: &[(String, String)]) -> String {
    pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join(" ")
}

fn expose(words: &[String], state: &mut State, scope: &Scope<'_>) -> Result<(), StepError> {
    let mut ports = Vec::new();
    for word in words {
        for word in expand_words(word, scope.escape, &state.env.lookup())? {
            ports.extend(parse_expose(&word).map_err(|e| StepError::Invalid(e.to_string()))?);
        }
    }
    let set: &mut KeySet = state.image.config.exposed_ports.get_or_insert_with(KeySet::new);
    set.extend(ports.iter().map(|port| (port.clone(), EmptyObject {})));
    state.note(format!("EXPOSE [{}]", ports.join(" ")));
    Ok(())
}

fn volume(paths: &[String], state: &mut State, scope: &Scope<'_>) -> Result<(), StepError> {
    let mut volumes = Vec::new();
    for path in paths {
        let path = scope.word(state, path)?.trim().to_owned();
        if path.is_empty() {
            return Err(StepError::Invalid(
                "VOLUME specified can not be an empty string".into(),
            ));
        }
        volumes.push(path);
    }
    let set = state.image.config.volumes.get_or_insert_with(KeySet::new);
    set.extend(volumes.iter().map(|path| (path.clone(), EmptyObject {})));
    state.note(format!("VOLUME [{}]", volumes.join(" ")));
    Ok(())
}

fn healthcheck(check: &Healthcheck, state: &mut State) {
    let check = match check {
        Healthcheck::None => mica_oci::Healthcheck {
            test: Some(vec!["NONE".into()]),
            ..mica_oci::Healthcheck::default()
        },
        Healthcheck::Test {
            test,
            interval,
            timeout,
            start_period,
            start_interval,
            retries,
        } => {
            let words = match test {
                Command::Shell(text) => vec!["CMD-SHELL".into(), text.clone()],
                Command::Exec(argv) => ["CMD".to_owned()]
                    .into_iter()
                    .chain(argv.iter().cloned())
                    .collect(),
            };
            mica_oci::Healthcheck {
                test: Some(words),
                interval: *interval,
                timeout: *timeout,
                start_period: *start_period,
                start_interval: *start_interval,
                retries: *retries,
            }
        }
    };
    state.note(format!(
        "HEALTHCHECK {{Test:[{}] Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{}}}",
        check.test.as_deref().unwrap_or_default().join(" "),
        duration(check.interval),
        duration(check.timeout),
        duration(check.start_period),
        duration(check.start_interval),
        check.retries,
    ));
    state.image.config.healthcheck = Some(check);
}
