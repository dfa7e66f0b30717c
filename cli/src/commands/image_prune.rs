//! `mica image prune`: images nothing needs, removed.

use clap::Args;

use crate::client::Client;
use crate::commands::pruned;
use crate::error::Error;
use crate::{filter, size, ui};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Remove all unused images, not just dangling ones
    #[arg(short, long)]
    all: bool,
    /// Provide filter values (e.g. "until=24h")
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

pub(super) async fn run(options: Options, client: &Client) -> Result<(), Error> {
    filter::to_json(&options.filter)?;
    let warning = if options.all {
        "WARNING! This will remove all images without at least one container associated to them."
    } else {
        "WARNING! This will remove all dangling images."
    };
    if !options.force && !ui::confirm(warning)? {
        return Err(Error::Declined);
    }
    let done = pruned::images(client, options.all, &options.filter).await?;
    ui::result(done.told() + &reclaimed(done.space))
}

/// The line that ends every prune.
pub(super) fn reclaimed(bytes: u64) -> String {
    format!(
        "Total reclaimed space: {}\n",
        size::human(i64::try_from(bytes).unwrap_or(i64::MAX), 4)
    )
}
