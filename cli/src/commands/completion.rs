//! `mica completion`: the script that completes command lines in a shell.

use clap::{Args, CommandFactory as _, ValueEnum};
use clap_complete::Shell;

use crate::commands::CommandLine;
use crate::error::Error;
use crate::{program, ui};

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Name {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Name,
}

pub(super) fn run(options: &Options) -> Result<(), Error> {
    let shell = match options.shell {
        Name::Bash => Shell::Bash,
        Name::Zsh => Shell::Zsh,
        Name::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut CommandLine::command(), program::name(), &mut script);
    ui::result(script)
}
