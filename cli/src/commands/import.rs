//! `mica import`: an image from a tar of a file system.

use std::fs::File;
use std::path::Path;

use clap::Args;
use hyper::Method;

use crate::archive;
use crate::client::{Body, Client, Query};
use crate::display::Display;
use crate::error::Error;
use crate::interrupt::or_interrupted;
use crate::stream::Progress;
use crate::{platform, ui};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Apply Dockerfile instruction to the created image
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// Set commit message for imported image
    #[arg(short, long, value_name = "MESSAGE")]
    message: Option<String>,
    /// Set platform if server is multi-platform capable
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// The archive of a file system, or "-" for standard input
    #[arg(value_name = "file|URL|-")]
    source: String,
    /// The name of the image
    #[arg(value_name = "REPOSITORY[:TAG]")]
    reference: Option<String>,
}

/// Where the archive is.
enum Source {
    File(File),
    /// Standard input.
    Input(File),
    /// Where the daemon fetches it.
    Address,
}

pub(super) async fn run(options: Options, client: &Client) -> Result<(), Error> {
    let is_url = ["http://", "https://"]
        .iter()
        .any(|start| options.source.starts_with(start));
    let source = match options.source.as_str() {
        _ if is_url => Source::Address,
        "-" if ui::input_is_terminal() => {
            return Err(Error::Refused {
                message: "requested import from stdin, but stdin is empty".to_owned(),
            });
        }
        "-" => Source::Input(ui::input()?),
        path => Source::File(File::open(path).map_err(|source| Error::File {
            action: "cannot open",
            path: Path::new(path).to_owned(),
            source,
        })?),
    };
    let mut query = Query::default();
    query.push("fromSrc", if is_url { &options.source } else { "-" });
    if let Some(reference) = &options.reference {
        query.push("repo", reference);
    }
    if let Some(message) = &options.message {
        query.push("message", message);
    }
    if let Some(platform) = platform::or_default(options.platform) {
        query.push("platform", platform);
    }
    for change in &options.change {
        query.push("changes", change);
    }
    let path = format!("/images/create{}", query.as_str());
    let id = or_interrupted(async {
        let body = match source {
            Source::File(file) => archive::body(file)?,
            Source::Input(input) => Body::Pieces(archive::pieces(input)?),
            Source::Address => Body::Empty,
        };
        let answer = client.send(Method::POST, &path, body).await?;
        follow(Progress::of(answer)).await
    })
    .await?;
    ui::result(format!("{id}\n"))
}

/// Shows the stream but its last status, which is the image's ID.
async fn follow(mut progress: Progress) -> Result<String, Error> {
    let mut display = Display::new(false);
    let mut last = None;
    while let Some(message) = progress
        .next_on(&mut display)
        .await
        .map_err(Error::without_code)?
    {
        let is_id = message.status.is_some() && message.id.is_none();
        let shown = if is_id {
            last.replace(message)
        } else {
            Some(message)
        };
        if let Some(message) = shown {
            display.show(&message);
        }
    }
    last.and_then(|message| message.status)
        .ok_or_else(|| Error::Work {
            message: "the daemon did not say which image it made".to_owned(),
            code: None,
        })
}
