//! `mica logs`: everything a build told, or the builds of which that is kept.

use clap::Args;
use hyper::Method;
use mica_api::BuildLog;

use crate::client::{Body, Client, in_path};
use crate::error::Error;
use crate::format::{Listing, Row};
use crate::{age, size, ui};

const TABLE: &str = "{{.ID}}\t{{.Created}}\t{{.Size}}";
const HEADERS: [(&str, &str); 3] = [("ID", "BUILD ID"), ("Created", "CREATED"), ("Size", "SIZE")];

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The build, as it was shown when it failed; without one the builds whose output is kept are listed
    #[arg(value_name = "BUILD")]
    build: Option<String>,
    /// Format the list: table, table TEMPLATE, json or a Go template
    #[arg(long, value_name = "FORMAT", default_value = "", hide_default_value = true)]
    format: String,
}

pub(super) async fn run(options: Options, client: &Client) -> Result<(), Error> {
    let Some(build) = &options.build else {
        return list(&options, client).await;
    };
    let path = format!("/mica/logs/{}", in_path(build));
    let answer = client.send(Method::GET, &path, Body::Empty).await?;
    answer
        .copy_to(&mut ui::output()?, |source| Error::Output { source })
        .await
}

async fn list(options: &Options, client: &Client) -> Result<(), Error> {
    let logs: Vec<BuildLog> = client.ask(Method::GET, "/mica/logs").await?;
    let listing = Listing {
        format: &options.format,
        table: TABLE,
        raw: None,
        headers: &HEADERS,
    };
    let now = age::now();
    ui::result(listing.show(logs.iter().map(|log| row(log, now)).collect())?)
}

fn row(log: &BuildLog, now: i64) -> Row {
    vec![
        ("ID", log.id.clone()),
        (
            "Created",
            format!("{} ago", age::human(now.saturating_sub(log.written))),
        ),
        (
            "Size",
            size::human(i64::try_from(log.size).unwrap_or(i64::MAX), 3),
        ),
    ]
}
