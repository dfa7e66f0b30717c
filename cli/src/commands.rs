//! The table of commands: what each is called and where it is done.

mod build;
mod build_after;
mod build_attest;
mod build_cache;
mod build_call;
mod build_check;
mod build_context;
mod build_idle;
mod build_input;
mod build_limits;
mod build_options;
mod build_output;
mod build_secret;
mod builder;
mod builder_du;
mod builder_prune;
mod buildx;
mod buildx_inspect;
mod buildx_ls;
mod completion;
mod container_ls;
mod context_inspect;
mod context_ls;
mod contexts;
mod debug;
mod doctor;
mod elsewhere;
mod events;
mod foreign;
mod history;
mod image;
mod image_prune;
mod images;
mod imagetools_inspect;
mod import;
mod info;
mod inspect;
mod load;
mod login;
mod logout;
mod logs;
mod man;
mod manifest_inspect;
mod network_ls;
mod object;
mod object_prune;
mod only_builder;
mod only_context;
mod plugin_ls;
mod pruned;
mod pruning;
mod pull;
mod push;
mod rmi;
mod save;
mod search;
mod system;
mod system_check;
mod system_df;
mod system_df_verbose;
mod system_dial;
mod system_prune;
mod tag;
mod version;
mod volume_ls;

use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand};

pub(crate) use crate::commands::elsewhere::refusal;

use crate::commands::builder::BuilderCommand;
use crate::commands::buildx::BuildxCommand;
use crate::commands::contexts::ContextCommand;
use crate::commands::image::ImageCommand;
use crate::commands::object::{ContainerCommand, NetworkCommand, PluginCommand, VolumeCommand};
use crate::commands::system::SystemCommand;
use crate::error::Error;
use crate::session::Session;

/// Build and keep container images
#[derive(Debug, Parser)]
#[command(
    name = "mica",
    version = env!("CARGO_PKG_VERSION"),
    disable_version_flag = true,
    disable_help_subcommand = true
)]
pub(crate) struct CommandLine {
    /// The daemon's socket, unix:///path
    #[arg(short = 'H', long, value_name = "HOST")]
    host: Option<String>,
    /// Accepted for docker's sake: the only context is "default"
    #[arg(short = 'c', long, value_name = "NAME")]
    context: Option<String>,
    /// Accepted for docker's sake
    #[arg(short = 'D', long)]
    debug: bool,
    /// Location of client config files
    #[arg(long, value_name = "DIRECTORY")]
    config: Option<PathBuf>,
    /// Accepted for docker's sake
    #[arg(short = 'l', long, value_name = "LEVEL", hide = true)]
    log_level: Option<String>,
    /// Accepted for docker's sake: sockets need no TLS
    #[arg(long, hide = true)]
    tls: bool,
    /// Accepted for docker's sake: sockets need no TLS
    #[arg(long, hide = true)]
    tlsverify: bool,
    /// Accepted for docker's sake: sockets need no TLS
    #[arg(long, value_name = "FILE", hide = true)]
    tlscacert: Option<PathBuf>,
    /// Accepted for docker's sake: sockets need no TLS
    #[arg(long, value_name = "FILE", hide = true)]
    tlscert: Option<PathBuf>,
    /// Accepted for docker's sake: sockets need no TLS
    #[arg(long, value_name = "FILE", hide = true)]
    tlskey: Option<PathBuf>,
    /// Print version information and quit
    #[arg(short = 'v', long, short_alias = 'V', action = ArgAction::Version)]
    version: Option<bool>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build an image from a Dockerfile
    Build(Box<build_options::Options>),
    /// Download an image from a registry
    Pull(pull::Options),
    /// Upload an image to a registry
    Push(push::Options),
    /// List images
    Images(images::Options),
    /// Authenticate to a registry
    ///
    /// Defaults to Docker Hub if no server is specified.
    Login(login::Options),
    /// Log out from a registry
    ///
    /// If no server is specified, the default is Docker Hub.
    Logout(logout::Options),
    /// Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE
    Tag(tag::Options),
    /// Remove one or more images
    Rmi(rmi::Options),
    /// Return low-level information on images
    Inspect(inspect::Options),
    /// Show the history of an image
    History(history::Options),
    /// Save one or more images to a tar archive (streamed to STDOUT by default)
    Save(save::Options),
    /// Load an image from a tar archive or STDIN
    Load(load::Options),
    /// Import the contents from a tarball to create a filesystem image
    Import(import::Options),
    /// Show all output of a build
    Logs(logs::Options),
    /// Open a shell, or run a command, where a build failed
    Debug(debug::Options),
    /// Look whether this machine, this user and a registry are ready, and say what to do where they are not
    Doctor(doctor::Options),
    /// Manage images
    Image {
        #[command(subcommand)]
        command: Option<ImageCommand>,
    },
    /// Manage image manifests
    Manifest {
        #[command(subcommand)]
        command: Option<ManifestCommand>,
    },
    /// Manage builds
    Builder {
        #[command(subcommand)]
        command: Option<BuilderCommand>,
    },
    /// Builds under the names of docker's buildx
    Buildx {
        /// Accepted for docker's sake: the only builder is the daemon
        #[arg(long, global = true, hide = true, value_name = "NAME")]
        builder: Vec<String>,
        #[command(subcommand)]
        command: Option<BuildxCommand>,
    },
    /// Search Docker Hub for images
    Search(search::Options),
    /// Get real time events from the daemon
    Events(events::Options),
    /// Manage what the daemon keeps
    System {
        #[command(subcommand)]
        command: Option<SystemCommand>,
    },
    /// List containers
    Ps(container_ls::Options),
    /// Manage containers, of which there are none
    Container {
        #[command(subcommand)]
        command: Option<ContainerCommand>,
    },
    /// Manage networks, of which there are none
    Network {
        #[command(subcommand)]
        command: Option<NetworkCommand>,
    },
    /// Manage volumes, of which there are none
    Volume {
        #[command(subcommand)]
        command: Option<VolumeCommand>,
    },
    /// Manage plugins, of which there are none
    Plugin {
        #[command(subcommand)]
        command: Option<PluginCommand>,
    },
    /// Manage contexts, of which there is one
    Context {
        #[command(subcommand)]
        command: Option<ContextCommand>,
    },
    /// Show versions
    Version(version::Options),
    /// Display system-wide information
    Info(info::Options),
    /// Write the completion script of a shell
    Completion(completion::Options),
    /// Write the man pages of all commands into a folder
    #[command(hide = true)]
    Man(man::Options),
}

