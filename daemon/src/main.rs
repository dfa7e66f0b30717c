//! The mica daemon: the Docker Engine API over a Unix socket.

mod accounts;
mod activity;
mod answering;
mod config;
mod connection;
mod crowd;
mod daemon;
mod descriptors;
mod error;
mod grpc;
mod keeping;
mod listen;
mod log;
mod metrics;
mod names;
mod notify;
mod preface;
mod pruning;
mod rebuild;
mod reload;
mod rights;
mod router;
mod routes;
mod run;
mod serve;
mod wire;
mod work;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::config::{Arguments, Settings};
use crate::log::Level;

/// Wrong use of the command line, docker's code for it.
const USAGE: u8 = 125;

fn main() -> ExitCode {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|argument| argument == mica_sandbox::HELPER_ARGUMENT)
    {
        return mica_sandbox::init_main();
    }
    let handed_over = listen::take_handed_over();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // nobody left to tell if this fails
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    if let Some(folder) = &arguments.write_manual {
        return told(config::write_manual(folder).map_err(|error| error.to_string()));
    }
    if arguments.check_config {
        return check(arguments);
    }
    if arguments.rebuild {
        return match Settings::read(arguments) {
            Ok(settings) => rebuild::run(&settings.root),
            Err(error) => told(Err(error.describe())),
        };
    }
    let ended =
        Settings::read(arguments.clone()).and_then(|settings| run::run(settings, arguments, handed_over));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_usage() => told(Err(error.describe())),
        Err(error) => {
            log::say(Level::Error, &error.describe(), &[]);
            log::flush();
            ExitCode::FAILURE
        }
    }
}

/// Looks at the settings, and says what is wrong with them.
fn check(arguments: Arguments) -> ExitCode {
    let checked = Settings::read(arguments).and_then(|settings| settings.check().map(|()| settings));
    match checked {
        Ok(settings) => {
            // nobody left to tell if this fails
            let _ = writeln!(std::io::stdout(), "{}: configuration OK", settings.file.display());
            ExitCode::SUCCESS
        }
        Err(error) => told(Err(error.describe())),
    }
}

fn told(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            say(&text);
            ExitCode::from(USAGE)
        }
    }
}

/// Says something to whoever started the daemon.
fn say(text: &str) {
    // nobody left to tell if this fails
    let _ = writeln!(std::io::stderr(), "micad: {text}");
}
