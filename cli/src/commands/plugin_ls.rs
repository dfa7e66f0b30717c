//! `mica plugin ls`: the plugins of a daemon that takes some; micad takes none.

use clap::Args;
use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::{Client, Query};
use crate::error::Error;
use crate::format::Listing;
use crate::{filter, reference, table, ui};

const TABLE: &str = "{{.ID}}\t{{.Name}}\t{{.Description}}\t{{.Enabled}}";
const RAW: &str =
    "plugin_id: {{.ID}}\nname: {{.Name}}\ndescription: {{.Description}}\nenabled: {{.Enabled}}\n";
const HEADERS: [(&str, &str); 5] = [
    ("ID", "ID"),
    ("Name", "NAME"),
    ("Description", "DESCRIPTION"),
    ("Enabled", "ENABLED"),
    ("PluginReference", "IMAGE"),
];

/// How much of a description a table shows.
const DESCRIPTION_WIDTH: usize = 45;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Provide filter values (e.g. "enabled=true")
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Format output: table, table TEMPLATE, json or a Go template
    #[arg(long, value_name = "FORMAT", default_value = "", hide_default_value = true)]
    format: String,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only display plugin IDs
    #[arg(short, long)]
    quiet: bool,
}

/// What is looked at of a plugin.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Plugin {
    id: String,
    name: String,
    plugin_reference: String,
    enabled: bool,
    config: Config,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Config {
    description: String,
}

pub(super) async fn run(options: Options, client: &Client) -> Result<(), Error> {
    let mut query = Query::default();
    if let Some(filters) = filter::to_json(&options.filter)? {
        query.push("filters", filters);
    }
    let path = format!("/plugins{}", query.as_str());
    let mut plugins: Vec<Plugin> = client.ask(Method::GET, &path).await?;
    plugins.sort_by(|a, b| a.name.cmp(&b.name));
    let listing = Listing {
        format: match options.format.as_str() {
            "" | "table" if options.quiet => "{{.ID}}",
            format => format,
        },
        table: TABLE,
        raw: Some(if options.quiet { "plugin_id: {{.ID}}" } else { RAW }),
        headers: &HEADERS,
    };
    let rows = plugins.iter().map(|plugin| row(plugin, options.no_trunc));
    ui::result(listing.show_objects(rows.collect())?)
}

fn row(plugin: &Plugin, no_trunc: bool) -> Value {
    let description = ui::printable(&plugin.config.description.replace(['\n', '\r'], " "));
    json!({
        "Description": match no_trunc {
            true => description,
            false => table::shortened(&description, DESCRIPTION_WIDTH),
        },
        "Enabled": plugin.enabled,
        "ID": match no_trunc {
            true => plugin.id.as_str(),
            false => reference::short_id(&plugin.id),
        },
        "Name": plugin.name,
        "PluginReference": plugin.plugin_reference,
    })
}