#[derive(Debug, Subcommand)]
enum ManifestCommand {
    /// Display an image manifest, or manifest list
    Inspect(manifest_inspect::Options),
}

impl CommandLine {
    /// Whether a command is named; if not, its help is to be shown.
    pub(crate) fn is_complete(&self) -> bool {
        self.command.as_ref().is_some_and(Command::is_complete)
    }

    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Error> {
        let session = Session {
            host: self.host,
            context: self.context,
            config: self.config,
        };
        match self.command {
            Some(command) => command.run(&session).await,
            None => Ok(()),
        }
    }
}

impl Command {
    fn is_complete(&self) -> bool {
        match self {
            Self::Image { command: None }
            | Self::Manifest { command: None }
            | Self::Builder { command: None }
            | Self::Buildx { command: None, .. }
            | Self::System { command: None }
            | Self::Container { command: None }
            | Self::Network { command: None }
            | Self::Volume { command: None }
            | Self::Plugin { command: None }
            | Self::Context { command: None } => false,
            Self::Buildx {
                command: Some(command),
                ..
            } => command.is_complete(),
            _ => true,
        }
    }

    async fn run(self, session: &Session) -> Result<(), Error> {
        match self {
            Self::Build(options) => BuilderCommand::Build(options).run(session).await,
            Self::Pull(options) => ImageCommand::Pull(options).run(session).await,
            Self::Push(options) => ImageCommand::Push(options).run(session).await,
            Self::Images(options) => ImageCommand::Ls(options).run(session).await,
            Self::Login(options) => login::run(options, &session.client()?, &session.credentials()).await,
            Self::Logout(options) => logout::run(options, &session.credentials()).await,
            Self::Tag(options) => ImageCommand::Tag(options).run(session).await,
            Self::Rmi(options) => ImageCommand::Rm(options).run(session).await,
            Self::Inspect(options) => inspect::run(options, &session.client()?).await,
            Self::History(options) => ImageCommand::History(options).run(session).await,
            Self::Save(options) => ImageCommand::Save(options).run(session).await,
            Self::Load(options) => ImageCommand::Load(options).run(session).await,
            Self::Import(options) => ImageCommand::Import(options).run(session).await,
            Self::Image {
                command: Some(command),
            } => command.run(session).await,
            Self::Manifest {
                command: Some(ManifestCommand::Inspect(options)),
            } => manifest_inspect::run(options, &session.client()?, &session.credentials()).await,
            Self::Builder {
                command: Some(command),
            } => command.run(session).await,
            Self::Buildx {
                builder,
                command: Some(command),
            } => {
                builder.iter().try_for_each(|name| only_builder::check(name))?;
                command.run(session).await
            }
            Self::Search(options) => search::run(options, &session.client()?, &session.credentials()).await,
            Self::Events(options) => SystemCommand::Events(options).run(session).await,
            Self::System {
                command: Some(command),
            } => command.run(session).await,
            Self::Ps(options) => ContainerCommand::Ls(options).run(session).await,
            Self::Container {
                command: Some(command),
            } => command.run(session).await,
            Self::Network {
                command: Some(command),
            } => command.run(session).await,
            Self::Volume {
                command: Some(command),
            } => command.run(session).await,
            Self::Plugin {
                command: Some(command),
            } => command.run(session).await,
            Self::Context {
                command: Some(command),
            } => command.run(session).await,
            Self::Version(options) => version::run(options, session.client()).await,
            Self::Debug(options) => debug::run(options, &session.client()?).await,
            Self::Doctor(options) => doctor::run(options, session).await,
            Self::Logs(options) => logs::run(options, &session.client()?).await,
            Self::Info(options) => SystemCommand::Info(options).run(session).await,
            Self::Completion(options) => completion::run(&options),
            Self::Man(options) => man::run(&options),
            // Help was shown instead.
            Self::Image { command: None }
            | Self::Manifest { command: None }
            | Self::Builder { command: None }
            | Self::Buildx { command: None, .. }
            | Self::System { command: None }
            | Self::Container { command: None }
            | Self::Network { command: None }
            | Self::Volume { command: None }
            | Self::Plugin { command: None }
            | Self::Context { command: None } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn without_help(command: &clap::Command, missing: &mut Vec<String>) {
        let name = command.get_display_name().unwrap_or_else(|| command.get_name());
        if command.get_about().is_none() {
            missing.push(name.to_owned());
        }
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            if argument.get_help().is_none() {
                missing.push(format!("{name} {argument}"));
            }
        }
        for subcommand in command.get_subcommands() {
            without_help(subcommand, missing);
        }
    }

    #[test]
    fn every_command_and_argument_is_described() {
        let mut command = CommandLine::command();
        command.build();
        let mut missing = Vec::new();
        without_help(&command, &mut missing);
        assert!(missing.is_empty(), "no description: {missing:#?}");
    }

    #[test]
    fn the_table_makes_sense() {
        CommandLine::command().debug_assert();
    }
}
