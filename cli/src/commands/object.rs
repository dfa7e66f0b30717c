//! `mica container`, `network`, `volume` and `plugin`: what scripts ask of these where there are none.

use clap::Subcommand;

use crate::commands::{container_ls, network_ls, object_prune, plugin_ls, volume_ls};
use crate::error::Error;
use crate::session::Session;

#[derive(Debug, Subcommand)]
pub(super) enum ContainerCommand {
    /// List containers
    #[command(visible_aliases = ["list", "ps"])]
    Ls(container_ls::Options),
    /// Remove all stopped containers
    Prune(object_prune::Options),
}

#[derive(Debug, Subcommand)]
pub(super) enum NetworkCommand {
    /// List networks
    #[command(visible_alias = "list")]
    Ls(network_ls::Options),
    /// Remove all unused networks
    Prune(object_prune::Options),
}

#[derive(Debug, Subcommand)]
pub(super) enum VolumeCommand {
    /// List volumes
    #[command(visible_alias = "list")]
    Ls(volume_ls::Options),
    /// Remove unused local volumes
    Prune(object_prune::VolumeOptions),
}

#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    /// List plugins
    #[command(visible_alias = "list")]
    Ls(plugin_ls::Options),
}

impl ContainerCommand {
    pub(super) async fn run(self, session: &Session) -> Result<(), Error> {
        let client = &session.client()?;
        match self {
            Self::Ls(options) => container_ls::run(options, client).await,
            Self::Prune(options) => object_prune::run_containers(options, client).await,
        }
    }
}

impl NetworkCommand {
    pub(super) async fn run(self, session: &Session) -> Result<(), Error> {
        let client = &session.client()?;
        match self {
            Self::Ls(options) => network_ls::run(options, client).await,
            Self::Prune(options) => object_prune::run_networks(options, client).await,
        }
    }
}

impl VolumeCommand {
    pub(super) async fn run(self, session: &Session) -> Result<(), Error> {
        let client = &session.client()?;
        match self {
            Self::Ls(options) => volume_ls::run(options, client).await,
            Self::Prune(options) => object_prune::run_volumes(options, client).await,
        }
    }
}

impl PluginCommand {
    pub(super) async fn run(self, session: &Session) -> Result<(), Error> {
        let client = &session.client()?;
        match self {
            Self::Ls(options) => plugin_ls::run(options, client).await,
        }
    }
}
