//! `mica context inspect`: where the daemon listens, in the form other tools look for it.

use clap::Args;
use serde_json::{Value, json};

use crate::commands::inspect::indented;
use crate::commands::only_context::{DEFAULT, absent};
use crate::error::Error;
use crate::format::{escaped, told};
use crate::host::is_default;
use crate::session::Session;
use crate::template::Template;
use crate::ui;

/// What stands for a place on disk: there is none.
const NOWHERE: &str = "<IN MEMORY>";

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Format output: json or a Go template
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        default_value = "",
        hide_default_value = true
    )]
    format: String,
    /// Contexts: "default"
    #[arg(value_name = "CONTEXT")]
    names: Vec<String>,
}

pub(super) fn run(options: &Options, session: &Session) -> Result<(), Error> {
    let mut found = Vec::new();
    let mut failures = Vec::new();
    let names = match options.names.is_empty() {
        true => &[DEFAULT.to_owned()][..],
        false => &options.names,
    };
    for name in names {
        match is_default(name) {
            true => found.push(context(&session.host()?.address())),
            false => failures.push(absent(name)),
        }
    }
    let text = match options.format.as_str() {
        "" => escaped(&indented(&Value::Array(found))),
        "json" => escaped(&Value::Array(found).to_string()) + "\n",
        text => {
            let template = Template::parse(text).map_err(|error| told(&error))?;
            let mut lines = String::new();
            for context in &found {
                lines.push_str(&template.execute(context).map_err(|error| told(&error))?);
                lines.push('\n');
            }
            lines
        }
    };
    ui::result(text)?;
    match failures.is_empty() {
        true => Ok(()),
        false => Err(Error::Several {
            message: failures.join("\n"),
        }),
    }
}

fn context(address: &str) -> Value {
    json!({
        "Name": DEFAULT,
        "Metadata": {},
        "Endpoints": {"docker": {"Host": address, "SkipTLSVerify": false}},
        "TLSMaterial": {},
        "Storage": {"MetadataPath": NOWHERE, "TLSPath": NOWHERE},
    })
}
