//! `mica inspect`: all that is known of images, as JSON or through a template.

use clap::Args;
use hyper::Method;
use serde::Serialize as _;
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};

use crate::client::{Client, Query, in_path};
use crate::error::Error;
use crate::format::told;
use crate::template::{Nils, Template};
use crate::{platform, program, ui};

/// Fields that may be `null` or absent, and what Go prints for them then.
const NILS: Nils = &[
    ("Cmd", "[]"),
    ("Entrypoint", "[]"),
    ("Env", "[]"),
    ("OnBuild", "[]"),
    ("Shell", "[]"),
    ("Test", "[]"),
    ("Layers", "[]"),
    ("RepoTags", "[]"),
    ("RepoDigests", "[]"),
    ("ExposedPorts", "map[]"),
    ("Volumes", "map[]"),
    ("Labels", "map[]"),
    ("Data", "map[]"),
    ("Healthcheck", "<nil>"),
    ("Descriptor", "<nil>"),
    ("StopSignal", ""),
    ("Variant", ""),
    ("OsVersion", ""),
];

/// What stands before and behind an image's name in the path of its inspection.
const IMAGES: (&str, &str) = ("/images/", "/json");

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    image: ImageOptions,
    /// Accepted for docker's sake
    #[arg(short, long)]
    size: bool,
    /// Only inspect objects of the given type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ImageOptions {
    /// Format output: json or a Go template
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        default_value = "",
        hide_default_value = true
    )]
    format: String,
    /// Inspect a specific platform of the multi-platform image
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// Images, by name or ID
    #[arg(value_name = "NAME|ID", required = true)]
    names: Vec<String>,
}

/// `mica inspect`
pub(super) async fn run(options: Options, client: &Client) -> Result<(), Error> {
    let told = |_: &str, error: Error| error.to_string();
    let kind = options.kind.as_deref().unwrap_or_default();
    // micad answers that there is none; the scripts that ask so want to know just that
    let (before, after) = match kind {
        "" => {
            let absent = |name: &str, _: Error| format!("Error: No such object: {name}");
            return inspect(options.image, client, IMAGES, absent).await;
        }
        "image" => IMAGES,
        "container" => ("/containers/", "/json"),
        "network" => ("/networks/", ""),
        "volume" => ("/volumes/", ""),
        "plugin" => ("/plugins/", "/json"),
        "node" | "service" | "task" | "secret" | "config" => {
            return Err(Error::Elsewhere {
                message: format!(
                    "{} inspect --type {kind}: mica runs on one machine",
                    program::name()
                ),
                code: 1,
            });
        }
        kind => {
            return Err(Error::Usage {
                message: format!("\"{kind}\" is not a valid value for --type"),
            });
        }
    };
    inspect(options.image, client, (before, after), told).await
}

/// `mica image inspect`
pub(super) async fn run_image(options: ImageOptions, client: &Client) -> Result<(), Error> {
    inspect(options, client, IMAGES, |_, error| error.to_string()).await
}

async fn inspect(
    options: ImageOptions,
    client: &Client,
    (before, after): (&str, &str),
    absent: impl Fn(&str, Error) -> String,
) -> Result<(), Error> {
    let template = match options.format.as_str() {
        "" | "json" => None,
        text => Some(
            Template::parse(text)
                .map_err(|error| told(&error))?
                .with_nils(NILS),
        ),
    };
    let mut query = Query::default();
    if let Some(platform) = &options.platform {
        query.push("platform", platform::to_json(platform));
    }
    let mut found = Vec::new();
    let mut failures = Vec::new();
    for name in &options.names {
        let path = format!("{before}{}{after}{}", in_path(name), query.as_str());
        match client.ask::<Value>(Method::GET, &path).await {
            Ok(value) => found.push(value),
            Err(error @ Error::Daemon { status: 404, .. }) => failures.push(absent(name, error)),
            Err(error @ Error::Daemon { .. }) => failures.push(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    let text = match template {
        Some(template) => filled(&template, &found)?,
        None if options.format == "json" => Value::Array(found).to_string() + "\n",
        None => indented(&Value::Array(found)),
    };
    ui::result(text)?;
    if failures.is_empty() {
        return Ok(());
    }
    Err(Error::Several {
        message: failures.join("\n"),
    })
}

fn filled(template: &Template, found: &[Value]) -> Result<String, Error> {
    let mut text = String::new();
    for value in found {
        text.push_str(&template.execute(value).map_err(|error| told(&error))?);
        text.push('\n');
    }
    // Docker ends with a line even if there is none to show.
    if text.is_empty() {
        text.push('\n');
    }
    Ok(text)
}

/// JSON with four spaces a level.
pub(super) fn indented(value: &Value) -> String {
    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b"    "));
    value
        .serialize(&mut serializer)
        .expect("a JSON value can be written to memory");
    bytes.push(b'\n');
    String::from_utf8_lossy(&bytes).into_owned()
}
