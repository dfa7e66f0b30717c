//! `mica context ls`: the one context there is, and where its daemon listens.

use clap::Args;
use serde_json::json;

use crate::commands::only_context::DEFAULT;
use crate::error::Error;
use crate::format::Listing;
use crate::session::Session;
use crate::ui;

const TABLE: &str = "{{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}";
const HEADERS: [(&str, &str); 4] = [
    ("Name", "NAME"),
    ("Description", "DESCRIPTION"),
    ("DockerEndpoint", "DOCKER ENDPOINT"),
    ("Error", "ERROR"),
];

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Format output: table, table TEMPLATE, json or a Go template
    #[arg(long, value_name = "FORMAT", default_value = "", hide_default_value = true)]
    format: String,
    /// Only show context names
    #[arg(short, long)]
    quiet: bool,
}

pub(super) fn run(options: &Options, session: &Session) -> Result<(), Error> {
    let (endpoint, error) = match session.host() {
        Ok(host) => (host.address(), String::new()),
        Err(error) => (String::new(), error.to_string()),
    };
    let listing = Listing {
        format: match options.format.as_str() {
            "" | "table" if options.quiet => "{{.Name}}",
            format => format,
        },
        table: TABLE,
        raw: None,
        headers: &HEADERS,
    };
    let row = json!({
        "Current": true,
        "Description": "Current DOCKER_HOST based configuration",
        "DockerEndpoint": endpoint,
        "Error": error,
        "Name": DEFAULT,
    });
    ui::result(listing.show_objects(vec![row])?)
}
