//! `mica buildx ls`: the one builder there is.

use clap::Args;
use serde_json::json;

use crate::client::Client;
use crate::commands::buildx_inspect::Node;
use crate::commands::only_builder::BUILDER;
use crate::error::Error;
use crate::format::told;
use crate::template::Template;
use crate::ui;

/// What the columns are called.
const HEADERS: [&str; 5] = ["NAME/NODE", "DRIVER/ENDPOINT", "STATUS", "BUILDKIT", "PLATFORMS"];

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Format output: table, json or a Go template
    #[arg(long, value_name = "FORMAT", default_value = "", hide_default_value = true)]
    format: String,
    /// Accepted for docker's sake
    #[arg(long, hide = true)]
    no_trunc: bool,
}

pub(super) async fn run(options: Options, client: &Client) -> Result<(), Error> {
    let node = Node::of(client).await?;
    let source = match options.format.as_str() {
        "" | "table" => return ui::result(table(&node)),
        "json" => "{{json .}}",
        text => text,
    };
    let template = Template::parse(source).map_err(|error| told(&error))?;
    let builder = json!({
        "Current": true,
        "Driver": node.driver(),
        "DriverEndpoint": node.endpoint,
        "Dynamic": false,
        "Name": BUILDER,
        "Nodes": [{
            "Endpoint": node.endpoint,
            "Name": BUILDER,
            "Platforms": node.platforms,
            "Status": node.status(),
            "Version": node.version,
        }],
        "Status": node.status(),
    });
    ui::result(template.execute(&builder).map_err(|error| told(&error))? + "\n")
}

fn table(node: &Node) -> String {
    let rows = [
        HEADERS.map(str::to_owned),
        [
            format!("{BUILDER}*"),
            node.driver().to_owned(),
            String::new(),
            String::new(),
            String::new(),
        ],
        [
            format!(" \\_ {BUILDER}"),
            format!(" \\_ {}", node.endpoint),
            node.status().to_owned(),
            node.version.clone(),
            node.platforms.join(", "),
        ],
    ];
    let widths: [usize; 4] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0) + 3
    });
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(widths);
        let cells: String = cells.map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{cells}{}\n", row[4])
    });
    lines.collect()
}
