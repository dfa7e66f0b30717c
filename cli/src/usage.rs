//! Command lines that make no sense, told in docker's words, and switches spelled `--flag=true`.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};

use crate::commands::refusal;
use crate::error::Error;
use crate::truth::go_bool;

/// The command the arguments name, and its names.
fn addressed<'a>(root: &'a Command, arguments: &[OsString]) -> (&'a Command, Vec<String>) {
    let mut command = root;
    let mut names = vec![root.get_name().to_owned()];
    let mut rest = arguments.iter().skip(1);
    while command.has_subcommands() {
        let Some(argument) = rest.next() else { break };
        let text = argument.to_str().unwrap_or_default();
        if text.starts_with('-') {
            if takes_next(command, text) {
                rest.next();
            }
            continue;
        }
        // What is behind an unknown name is not for this program to read.
        let Some(found) = command.find_subcommand(text) else {
            break;
        };
        command = found;
        names.push(found.get_name().to_owned());
    }
    (command, names)
}

/// Whether a flag of the command takes the argument that follows it.
fn takes_next(command: &Command, flag: &str) -> bool {
    let named = |arg: &&Arg| match flag.strip_prefix("--") {
        Some(long) => arg.get_long() == Some(long),
        None => arg.get_short().is_some() && arg.get_short() == flag.chars().last(),
    };
    let found = command.get_arguments().find(named);
    found.is_some_and(|arg| arg.get_action().takes_values() && !arg.is_require_equals_set())
}

/// Switches may be written `--flag=true` and `--flag=false`; this is what is left of the arguments then.
///
/// # Errors
/// A value that is no truth value.
pub(crate) fn spell_switches(root: &Command, arguments: Vec<OsString>) -> Result<Vec<OsString>, Error> {
    // Nearly no command line has one.
    if !arguments
        .iter()
        .any(|argument| argument.as_encoded_bytes().contains(&b'='))
    {
        return Ok(arguments);
    }
    let (command, _) = addressed(root, &arguments);
    let switch = |spelled: &str| {
        let long = spelled.strip_prefix("--");
        let short = if spelled.len() == 2 {
            spelled.strip_prefix('-')
        } else {
            None
        };
        let short = short.and_then(|name| name.chars().next());
        let is_named = |arg: &&Arg| {
            (long.is_some() && arg.get_long() == long) || (short.is_some() && arg.get_short() == short)
        };
        let found = command.get_arguments().find(is_named)?;
        matches!(found.get_action(), ArgAction::SetTrue)
            .then(|| found.get_long())
            .flatten()
    };
    let mut kept: Vec<OsString> = Vec::with_capacity(arguments.len());
    let mut rest = arguments.into_iter();
    for argument in rest.by_ref() {
        if argument == "--" {
            kept.push(argument);
            break;
        }
        let text = argument.to_str().unwrap_or_default();
        let spelled = text.split_once('=');
        match spelled.and_then(|(spelled, value)| Some((switch(spelled)?, value))) {
            Some((name, value)) => {
                let is_set = go_bool(value).map_err(|reason| Error::Usage {
                    message: format!("invalid argument \"{value}\" for \"--{name}\" flag: {reason}"),
                })?;
                let plain = OsString::from(format!("--{name}"));
                if is_set {
                    kept.push(plain);
                } else {
                    kept.retain(|earlier| *earlier != plain);
                }
            }
            None => kept.push(argument),
        }
    }
    kept.extend(rest);
    Ok(kept)
}

/// The help of the command the arguments name: the long one for `--help`, where there is more to say.
pub(crate) fn help(root: &mut Command, arguments: &[OsString]) -> String {
    root.build();
    let (command, names) = addressed(root, arguments);
    let has_more = command.get_long_about().is_some()
        || command.get_arguments().any(|arg| arg.get_long_help().is_some());
    let mut command = command.clone().override_usage(line(command, &names.join(" ")));
    match has_more && arguments.iter().any(|argument| argument == "--help") {
        true => command.render_long_help().to_string(),
        false => command.render_help().to_string(),
    }
}

