//! `mica image`: the commands about images.

use clap::Subcommand;

use crate::commands::builder::BuilderCommand;
use crate::commands::{
    build_options, history, image_prune, images, import, inspect, load, pull, push, rmi, save, tag,
};
use crate::error::Error;
use crate::session::Session;

#[derive(Debug, Subcommand)]
pub(super) enum ImageCommand {
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

impl ImageCommand {
    pub(super) async fn run(self, session: &Session) -> Result<(), Error> {
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
            Self::Pull(options) => pull::run(options, client, session.credentials()).await,
            Self::Push(options) => push::run(options, client, session.credentials()).await,
            Self::Rm(options) => rmi::run(options, client).await,
            Self::Save(options) => save::run(options, client).await,
            Self::Tag(options) => tag::run(options, client).await,
        }
    }
}
