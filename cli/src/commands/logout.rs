//! `mica logout`: what a login has kept is forgotten.

use clap::Args;

use crate::credentials::{Credentials, HUB, Target};
use crate::error::Error;
use crate::interrupt::or_interrupted;
use crate::ui;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The registry; Docker Hub if none is named
    #[arg(value_name = "SERVER")]
    server: Option<String>,
}

pub(super) async fn run(options: Options, credentials: &Credentials) -> Result<(), Error> {
    let server = options.server.filter(|server| !server.is_empty());
    let target = Target::server(server.as_deref().unwrap_or(HUB));
    ui::result(format!("Removing login credentials for {}\n", target.key()))?;
    or_interrupted(credentials.erase(&target)).await
}