/// How a command is used, in docker's notation: `mica rmi [OPTIONS] IMAGE [IMAGE...]`.
fn line(command: &Command, path: &str) -> String {
    let mut line = path.to_owned();
    let is_option = |arg: &&Arg| !arg.is_positional() && !arg.is_hide_set() && arg.get_id() != "help";
    // flags before a group's command are the program's
    let is_root = !path.contains(' ');
    if command.get_arguments().any(|arg| is_option(&arg)) && (is_root || !command.has_subcommands()) {
        line.push_str(" [OPTIONS]");
    }
    if command.has_subcommands() {
        line.push_str(" COMMAND");
    }
    for positional in command.get_positionals() {
        let name = positional.get_value_names().and_then(<[_]>::first);
        let name = name.map_or_else(|| positional.get_id().as_str(), |name| name.as_str());
        let is_many = matches!(positional.get_action(), ArgAction::Append);
        line.push_str(&match (positional.is_required_set(), is_many) {
            (true, false) => format!(" {name}"),
            (true, true) => format!(" {name} [{name}...]"),
            (false, false) => format!(" [{name}]"),
            (false, true) => format!(" [{name}...]"),
        });
    }
    line
}

/// What docker says to a command line clap does not take.
pub(crate) fn told(root: &mut Command, arguments: &[OsString], error: &clap::Error) -> Error {
    root.build();
    let (command, names) = addressed(root, arguments);
    let path = names.join(" ");
    let program = &names[0];
    let invalid = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(list)) => list.join(" "),
        _ => String::new(),
    };
    let flag = invalid.split([' ', '=', '[']).next().unwrap_or_default();
    let value = match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let message = match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let name = match error.get(ContextKind::InvalidSubcommand) {
                Some(ContextValue::String(name)) => name.clone(),
                _ => String::new(),
            };
            if let Some(refusal) = refusal(&names[1..], &name) {
                return refusal;
            }
            let usage = match names.len() {
                1 => String::new(),
                _ => format!("Usage:  {path}\n\n"),
            };
            return Error::Usage {
                message: format!(
                    "{program}: unknown command: {path} {name}\n\n{usage}Run '{path} --help' for more information"
                ),
            };
        }
        ErrorKind::UnknownArgument if invalid.starts_with("--") => format!("unknown flag: {invalid}"),
        ErrorKind::UnknownArgument if invalid.starts_with('-') && invalid.len() > 1 => {
            format!("unknown shorthand flag: '{0}' in -{0}", &invalid[1..])
        }
        ErrorKind::MissingRequiredArgument | ErrorKind::UnknownArgument | ErrorKind::TooManyValues => {
            format!("{program}: '{path}' {}", arity(command))
        }
        ErrorKind::InvalidValue if value.is_empty() => format!("flag needs an argument: {flag}"),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let reason = std::error::Error::source(error)
                .map(|source| format!(": {source}"))
                .unwrap_or_default();
            format!("invalid argument \"{value}\" for \"{flag}\" flag{reason}")
        }
        _ => error
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("error: ")
            .to_owned(),
    };
    let usage = line(command, &path);
    Error::Usage {
        message: format!("{message}\n\nUsage:  {usage}\n\nRun '{path} --help' for more information"),
    }
}

/// How many arguments a command wants: `requires at least 1 argument`.
fn arity(command: &Command) -> String {
    let mut least = 0;
    let mut most = Some(0_usize);
    for positional in command.get_positionals() {
        least += usize::from(positional.is_required_set());
        let many = matches!(positional.get_action(), ArgAction::Append);
        most = most.filter(|_| !many).map(|most| most + 1);
    }
    let plural = |count: usize| if count == 1 { "argument" } else { "arguments" };
    match most {
        Some(0) => "accepts no arguments".to_owned(),
        Some(most) if most == least => format!("requires {most} {}", plural(most)),
        Some(most) if least == 0 => format!("requires at most {most} {}", plural(most)),
        Some(most) => format!("requires at least {least} and at most {most} {}", plural(most)),
        None => format!("requires at least {least} {}", plural(least)),
    }
}
