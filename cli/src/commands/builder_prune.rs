//! `mica builder prune`: build cache removed.

use clap::Args;

use crate::client::{Client, Query};
use crate::commands::build_options::size_value;
use crate::commands::image_prune::reclaimed;
use crate::commands::pruned;
use crate::error::Error;
use crate::{filter, ui};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Remove all unused build cache, not just dangling ones
    #[arg(short, long)]
    all: bool,
    /// Provide filter values (e.g. "until=24h")
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
    /// Amount of disk space always allowed to keep for cache
    #[arg(long, visible_alias = "reserved-space", value_name = "BYTES", value_parser = size_value)]
    keep_storage: Option<i64>,
    /// Accepted for buildx's sake: what went is always told
    #[arg(long, hide = true)]
    verbose: bool,
    /// Maximum amount of disk space allowed to keep for cache
    #[arg(long, value_name = "BYTES", value_parser = size_value)]
    max_used_space: Option<i64>,
    /// Target amount of free disk space after pruning
    #[arg(long, value_name = "BYTES", value_parser = size_value)]
    min_free_space: Option<i64>,
}

pub(super) async fn run(options: Options, client: &Client) -> Result<(), Error> {
    let filters = filter::to_json(&options.filter)?;
    let warning = if options.all {
        "WARNING! This will remove all build cache."
    } else {
        "WARNING! This will remove all dangling build cache."
    };
    if !options.force && !ui::confirm(warning)? {
        return Err(Error::Declined);
    }
    let mut query = Query::default();
    query.flag("all", options.all);
    if let Some(filters) = filters {
        query.push("filters", filters);
    }
    for (name, value) in [
        ("keep-storage", options.keep_storage),
        ("reserved-space", options.keep_storage),
        ("max-used-space", options.max_used_space),
        ("min-free-space", options.min_free_space),
    ] {
        if let Some(value) = value {
            query.push(name, value.to_string());
        }
    }
    let done = pruned::cache_with(client, query).await?;
    ui::result(done.told() + &reclaimed(done.space))
}
