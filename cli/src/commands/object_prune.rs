//! `mica container|network|volume prune`: what a daemon has of these and nothing needs; micad has none of them.

use clap::Args;

use crate::client::Client;
use crate::commands::image_prune::reclaimed;
use crate::commands::pruned;
use crate::error::Error;
use crate::{filter, ui};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Provide filter values (e.g. "until=24h")
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(super) struct VolumeOptions {
    /// Remove all unused volumes, not just anonymous ones
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    others: Options,
}

/// `mica container prune`
pub(super) async fn run_containers(options: Options, client: &Client) -> Result<(), Error> {
    let filters = agreed(&options, "WARNING! This will remove all stopped containers.")?;
    let done = pruned::containers(client, filters.as_deref()).await?;
    ui::result(done.told() + &reclaimed(done.space))
}

/// `mica network prune`
pub(super) async fn run_networks(options: Options, client: &Client) -> Result<(), Error> {
    let warning = "WARNING! This will remove all custom networks not used by at least one container.";
    let filters = agreed(&options, warning)?;
    ui::result(pruned::networks(client, filters.as_deref()).await?.told())
}

/// `mica volume prune`
pub(super) async fn run_volumes(options: VolumeOptions, client: &Client) -> Result<(), Error> {
    let mut others = options.others;
    let warning = match options.all {
        true => {
            others.filter.push("all=true".to_owned());
            "WARNING! This will remove all local volumes not used by at least one container."
        }
        false => "WARNING! This will remove anonymous local volumes not used by at least one container.",
    };
    let filters = agreed(&others, warning)?;
    let done = pruned::volumes(client, filters.as_deref()).await?;
    ui::result(done.told() + &reclaimed(done.space))
}

/// The filters, once the user has agreed.
fn agreed(options: &Options, warning: &str) -> Result<Option<String>, Error> {
    let filters = filter::to_json(&options.filter)?;
    if options.force || ui::confirm(warning)? {
        return Ok(filters);
    }
    Err(Error::Declined)
}
