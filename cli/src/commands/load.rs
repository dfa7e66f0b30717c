//! `mica load`: images from a tar archive.

use std::fs::File;
use std::path::PathBuf;

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
    /// Read from tar archive file, instead of STDIN
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Load only the given platform variant
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// Suppress the load output
    #[arg(short, long)]
    quiet: bool,
}

pub(super) async fn run(options: Options, client: &Client) -> Result<(), Error> {
    let file = match &options.input {
        Some(path) => Some(File::open(path).map_err(|source| Error::File {
            action: "cannot open",
            path: path.clone(),
            source,
        })?),
        None if ui::input_is_terminal() => {
            return Err(Error::Host {
                message: "requested load from stdin, but stdin is empty".to_owned(),
            });
        }
        None => None,
    };
    let mut query = Query::default();
    query.push(
        "quiet",
        if options.quiet || !ui::result_is_terminal() {
            "1"
        } else {
            "0"
        },
    );
    if let Some(platform) = &options.platform {
        query.push("platform", platform::to_json(platform));
    }
    let path = format!("/images/load{}", query.as_str());
    or_interrupted(async {
        let body = match file {
            Some(file) => archive::body(file)?,
            None => Body::Pieces(archive::pieces(ui::input()?)?),
        };
        let mut progress = Progress::of(client.send(Method::POST, &path, body).await?);
        let mut display = Display::new(false);
        while let Some(message) = progress.next_on(&mut display).await? {
            match &message.stream {
                Some(text) => {
                    display.settle();
                    ui::result(text)?;
                }
                None => display.show(&message),
            }
        }
        Ok(())
    })
    .await
}
