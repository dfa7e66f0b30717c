//! `mica volume ls`: the volumes of a daemon that has some; micad has none.

use std::collections::BTreeMap;

use clap::Args;
use hyper::Method;
use serde::Deserialize;

use crate::client::{Client, Query};
use crate::error::Error;
use crate::format::{Listing, Row};
use crate::{filter, size, ui};

const TABLE: &str = "{{.Driver}}\t{{.Name}}";
pub(super) const HEADERS: [(&str, &str); 10] = [
    ("Name", "VOLUME NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("Availability", "AVAILABILITY"),
    ("Group", "GROUP"),
    ("Labels", "LABELS"),
    ("Links", "LINKS"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Size", "SIZE"),
    ("Status", "STATUS"),
];

/// What stands where the daemon said nothing.
const UNKNOWN: &str = "N/A";

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Provide filter values (e.g. "dangling=true")
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Format output: table, table TEMPLATE, json or a Go template
    #[arg(long, value_name = "FORMAT", default_value = "", hide_default_value = true)]
    format: String,
    /// Only display volume names
    #[arg(short, long)]
    quiet: bool,
}

/// The answer to `/volumes`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Volumes {
    volumes: Option<Vec<Volume>>,
}

/// What is looked at of a volume.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Volume {
    name: String,
    driver: String,
    scope: String,
    mountpoint: String,
    labels: Option<BTreeMap<String, String>>,
    usage_data: Option<UsageData>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct UsageData {
    ref_count: i64,
    size: i64,
}

pub(super) async fn run(options: Options, client: &Client) -> Result<(), Error> {
    let mut query = Query::default();
    if let Some(filters) = filter::to_json(&options.filter)? {
        query.push("filters", filters);
    }
    let answer: Volumes = client
        .ask(Method::GET, &format!("/volumes{}", query.as_str()))
        .await?;
    let mut volumes = answer.volumes.unwrap_or_default();
    volumes.sort_by(|a, b| a.name.cmp(&b.name));
    let listing = Listing {
        format: match options.format.as_str() {
            "" | "table" if options.quiet => "{{.Name}}",
            format => format,
        },
        table: TABLE,
        raw: Some(match options.quiet {
            true => "name: {{.Name}}",
            false => "name: {{.Name}}\ndriver: {{.Driver}}\n",
        }),
        headers: &HEADERS,
    };
    ui::result(listing.show(volumes.iter().map(row).collect())?)
}

/// A volume as a row.
pub(super) fn row(volume: &Volume) -> Row {
    let used = volume.usage_data.as_ref();
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| UNKNOWN.to_owned());
    vec![
        ("Name", volume.name.clone()),
        ("Driver", volume.driver.clone()),
        ("Scope", volume.scope.clone()),
        ("Mountpoint", volume.mountpoint.clone()),
        ("Labels", labels(volume.labels.as_ref())),
        ("Links", or_unknown(used.map(|used| used.ref_count.to_string()))),
        ("Size", or_unknown(used.map(|used| size::human(used.size, 4)))),
        ("Availability", UNKNOWN.to_owned()),
        ("Group", UNKNOWN.to_owned()),
        ("Status", UNKNOWN.to_owned()),
    ]
}

/// Labels in one cell: `a=b,c=d`.
pub(super) fn labels(labels: Option<&BTreeMap<String, String>>) -> String {
    let pairs = labels.into_iter().flatten();
    let pairs: Vec<String> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}
