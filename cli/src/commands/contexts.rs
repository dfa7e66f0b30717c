//! `mica context`: the one context there is, for scripts that ask which one they use.

use clap::{Args, Subcommand};

use crate::commands::only_context::{DEFAULT, absent};
use crate::commands::{context_inspect, context_ls};
use crate::error::Error;
use crate::host::is_default;
use crate::session::Session;
use crate::ui;

#[derive(Debug, Subcommand)]
pub(super) enum ContextCommand {
    /// Display detailed information on the context
    Inspect(context_inspect::Options),
    /// List contexts
    #[command(visible_alias = "list")]
    Ls(context_ls::Options),
    /// Print the name of the current context
    Show,
    /// Set the current context; "default" is the only one
    Use(UseOptions),
}

#[derive(Debug, Args)]
pub(super) struct UseOptions {
    /// The context: "default"
    #[arg(value_name = "CONTEXT")]
    name: String,
}

impl ContextCommand {
    pub(super) async fn run(self, session: &Session) -> Result<(), Error> {
        match self {
            Self::Inspect(options) => context_inspect::run(&options, session),
            Self::Ls(options) => context_ls::run(&options, session),
            Self::Show => ui::result(format!("{DEFAULT}\n")),
            Self::Use(options) if is_default(&options.name) => {
                ui::result(format!("{DEFAULT}\n"))?;
                ui::notice(format!("Current context is now \"{DEFAULT}\""));
                Ok(())
            }
            Self::Use(options) => Err(Error::Refused {
                message: absent(&options.name),
            }),
        }
    }
}
