//! `mica buildx`: builds under the names of docker's buildx.

use clap::{Args, Subcommand};

use crate::commands::builder::BuilderCommand;
use crate::commands::{
    build_options, builder_du, builder_prune, buildx_inspect, buildx_ls, imagetools_inspect, only_builder,
};
use crate::error::Error;
use crate::session::Session;
use crate::ui;

#[derive(Debug, Subcommand)]
pub(super) enum BuildxCommand {
    /// Build an image from a Dockerfile
    #[command(visible_alias = "b")]
    Build(Box<build_options::Options>),
    /// Show what the build cache holds
    Du(builder_du::Options),
    /// Work on images in a registry
    Imagetools {
        #[command(subcommand)]
        command: Option<ImagetoolsCommand>,
    },
    /// Inspect the builder
    Inspect(buildx_inspect::Options),
    /// List builders
    Ls(buildx_ls::Options),
    /// Remove build cache
    Prune(builder_prune::Options),
    /// Set the current builder; "default" is the only one
    Use(UseOptions),
    /// Show version information
    Version,
}

#[derive(Debug, Subcommand)]
pub(super) enum ImagetoolsCommand {
    /// Show details of an image in a registry
    Inspect(imagetools_inspect::Options),
}

#[derive(Debug, Args)]
pub(super) struct UseOptions {
    /// Accepted for docker's sake
    #[arg(long, hide = true)]
    default: bool,
    /// Accepted for docker's sake
    #[arg(long, hide = true)]
    global: bool,
    /// The builder: "default"
    #[arg(value_name = "NAME")]
    name: String,
}

impl BuildxCommand {
    /// Whether a command is named.
    pub(super) fn is_complete(&self) -> bool {
        !matches!(self, Self::Imagetools { command: None })
    }

    pub(super) async fn run(self, session: &Session) -> Result<(), Error> {
        match self {
            Self::Build(options) => BuilderCommand::Build(options).run(session).await,
            Self::Du(options) => BuilderCommand::Du(options).run(session).await,
            Self::Imagetools { command: None } => Ok(()),
            Self::Imagetools {
                command: Some(ImagetoolsCommand::Inspect(options)),
            } => imagetools_inspect::run(options, &session.client()?, &session.credentials()).await,
            Self::Inspect(options) => buildx_inspect::run(options, &session.client()?).await,
            Self::Ls(options) => buildx_ls::run(options, &session.client()?).await,
            Self::Prune(options) => BuilderCommand::Prune(options).run(session).await,
            Self::Use(options) => only_builder::check(&options.name),
            Self::Version => ui::result(format!("mica v{}\n", env!("CARGO_PKG_VERSION"))),
        }
    }
}
