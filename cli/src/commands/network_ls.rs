//! `mica network ls`: the networks of a daemon that has some; micad has none.

use std::collections::BTreeMap;

use clap::Args;
use hyper::Method;
use serde::Deserialize;

use crate::client::{Client, Query};
use crate::commands::volume_ls::labels;
use crate::error::Error;
use crate::format::{Listing, Row};
use crate::{age, filter, reference, ui};

const TABLE: &str = "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}";
const RAW: &str = "network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n";
const HEADERS: [(&str, &str); 9] = [
    ("ID", "NETWORK ID"),
    ("Name", "NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("IPv4", "IPV4"),
    ("IPv6", "IPV6"),
    ("Internal", "INTERNAL"),
    ("Labels", "LABELS"),
    ("CreatedAt", "CREATED AT"),
];

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Provide filter values (e.g. "driver=bridge")
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Format output: table, table TEMPLATE, json or a Go template
    #[arg(long, value_name = "FORMAT", default_value = "", hide_default_value = true)]
    format: String,
    /// Do not truncate the output
    #[arg(long)]
    no_trunc: bool,
    /// Only display network IDs
    #[arg(short, long)]
    quiet: bool,
}

/// What is looked at of a network.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Network {
    id: String,
    name: String,
    driver: String,
    scope: String,
    created: String,
    #[serde(rename = "EnableIPv4")]
    enable_ipv4: bool,
    #[serde(rename = "EnableIPv6")]
    enable_ipv6: bool,
    internal: bool,
    labels: Option<BTreeMap<String, String>>,
}

pub(super) async fn run(options: Options, client: &Client) -> Result<(), Error> {
    let mut query = Query::default();
    if let Some(filters) = filter::to_json(&options.filter)? {
        query.push("filters", filters);
    }
    let path = format!("/networks{}", query.as_str());
    let mut networks: Vec<Network> = client.ask(Method::GET, &path).await?;
    networks.sort_by(|a, b| a.name.cmp(&b.name));
    let listing = Listing {
        format: match options.format.as_str() {
            "" | "table" if options.quiet => "{{.ID}}",
            format => format,
        },
        table: TABLE,
        raw: Some(if options.quiet { "network_id: {{.ID}}" } else { RAW }),
        headers: &HEADERS,
    };
    let rows = networks.iter().map(|network| row(network, options.no_trunc));
    ui::result(listing.show(rows.collect())?)
}

fn row(network: &Network, no_trunc: bool) -> Row {
    let id = match no_trunc {
        true => network.id.as_str(),
        false => reference::short_id(&network.id),
    };
    vec![
        ("ID", id.to_owned()),
        ("Name", network.name.clone()),
        ("Driver", network.driver.clone()),
        ("Scope", network.scope.clone()),
        ("IPv4", network.enable_ipv4.to_string()),
        ("IPv6", network.enable_ipv6.to_string()),
        ("Internal", network.internal.to_string()),
        ("Labels", labels(network.labels.as_ref())),
        ("CreatedAt", age::go_time(&network.created)),
    ]
}
