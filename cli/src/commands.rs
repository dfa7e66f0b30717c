//! The table of commands: what each is called and where it is done.

mod build;
mod build_options;
mod builder_prune;
mod completion;
mod history;
mod image_prune;
mod images;
mod info;
mod inspect;
mod load;
mod rmi;
mod save;
mod tag;
mod version;

use clap::{Parser, Subcommand};

use crate::client::Client;
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
    /// Accepted for docker's sake
    #[arg(long, value_name = "DIRECTORY")]
    config: Option<std::path::PathBuf>,
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
    /// List images
    Images(images::Options),
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
    /// Manage images
    Image {
        #[command(subcommand)]
        command: Option<ImageCommand>,
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
    /// Display detailed information on one or more images
    Inspect(inspect::ImageOptions),
    /// Load an image from a tar archive or STDIN
    Load(load::Options),
    /// List images
    #[command(visible_alias = "list")]
    Ls(images::Options),
    /// Remove unused images
    Prune(image_prune::Options),
    /// Remove one or more images
    #[command(visible_alias = "remove")]
    Rm(rmi::Options),
    /// Save one or more images to a tar archive (streamed to STDOUT by default)
    Save(save::Options),
    /// Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE
    Tag(tag::Options),
}

#[derive(Debug, Subcommand)]
enum BuilderCommand {
    /// Build an image from a Dockerfile
    Build(Box<build_options::Options>),
    /// Remove build cache
    Prune(builder_prune::Options),
}

#[derive(Debug, Subcommand)]
enum BuildxCommand {
    /// Build an image from a Dockerfile
    #[command(visible_alias = "b")]
    Build(Box<build_options::Options>),
    /// Remove build cache
    Prune(builder_prune::Options),
}

impl CommandLine {
    /// Whether a command is named; if not, its help is to be shown.
    pub(crate) fn is_complete(&self) -> bool {
        !matches!(
            self.command,
            None | Some(
                Command::Image { command: None }
                    | Command::Builder { command: None }
                    | Command::Buildx { command: None }
            )
        )
    }

    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Error> {
        let Some(command) = self.command else {
            return Ok(());
        };
        if let Command::Completion(options) = command {
            return completion::run(&options);
        }
        let client = || Choice::from_environment(self.host).host().map(Client::new);
        match command {
            Command::Version(options) => version::run(options, client()).await,
            Command::Build(options)
            | Command::Image {
                command: Some(ImageCommand::Build(options)),
            }
            | Command::Builder {
                command: Some(BuilderCommand::Build(options)),
            }
            | Command::Buildx {
                command: Some(BuildxCommand::Build(options)),
            } => build::run(*options, client).await,
            Command::Images(options)
            | Command::Image {
                command: Some(ImageCommand::Ls(options)),
            } => images::run(options, &client()?).await,
            Command::Tag(options)
            | Command::Image {
                command: Some(ImageCommand::Tag(options)),
            } => tag::run(options, &client()?).await,
            Command::Rmi(options)
            | Command::Image {
                command: Some(ImageCommand::Rm(options)),
            } => rmi::run(options, &client()?).await,
            Command::Inspect(options) => inspect::run(options, &client()?).await,
            Command::Image {
                command: Some(ImageCommand::Inspect(options)),
            } => inspect::run_image(options, &client()?).await,
            Command::History(options)
            | Command::Image {
                command: Some(ImageCommand::History(options)),
            } => history::run(options, &client()?).await,
            Command::Save(options)
            | Command::Image {
                command: Some(ImageCommand::Save(options)),
            } => save::run(options, &client()?).await,
            Command::Load(options)
            | Command::Image {
                command: Some(ImageCommand::Load(options)),
            } => load::run(options, &client()?).await,
            Command::Image {
                command: Some(ImageCommand::Prune(options)),
            } => image_prune::run(options, &client()?).await,
            Command::Builder {
                command: Some(BuilderCommand::Prune(options)),
            }
            | Command::Buildx {
                command: Some(BuildxCommand::Prune(options)),
            } => builder_prune::run(options, &client()?).await,
            Command::Info(options) => info::run(options, &client()?).await,
            Command::Completion(_)
            | Command::Image { command: None }
            | Command::Builder { command: None }
            | Command::Buildx { command: None } => Ok(()),
        }
    }
}
