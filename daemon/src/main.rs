//! The mica daemon: the Docker Engine API over a Unix socket.

mod activity;
mod config;
mod connection;
mod crowd;
mod daemon;
mod descriptors;
mod error;
mod grpc;
mod listen;
mod notify;
mod preface;
mod router;
mod routes;
mod run;
mod serve;
mod wire;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::config::{Arguments, Settings};

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
    let ended = Settings::read(arguments).and_then(|settings| run::run(&settings, handed_over));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error.describe());
            ExitCode::from(if error.is_usage() { USAGE } else { 1 })
        }
    }
}

/// Says something to whoever started the daemon.
fn say(text: &str) {
    // nobody left to tell if this fails
    let _ = writeln!(std::io::stderr(), "micad: {text}");
}
