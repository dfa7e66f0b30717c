//! `mica system prune`: all that nothing needs, removed.

use clap::Args;

use crate::client::Client;
use crate::commands::image_prune::reclaimed;
use crate::commands::pruned::{self, Pruned};
use crate::error::Error;
use crate::{filter, ui};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Remove all unused images not just dangling ones
    #[arg(short, long)]
    all: bool,
    /// Provide filter values (e.g. "label=KEY=VALUE")
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
    /// Prune anonymous volumes
    #[arg(long)]
    volumes: bool,
}

pub(super) async fn run(options: Options, client: &Client) -> Result<(), Error> {
    let filters = filter::to_json(&options.filter)?;
    let is_until = |filter: &String| {
        filter
            .split_once('=')
            .is_some_and(|(name, _)| name.trim() == "until")
    };
    if options.volumes && options.filter.iter().any(is_until) {
        return Err(Error::Refused {
            message: "ERROR: The \"until\" filter is not supported with \"--volumes\"".to_owned(),
        });
    }
    if !options.force && !ui::confirm(&warning(&options))? {
        return Err(Error::Declined);
    }
    let filters = filters.as_deref();
    let mut done = vec![
        pruned::containers(client, filters).await?,
        pruned::networks(client, filters).await?,
    ];
    if options.volumes {
        done.push(pruned::volumes(client, filters).await?);
    }
    done.push(pruned::images(client, options.all, &options.filter).await?);
    done.push(pruned::cache(client, options.all, filters).await?);
    let text: String = done.iter().map(Pruned::told).collect();
    let space = done.iter().fold(0_u64, |sum, one| sum.saturating_add(one.space));
    ui::result(text + &reclaimed(space))
}

/// What is about to be removed, as docker lists it.
fn warning(options: &Options) -> String {
    let mut warning =
        "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at \
                       least one container\n"
            .to_owned();
    if options.volumes {
        warning.push_str("  - all anonymous volumes not used by at least one container\n");
    }
    warning.push_str(match options.all {
        true => "  - all images without at least one container associated to them\n  - all build cache\n",
        false => "  - all dangling images\n  - unused build cache\n",
    });
    let mut filters = options.filter.clone();
    filters.sort();
    if !filters.is_empty() {
        warning.push_str("\n  Items to be pruned will be filtered with:\n");
        for filter in filters {
            warning.push_str(&format!("  - {filter}\n"));
        }
    }
    warning
}
