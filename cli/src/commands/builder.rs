//! `mica builder`: the commands about builds and their cache.

use clap::Subcommand;

use crate::commands::{build, build_options, builder_du, builder_prune};
use crate::error::Error;
use crate::session::Session;

#[derive(Debug, Subcommand)]
pub(super) enum BuilderCommand {
    /// Build an image from a Dockerfile
    Build(Box<build_options::Options>),
    /// Show what the build cache holds
    Du(builder_du::Options),
    /// Remove build cache
    Prune(builder_prune::Options),
}

impl BuilderCommand {
    pub(super) async fn run(self, session: &Session) -> Result<(), Error> {
        match self {
            Self::Build(options) => {
                let credentials = session.credentials().only_from(options.authfile.clone());
                build::run(*options, || session.client(), &credentials).await
            }
            Self::Du(options) => builder_du::run(options, &session.client()?).await,
            Self::Prune(options) => builder_prune::run(options, &session.client()?).await,
        }
    }
}
