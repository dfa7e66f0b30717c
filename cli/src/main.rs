//! The mica command line: reads the arguments, runs one command, ends with its exit code.

mod age;
mod archive;
mod bars;
mod canvas;
mod client;
mod commands;
mod context;
mod credentials;
mod display;
mod doctor;
mod draft;
#[cfg(test)]
#[path = "../tests/it/emulator.rs"]
mod emulator;
mod error;
mod fields;
mod filter;
mod format;
mod handed;
mod host;
mod interrupt;
mod json;
mod moment;
mod platform;
mod program;
mod progress;
mod pty;
mod rebuild;
mod reference;
mod row;
mod secret;
mod session;
mod size;
mod start;
mod stream;
mod table;
mod template;
mod terminal;
mod truth;
mod ui;
mod usage;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _};

use crate::commands::CommandLine;
use crate::error::Error;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|first| first == start::DETACH) {
        return start::become_daemon(arguments.into_iter().skip(2));
    }
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is_quiet() {
                // Part of it may be a registry's, which has no business moving cursors.
                ui::notice(ui::printable(&error.chain()));
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(arguments: Vec<OsString>) -> Result<(), Error> {
    let name = program::name();
    let command = CommandLine::command().name(name).bin_name(name);
    let mut command = command.args_override_self(true);
    let arguments = usage::spell_switches(&command, arguments)?;
    let matches = match command.try_get_matches_from_mut(&arguments) {
        Ok(matches) => matches,
        Err(error) if error.kind() == ErrorKind::DisplayVersion => return ui::result(program::version()),
        // Help that was asked for.
        Err(error) if !error.use_stderr() => return ui::result(usage::help(&mut command, &arguments)),
        Err(error) => return Err(usage::told(&mut command, &arguments, &error)),
    };
    let line = CommandLine::from_arg_matches(&matches)
        .map_err(|error| usage::told(&mut command, &arguments, &error))?;
    if !line.is_complete() {
        return ui::result(usage::help(&mut command, &arguments));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| Error::Transport {
        action: "starting",
        source: source.into(),
    })?;
    let result = runtime.block_on(line.run());
    // A thread that reads a context or an archive ends with the program.
    runtime.shutdown_background();
    result
}
