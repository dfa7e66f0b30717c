//! `mica image prune`: images nothing needs, removed.

use clap::Args;
use hyper::Method;
use mica_api::PruneReport;

use crate::client::{Client, Query};
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

pub(super) async fn run(mut options: Options, client: &Client) -> Result<(), Error> {
    options.filter.push(format!("dangling={}", !options.all));
    let filters = filter::to_json(&options.filter)?;
    let warning = if options.all {
        "WARNING! This will remove all images without at least one container associated to them."
    } else {
        "WARNING! This will remove all dangling images."
    };
    if !options.force && !ui::confirm(warning)? {
        return Err(Error::Declined);
    }
    let mut query = Query::default();
    query.push("filters", filters.unwrap_or_default());
    let report: PruneReport = client
        .ask(Method::POST, &format!("/images/prune{}", query.as_str()))
        .await?;
    ui::result(show(&report))
}

fn show(report: &PruneReport) -> String {
    let mut text = String::new();
    let items = report.images_deleted.as_deref().unwrap_or_default();
    if !items.is_empty() {
        text.push_str("Deleted Images:\n");
        for item in items {
            match (&item.untagged, &item.deleted) {
                (Some(untagged), _) => text.push_str(&format!("untagged: {untagged}\n")),
                (None, Some(deleted)) => text.push_str(&format!("deleted: {deleted}\n")),
                (None, None) => {}
            }
        }
        text.push('\n');
    }
    text.push_str(&reclaimed(report.space_reclaimed));
    text
}

/// The line that ends every prune.
pub(super) fn reclaimed(bytes: u64) -> String {
    format!(
        "Total reclaimed space: {}\n",
        size::human(i64::try_from(bytes).unwrap_or(i64::MAX), 4)
    )
}
