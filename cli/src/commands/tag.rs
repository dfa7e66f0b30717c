//! `mica tag`: another name for an image.

use clap::Args;
use hyper::Method;

use crate::client::{Body, Client, Query, in_path};
use crate::error::Error;
use crate::reference;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The image, by name or ID
    #[arg(value_name = "SOURCE_IMAGE[:TAG]")]
    source: String,
    /// Its new name
    #[arg(value_name = "TARGET_IMAGE[:TAG]")]
    target: String,
}

pub(super) async fn run(options: Options, client: &Client) -> Result<(), Error> {
    let mut query = Query::default();
    let parts = reference::split(&options.target);
    match (parts.tag, parts.digest) {
        (Some(tag), None) => {
            query.push("repo", parts.name);
            query.push("tag", tag);
        }
        // Whether a name is a good one, the daemon says.
        _ => query.push("repo", &options.target),
    }
    let path = format!("/images/{}/tag{}", in_path(&options.source), query.as_str());
    client.send(Method::POST, &path, Body::Empty).await.map(|_| ())
}
