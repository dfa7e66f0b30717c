//! `mica rmi`: names and images removed.

use clap::Args;
use hyper::Method;
use mica_api::DeleteItem;

use crate::client::{Client, Query, in_path};
use crate::error::Error;
use crate::{platform, ui};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Force removal of the image
    #[arg(short, long)]
    force: bool,
    /// Do not delete untagged parents
    #[arg(long)]
    no_prune: bool,
    /// Remove only the given platform variant
    #[arg(long, value_name = "PLATFORM")]
    platform: Vec<String>,
    /// Images, by name or ID
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

pub(super) async fn run(options: Options, client: &Client) -> Result<(), Error> {
    let mut query = Query::default();
    query.flag("force", options.force);
    query.flag("noprune", options.no_prune);
    for platform in &options.platform {
        query.push("platforms", platform::to_json(platform));
    }
    let mut failures = Vec::new();
    let mut is_fatal = false;
    for image in &options.images {
        let path = format!("/images/{}{}", in_path(image), query.as_str());
        match client.ask::<Vec<DeleteItem>>(Method::DELETE, &path).await {
            Ok(items) => show(&items)?,
            Err(error @ Error::Daemon { status, .. }) => {
                is_fatal |= status != 404;
                failures.push(error.to_string());
            }
            Err(error) => return Err(error),
        }
    }
    let message = failures.join("\n");
    if failures.is_empty() {
        Ok(())
    } else if options.force && !is_fatal {
        // What is gone already is what `--force` wanted.
        ui::notice(message);
        Ok(())
    } else {
        Err(Error::Several { message })
    }
}

fn show(items: &[DeleteItem]) -> Result<(), Error> {
    let mut text = String::new();
    for item in items {
        match (&item.deleted, &item.untagged) {
            (Some(deleted), _) => text.push_str(&format!("Deleted: {deleted}\n")),
            (None, Some(untagged)) => text.push_str(&format!("Untagged: {untagged}\n")),
            (None, None) => {}
        }
    }
    ui::result(text)
}
