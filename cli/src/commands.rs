//! The table of commands: what each is called and where it is done.

mod build;
mod build_call;
mod build_check;
mod build_context;
mod build_input;
mod build_options;
mod build_secret;
mod builder_du;
mod builder_prune;
mod completion;
mod debug;
mod history;
mod image_prune;
mod images;
mod import;
mod info;
mod inspect;
mod load;
mod login;
mod logout;
mod logs;
mod manifest_inspect;
mod pull;
mod push;
mod rmi;
mod save;
mod tag;
mod version;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::client::Client;
use crate::credentials::{Credentials, Places};
use crate::error::Error;
use crate::host::Choice;

/// Build and keep container images
#[derive(Debug, Parser)]
#[command(name = "mica", version = version::TEXT, disable_help_subcommand = true)]
pub(crate) struct CommandLine {
    /// The daemon's socket, unix:///path
    #[arg(short = 'H', long, value_name = "HOST")]
    host: Option<String>,
    /// Accepted for docker's sake
    #[arg(short = 'D', long)]
    debug: bool,
    /// Location of client config files
    #[arg(long, value_name = "DIRECTORY")]
    config: Option<PathBuf>,
    /// Accepted for docker's sake
    #[arg(short = 'l', long, value_name = "LEVEL", hide = true)]
    log_level: Option<String>,
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
    /// Accepted for docker's sake: buildx build
    Buildx {
        #[command(subcommand)]
        command: Option<BuildxCommand>,
    },
    /// Show versions
    Version(version::Options),
    /// Display system-wide information
    Info(info::Options),
    /// Write the completion script of a shell
    Completion(completion::Options),
}

#[derive(Debug, Subcommand)]
enum ImageCommand {
    /// Build an image from a Dockerfile
    Build(Box<build_options::Options>),
    /// Show the history of an image
    History(history::Options),
    /// Import the contents from a tarball to create a filesystem image
    Import(import::Options),
    /// Display detailed information on one or more images
    Inspect(inspect::ImageOptions),
    /// Load an image from a tar archive or STDIN
    Load(load::Options),
    /// List images
    #[command(visible_alias = "list")]
    Ls(images::Options),
    /// Remove unused images
    Prune(image_prune::Options),
    /// Download an image from a registry
    Pull(pull::Options),
    /// Upload an image to a registry
    Push(push::Options),
    /// Remove one or more images
    #[command(visible_alias = "remove")]
    Rm(rmi::Options),
    /// Save one or more images to a tar archive (streamed to STDOUT by default)
    Save(save::Options),
    /// Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE
    Tag(tag::Options),
}

#[derive(Debug, Subcommand)]
enum ManifestCommand {
    /// Display an image manifest, or manifest list
    Inspect(manifest_inspect::Options),
}

#[derive(Debug, Subcommand)]
enum BuilderCommand {
    /// Build an image from a Dockerfile
    Build(Box<build_options::Options>),
    /// Show what the build cache holds
    Du(builder_du::Options),
    /// Remove build cache
    Prune(builder_prune::Options),
}

#[derive(Debug, Subcommand)]
enum BuildxCommand {
    /// Build an image from a Dockerfile
    #[command(visible_alias = "b")]
    Build(Box<build_options::Options>),
    /// Show what the build cache holds
    Du(builder_du::Options),
    /// Remove build cache
    Prune(builder_prune::Options),
}

/// What commands are given besides their own flags.
struct Session {
    host: Option<String>,
    config: Option<PathBuf>,
}

impl Session {
    fn client(&self) -> Result<Client, Error> {
        Choice::from_environment(self.host.clone())
            .host()
            .map(Client::new)
    }

    fn credentials(&self) -> Credentials {
        Credentials::new(Places::from_environment(self.config.clone()))
    }
}

impl CommandLine {
    /// Whether a command is named; if not, its help is to be shown.
    pub(crate) fn is_complete(&self) -> bool {
        !matches!(
            self.command,
            None | Some(
                Command::Image { command: None }
                    | Command::Manifest { command: None }
                    | Command::Builder { command: None }
                    | Command::Buildx { command: None }
            )
        )
    }

    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Error> {
        let session = Session {
            host: self.host,
            config: self.config,
        };
        match self.command {
            Some(command) => command.run(&session).await,
            None => Ok(()),
        }
    }
}

impl Command {
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
                command: Some(BuildxCommand::Build(options)),
            } => BuilderCommand::Build(options).run(session).await,
            Self::Buildx {
                command: Some(BuildxCommand::Du(options)),
            } => BuilderCommand::Du(options).run(session).await,
            Self::Buildx {
                command: Some(BuildxCommand::Prune(options)),
            } => BuilderCommand::Prune(options).run(session).await,
            Self::Version(options) => version::run(options, session.client()).await,
            Self::Debug(options) => debug::run(options, &session.client()?).await,
            Self::Logs(options) => logs::run(options, &session.client()?).await,
            Self::Info(options) => info::run(options, &session.client()?).await,
            Self::Completion(options) => completion::run(&options),
            Self::Image { command: None }
            | Self::Manifest { command: None }
            | Self::Builder { command: None }
            | Self::Buildx { command: None } => Ok(()),
        }
    }
}

impl ImageCommand {
    async fn run(self, session: &Session) -> Result<(), Error> {
        if let Self::Build(options) = self {
            return BuilderCommand::Build(options).run(session).await;
        }
        let client = &session.client()?;
        match self {
            Self::Build(_) => Ok(()),
            Self::History(options) => history::run(options, client).await,
            Self::Import(options) => import::run(options, client).await,
            Self::Inspect(options) => inspect::run_image(options, client).await,
            Self::Load(options) => load::run(options, client).await,
            Self::Ls(options) => images::run(options, client).await,
            Self::Prune(options) => image_prune::run(options, client).await,
            Self::Pull(options) => pull::run(options, client, &session.credentials()).await,
            Self::Push(options) => push::run(options, client, &session.credentials()).await,
            Self::Rm(options) => rmi::run(options, client).await,
            Self::Save(options) => save::run(options, client).await,
            Self::Tag(options) => tag::run(options, client).await,
        }
    }
}

impl BuilderCommand {
    async fn run(self, session: &Session) -> Result<(), Error> {
        match self {
            Self::Build(options) => build::run(*options, || session.client(), &session.credentials()).await,
            Self::Du(options) => builder_du::run(options, &session.client()?).await,
            Self::Prune(options) => builder_prune::run(options, &session.client()?).await,
        }
    }
}
