//! `mica push`: images to a registry.

use clap::Args;
use hyper::Method;
use mica_api::{BuiltImage, Message};
use mica_oci::Reference;

use crate::client::{Body, Client, Query, in_path};
use crate::commands::foreign::Foreign;
use crate::commands::pull::{TAG_AND_ALL, with_tag};
use crate::credentials::{Credentials, Target, auth_header};
use crate::display::Display;
use crate::error::Error;
use crate::interrupt::or_interrupted;
use crate::stream::Progress;
use crate::{platform, ui};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Push all tags of an image to the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Compress layers with this as they are sent
    #[arg(long, value_name = "FORMAT", value_parser = ["gzip", "zstd"])]
    compression: Option<String>,
    #[command(flatten)]
    foreign: Foreign,
    /// Push a platform-specific manifest as a single-platform image to the registry.
    /// Image index won't be pushed, meaning that other manifests, including attestations won't be preserved.
    /// 'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)
    #[arg(long, value_name = "PLATFORM", verbatim_doc_comment)]
    platform: Option<String>,
    /// Suppress verbose output
    #[arg(short, long)]
    quiet: bool,
    /// The image, with its registry if that is not Docker Hub
    #[arg(value_name = "NAME[:TAG]")]
    name: String,
}

/// How an image is pushed.
#[derive(Debug)]
pub(super) struct How<'a> {
    /// Which of an index's images, if not all.
    pub(super) platform: Option<String>,
    /// The images of a build for several platforms, which are pushed with an index; the image of the name if there are none.
    pub(super) images: &'a [BuiltImage],
    /// How its layers are compressed.
    pub(super) compression: Option<&'a str>,
    /// The image that was just built and goes with what was said of it.
    pub(super) attested: Option<&'a str>,
    /// Whether nothing is shown.
    pub(super) is_quiet: bool,
}

pub(super) async fn run(options: Options, client: &Client, credentials: Credentials) -> Result<(), Error> {
    let reference = wanted(&options)?;
    options.foreign.warn();
    let credentials = &credentials.only_from(options.foreign.authfile);
    let how = How {
        platform: platform::or_default(options.platform),
        images: &[],
        compression: options.compression.as_deref(),
        attested: None,
        is_quiet: options.quiet,
    };
    let told = |line: &str| ui::result(format!("{line}\n"));
    or_interrupted(async { push(&reference, &how, client, credentials, told).await }).await?;
    if options.quiet {
        ui::result(format!("{reference}\n"))?;
    }
    Ok(())
}

/// Pushes an image; without a tag, all tags. The lines that say what is in the registry now go to `told`; the last
/// digest of those is returned.
pub(super) async fn push(
    reference: &Reference,
    how: &How<'_>,
    client: &Client,
    credentials: &Credentials,
    told: impl Fn(&str) -> Result<(), Error>,
) -> Result<Option<String>, Error> {
    let mut query = Query::default();
    if let Some(tag) = &reference.tag {
        query.push("tag", tag.as_str());
    }
    if let Some(platform) = &how.platform {
        query.push("platform", platform::to_json(platform));
    }
    if let Some(compression) = how.compression {
        query.push("compression", compression);
    }
    if !how.images.is_empty() {
        query.push("images", serde_json::json!(how.images).to_string());
    }
    if let Some(image) = how.attested {
        query.push("attestations", image);
    }
    let name = reference.repository.to_string();
    let path = format!("/images/{}/push{}", in_path(&name), query.as_str());
    let auth = credentials
        .find(&Target::repository(&reference.repository))
        .await?;
    let header = Some(auth_header(&auth));
    let answer = client.send_with(Method::POST, &path, header, Body::Empty).await?;
    follow(Progress::of(answer), how.is_quiet, told).await
}

fn wanted(options: &Options) -> Result<Reference, Error> {
    let reference: Reference = options.name.parse()?;
    let refuse = |message: &str| {
        Err(Error::Refused {
            message: message.to_owned(),
        })
    };
    if options.all_tags && (reference.tag.is_some() || reference.digest.is_some()) {
        return refuse(TAG_AND_ALL);
    }
    if reference.digest.is_some() {
        return refuse("cannot push a digest reference");
    }
    match options.all_tags {
        true => Ok(reference),
        false => Ok(with_tag(reference, options.quiet)),
    }
}

/// Shows the stream but the lines that tell what was pushed; the digest of the last of these.
async fn follow(
    mut progress: Progress,
    is_quiet: bool,
    told: impl Fn(&str) -> Result<(), Error>,
) -> Result<Option<String>, Error> {
    let mut display = Display::new(is_quiet);
    let mut last = None;
    while let Some(message) = progress
        .next_on(&mut display)
        .await
        .map_err(Error::without_code)?
    {
        let Some((line, digest)) = pushed(&message) else {
            display.show(&message);
            continue;
        };
        if !is_quiet {
            display.settle();
            told(line)?;
        }
        last = Some(digest.to_owned());
    }
    Ok(last)
}

/// `TAG: digest: DIGEST size: N`, the line that tells of a manifest that is in the registry now, and its digest.
fn pushed(message: &Message) -> Option<(&str, &str)> {
    let status = message.status.as_deref().filter(|_| message.id.is_none())?;
    let (_, rest) = status.split_once(": digest: ")?;
    let (digest, size) = rest.split_once(" size: ")?;
    (digest.contains(':') && size.bytes().all(|byte| byte.is_ascii_digit())).then_some((status, digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_digest_is_known() {
        for (status, expected) in [
            ("latest: digest: sha256:00 size: 5", true),
            ("latest: digest: sha256:00 size: x", false),
            ("The push refers to repository [docker.io/library/x]", false),
            ("latest: digest: none", false),
        ] {
            assert_eq!(pushed(&Message::status(status)).is_some(), expected, "{status}");
        }
    }
}
