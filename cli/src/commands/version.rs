//! `mica version`: the versions of this program and of the daemon.

use clap::Args;
use hyper::Method;
use mica_api::Version;
use serde_json::{Value, json};

use crate::client::Client;
use crate::error::Error;
use crate::format::told;
use crate::template::Template;
use crate::{age, ui};

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
}

pub(super) async fn run(options: Options, client: Result<Client, Error>) -> Result<(), Error> {
    let template = match options.format.as_str() {
        "" => None,
        "json" => Some("{{json .}}"),
        text => Some(text),
    };
    let template = template
        .map(Template::parse)
        .transpose()
        .map_err(|error| told(&error))?;
    let server = match client {
        Ok(client) => client.ask::<Value>(Method::GET, "/version").await,
        Err(error) => Err(error),
    };
    let mut own = client_version();
    if let Ok(server) = &server
        && let Some(theirs) = server.get("ApiVersion").and_then(Value::as_str)
        && is_lower(theirs, mica_api::API_VERSION)
    {
        own["ApiVersion"] = theirs.into();
    }
    match template {
        Some(template) => {
            let value = json!({"Client": own, "Server": server.as_ref().ok()});
            let text = template.execute(&value);
            // A template that asks for what nobody answered fails because nobody answered.
            match (text, server) {
                (Ok(text), server) => {
                    ui::result(text + "\n")?;
                    server.map(|_| ())
                }
                (Err(_), Err(error)) => Err(error),
                (Err(error), Ok(_)) => Err(told(&error)),
            }
        }
        None => {
            ui::result(client_text(&own))?;
            let server = serde_json::from_value(server?).map_err(|source| Error::Answer {
                path: "/version".to_owned(),
                source,
            })?;
            ui::result(server_text(&server))
        }
    }
}

fn client_version() -> Value {
    json!({
        "Platform": {"Name": "mica"},
        "Version": env!("CARGO_PKG_VERSION"),
        "ApiVersion": mica_api::API_VERSION,
        "DefaultAPIVersion": mica_api::API_VERSION,
        "GitCommit": "",
        "GoVersion": "",
        "Os": std::env::consts::OS,
        "Arch": arch(),
        "BuildTime": "",
        "Context": "default",
    })
}

/// Go's name of this machine's architecture.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

fn is_lower(version: &str, than: &str) -> bool {
    let parts = |text: &str| {
        text.split('.')
            .map(|part| part.parse::<u32>().unwrap_or(0))
            .collect::<Vec<_>>()
    };
    parts(version) < parts(than)
}

fn client_text(own: &Value) -> String {
    let field = |name: &str| own[name].as_str().unwrap_or_default().to_owned();
    let mut text = String::from("Client:\n");
    for (name, value) in [
        ("Version", field("Version")),
        ("API version", field("ApiVersion")),
        ("OS/Arch", format!("{}/{}", field("Os"), field("Arch"))),
        ("Context", field("Context")),
    ] {
        text.push_str(&format!(" {:<18} {value}\n", format!("{name}:")));
    }
    text
}

fn server_text(server: &Version) -> String {
    let product = &server.platform.name;
    let mut text = format!(
        "\nServer:{}{product}\n Engine:\n",
        if product.is_empty() { "" } else { " " }
    );
    let api = format!(
        "{} (minimum version {})",
        server.api_version, server.min_api_version
    );
    for (name, value) in [
        ("Version", server.version.as_str()),
        ("API version", &api),
        ("Compiler", &server.go_version),
        ("Git commit", &server.git_commit),
        ("Built", &age::ansi_c(&server.build_time)),
        ("OS/Arch", &format!("{}/{}", server.os, server.arch)),
        ("Experimental", &server.experimental.to_string()),
    ] {
        if !value.is_empty() {
            text.push_str(&format!("  {:<17} {value}\n", format!("{name}:")));
        }
    }
    for part in server.components.iter().filter(|part| part.name != "Engine") {
        text.push_str(&format!(
            " {}:\n  {:<17} {}\n",
            part.name, "Version:", part.version
        ));
    }
    text
}
