//! `mica buildx imagetools inspect`: what a registry has under a name.

use clap::Args;
use mica_oci::Reference;
use serde_json::{Map, Value};

use crate::client::Client;
use crate::commands::manifest_inspect::{Found, ask};
use crate::credentials::{Credentials, Target, auth_header};
use crate::error::Error;
use crate::format::told;
use crate::interrupt::or_interrupted;
use crate::json::indented;
use crate::template::{Tags, Template};
use crate::ui;

/// Fields that are spelled otherwise in JSON.
const TAGS: Tags = &[
    ("Name", "name"),
    ("Manifest", "manifest"),
    ("SchemaVersion", "schemaVersion"),
    ("MediaType", "mediaType"),
    ("Digest", "digest"),
    ("Size", "size"),
    ("Manifests", "manifests"),
    ("Annotations", "annotations"),
    ("Platform", "platform"),
    ("Architecture", "architecture"),
    ("OS", "os"),
    ("Variant", "variant"),
];

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Format output: a Go template over .Name and .Manifest
    #[arg(long, value_name = "FORMAT", default_value = "", hide_default_value = true)]
    format: String,
    /// Show original, unformatted JSON manifest
    #[arg(long)]
    raw: bool,
    /// The image, with its registry if that is not Docker Hub
    #[arg(value_name = "NAME")]
    name: String,
}

pub(super) async fn run(options: Options, client: &Client, credentials: &Credentials) -> Result<(), Error> {
    let reference: Reference = options.name.parse::<Reference>()?.or_latest();
    let found = or_interrupted(async {
        let auth = credentials
            .find(&Target::repository(&reference.repository))
            .await?;
        ask(&reference, client, auth_header(&auth)).await
    })
    .await?;
    if options.raw {
        // no line end: the bytes are those of the digest
        return ui::result(&found.bytes);
    }
    let manifest: Value = serde_json::from_slice(&found.bytes).map_err(|source| Error::Answer {
        path: options.name.clone(),
        source,
    })?;
    ui::result(match options.format.as_str() {
        "" | "{{.Manifest}}" => text(&reference.to_string(), &found, &manifest),
        format => filled(format, &reference, &found, manifest)?,
    })
}

/// Name, type and digest, and those of an index's manifests, in buildx's columns.
fn text(name: &str, found: &Found, manifest: &Value) -> String {
    let mut text = format!(
        "Name:      {name}\nMediaType: {}\nDigest:    {}\n",
        ui::printable(&found.media_type),
        ui::printable(&found.digest)
    );
    let Some(children) = manifest.get("manifests").and_then(Value::as_array) else {
        return text;
    };
    text.push_str(&format!("{0:11}\n{1:11}\n", "", "Manifests:"));
    let bare = name.split('@').next().unwrap_or(name);
    for (at, child) in children.iter().enumerate() {
        if at > 0 {
            text.push_str(&format!("{:13}\n", ""));
        }
        let field = |name: &str| ui::printable(child[name].as_str().unwrap_or_default());
        text.push_str(&format!("{:13}{bare}@{}\n", "  Name:", field("digest")));
        text.push_str(&format!("{:13}{}\n", "  MediaType:", field("mediaType")));
        if let Some(platform) = child.get("platform").and_then(Value::as_object) {
            text.push_str(&format!("{:13}{}\n", "  Platform:", platform_text(platform)));
        }
    }
    text
}

fn platform_text(platform: &Map<String, Value>) -> String {
    let parts = ["os", "architecture", "variant"];
    let parts = parts.iter().filter_map(|part| platform.get(*part)?.as_str());
    let parts: Vec<String> = parts.map(ui::printable).collect();
    parts.join("/")
}

/// The template filled from the name and the manifest, with the digest and size it has itself.
fn filled(format: &str, reference: &Reference, found: &Found, mut manifest: Value) -> Result<String, Error> {
    let known = [
        ("mediaType", Value::from(found.media_type.as_str())),
        ("digest", Value::from(found.digest.as_str())),
        ("size", Value::from(found.bytes.len())),
    ];
    match (&mut manifest, manifest_is_index(&found.bytes)) {
        (Value::Object(map), true) => map.extend(known.map(|(name, value)| (name.to_owned(), value))),
        _ => {
            manifest = Value::Object(
                known
                    .map(|(name, value)| (name.to_owned(), value))
                    .into_iter()
                    .collect(),
            )
        }
    }
    let mut all = Map::new();
    all.insert("name".to_owned(), reference.to_string().into());
    all.insert("manifest".to_owned(), manifest);
    let template = Template::parse(format)
        .map_err(|error| told(&error))?
        .with_tags(TAGS);
    let text = template
        .execute(&Value::Object(all))
        .map_err(|error| told(&error))?;
    Ok(match format {
        "{{json .}}" | "{{json .Manifest}}" => indented(&text, "  ") + "\n",
        _ => text + "\n",
    })
}

fn manifest_is_index(bytes: &[u8]) -> bool {
    serde_json::from_slice::<Value>(bytes).is_ok_and(|value| value.get("manifests").is_some())
}
