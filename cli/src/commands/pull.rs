//! `mica pull`: images from a registry.

use clap::Args;
use hyper::Method;
use mica_oci::Reference;

use crate::client::{Body, Client, Query};
use crate::commands::foreign::Foreign;
use crate::credentials::{Credentials, Target, auth_header};
use crate::display::Display;
use crate::error::Error;
use crate::interrupt::or_interrupted;
use crate::stream::Progress;
use crate::{platform, ui};

/// What docker says to `--all-tags` with a tag.
pub(super) const TAG_AND_ALL: &str = "tag can't be used with --all-tags/-a";

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Download all tagged images in the repository
    #[arg(short, long)]
    all_tags: bool,
    #[command(flatten)]
    foreign: Foreign,
    /// Set platform if server is multi-platform capable
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// Suppress verbose output
    #[arg(short, long)]
    quiet: bool,
    /// The image, with its registry if that is not Docker Hub
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    name: String,
}

pub(super) async fn run(options: Options, client: &Client, credentials: Credentials) -> Result<(), Error> {
    let reference = wanted(&options)?;
    options.foreign.warn();
    let credentials = credentials.only_from(options.foreign.authfile);
    let mut query = Query::default();
    query.push("fromImage", reference.repository.to_string());
    match (&reference.digest, &reference.tag) {
        (Some(digest), _) => query.push("tag", digest.to_string()),
        (None, Some(tag)) => query.push("tag", tag.as_str()),
        (None, None) => {}
    }
    if let Some(platform) = platform::or_default(options.platform) {
        query.push("platform", platform);
    }
    let path = format!("/images/create{}", query.as_str());
    or_interrupted(async {
        let auth = credentials
            .find(&Target::repository(&reference.repository))
            .await?;
        let header = Some(auth_header(&auth));
        let answer = client.send_with(Method::POST, &path, header, Body::Empty).await?;
        let mut display = Display::new(options.quiet);
        Progress::of(answer).show(&mut display).await
    })
    .await?;
    ui::result(format!("{reference}\n"))
}

/// The reference the name stands for: with a tag, unless all are wanted.
fn wanted(options: &Options) -> Result<Reference, Error> {
    let reference: Reference = options.name.parse()?;
    let is_bare = reference.tag.is_none() && reference.digest.is_none();
    match (options.all_tags, is_bare) {
        (true, true) => Ok(reference),
        (true, false) => Err(Error::Refused {
            message: TAG_AND_ALL.to_owned(),
        }),
        (false, _) => Ok(with_tag(reference, options.quiet)),
    }
}

/// The reference with a tag or digest; that it is `latest` by default is said.
pub(super) fn with_tag(reference: Reference, is_quiet: bool) -> Reference {
    let is_bare = reference.tag.is_none() && reference.digest.is_none();
    let reference = reference.or_latest();
    if let Some(tag) = reference.tag.as_ref().filter(|_| is_bare && !is_quiet) {
        ui::notice(format!("Using default tag: {tag}"));
    }
    reference
}
