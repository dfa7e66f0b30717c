//! `mica system`: the commands about the daemon and all it keeps.

use clap::Subcommand;

use crate::commands::{events, info, system_check, system_df, system_dial, system_prune};
use crate::error::Error;
use crate::session::Session;

#[derive(Debug, Subcommand)]
pub(super) enum SystemCommand {
    /// Check that all that is kept is as it should be
    Check(system_check::Options),
    /// Show how much of the disk is used by what
    Df(system_df::Options),
    /// Get real time events from the daemon
    Events(events::Options),
    /// Display system-wide information
    Info(info::Options),
    /// Remove unused data
    Prune(system_prune::Options),
    /// The daemon's socket on standard input and output
    #[command(hide = true)]
    DialStdio,
}

impl SystemCommand {
    pub(super) async fn run(self, session: &Session) -> Result<(), Error> {
        let client = &session.client()?;
        match self {
            Self::Check(options) => system_check::run(options, client, &session.credentials()).await,
            Self::Df(options) => system_df::run(options, client).await,
            Self::Events(options) => events::run(options, client).await,
            Self::Info(options) => info::run(options, client).await,
            Self::Prune(options) => system_prune::run(options, client).await,
            Self::DialStdio => system_dial::run(client).await,
        }
    }
}
