//! `mica manifest inspect`: a manifest as its registry keeps it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use hyper::Method;
use mica_oci::Reference;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::client::{Body, Client, in_path};
use crate::credentials::{Credentials, Target, auth_header};
use crate::error::Error;
use crate::interrupt::or_interrupted;
use crate::json::indented;
use crate::secret::Secret;
use crate::ui;

/// The longest manifest; registries take no longer ones.
const MAX_MANIFEST_BYTES: usize = 4 * 1024 * 1024;

/// How many manifests of an index are asked for, one after the other.
const MAX_MANIFESTS: usize = 256;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Accepted for docker's sake
    #[arg(long, hide = true)]
    insecure: bool,
    /// Output additional info including layers and platform
    #[arg(short, long)]
    verbose: bool,
    /// The image, with its registry if that is not Docker Hub
    #[arg(value_name = "MANIFEST")]
    name: String,
}

/// A manifest as the daemon gave it.
pub(super) struct Found {
    /// Its bytes, which are JSON.
    pub(super) bytes: Vec<u8>,
    /// What the registry calls it.
    pub(super) media_type: String,
    /// The digest of the bytes.
    pub(super) digest: String,
}

/// What is looked at of an index.
#[derive(Deserialize)]
struct Index {
    manifests: Vec<Child>,
}

#[derive(Deserialize)]
struct Child {
    digest: mica_oci::Digest,
    platform: Option<Box<RawValue>>,
}

pub(super) async fn run(options: Options, client: &Client, credentials: &Credentials) -> Result<(), Error> {
    let reference: Reference = options.name.parse::<Reference>()?.or_latest();
    let text = or_interrupted(async {
        let auth = credentials
            .find(&Target::repository(&reference.repository))
            .await?;
        let header = auth_header(&auth);
        let found = ask(&reference, client, header.clone()).await?;
        let index = serde_json::from_slice::<Index>(&found.bytes).ok();
        match (options.verbose, index) {
            (false, None) => Ok(indented(found.text()?, "\t")),
            (false, Some(_)) => Ok(indented(found.text()?, "   ")),
            (true, None) => Ok(indented(&described(&reference, &found, None)?, "\t")),
            (true, Some(index)) => Ok(indented(
                &children(&reference, index, client, &header).await?,
                "\t",
            )),
        }
    })
    .await?;
    ui::result(text + "\n")
}

/// Asks the daemon for a manifest of a registry's.
pub(super) async fn ask(
    reference: &Reference,
    client: &Client,
    header: (&'static str, Secret),
) -> Result<Found, Error> {
    let path = format!("/mica/manifest/{}", in_path(&reference.to_string()));
    let answer = client
        .send_with(Method::GET, &path, Some(header), Body::Empty)
        .await?;
    let (media_type, digest) = (
        answer.header("Content-Type"),
        answer.header("Docker-Content-Digest"),
    );
    let bytes = answer.whole(MAX_MANIFEST_BYTES).await?;
    if let Err(source) = serde_json::from_slice::<IgnoredAny>(&bytes) {
        return Err(Error::Answer { path, source });
    }
    Ok(Found {
        bytes,
        media_type,
        digest,
    })
}

impl Found {
    fn text(&self) -> Result<&str, Error> {
        std::str::from_utf8(&self.bytes).map_err(|error| Error::Transport {
            action: "reading the manifest",
            source: error.into(),
        })
    }
}

/// Docker's long form of all manifests of an index.
async fn children(
    reference: &Reference,
    index: Index,
    client: &Client,
    header: &(&'static str, Secret),
) -> Result<String, Error> {
    if index.manifests.len() > MAX_MANIFESTS {
        return Err(Error::Refused {
            message: format!("the index holds more than {MAX_MANIFESTS} manifests"),
        });
    }
    let mut texts = Vec::new();
    for child in index.manifests {
        let asked = Reference {
            digest: Some(child.digest),
            ..reference.clone()
        };
        let found = ask(&asked, client, header.clone()).await?;
        texts.push(described(&asked, &found, child.platform)?);
    }
    Ok(format!("[{}]", texts.join(",")))
}

/// Docker's long form of a manifest: its name, its descriptor, its bytes and what they say.
fn described(reference: &Reference, found: &Found, platform: Option<Box<RawValue>>) -> Result<String, Error> {
    let mut descriptor = Map::new();
    descriptor.insert("mediaType".to_owned(), json!(found.media_type));
    descriptor.insert("digest".to_owned(), json!(found.digest));
    descriptor.insert("size".to_owned(), json!(found.bytes.len()));
    if let Some(platform) = platform.and_then(|platform| serde_json::from_str::<Value>(platform.get()).ok()) {
        descriptor.insert("platform".to_owned(), platform);
    }
    let kind = match found.media_type.contains("vnd.oci.") {
        true => "OCIManifest",
        false => "SchemaV2Manifest",
    };
    Ok(format!(
        "{{\"Ref\":{},\"Descriptor\":{},\"Raw\":{},\"{kind}\":{}}}",
        json!(reference.to_string()),
        Value::Object(descriptor),
        json!(STANDARD.encode(&found.bytes)),
        found.text()?
    ))
}
