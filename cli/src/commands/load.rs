//! `mica load`: images from a tar archive.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use hyper::Method;
use tokio::sync::mpsc::{self, Receiver};

use crate::client::{Body, Client, Query};
use crate::error::Error;
use crate::interrupt::or_interrupted;
use crate::stream::{Progress, plain};
use crate::{filter, ui};

/// The size of the pieces an archive is sent in.
const PIECE_BYTES: usize = 256 * 1024;

/// Pieces on their way between the reading thread and the socket.
const PIECES_IN_FLIGHT: usize = 8;

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
        Some(path) => File::open(path).map_err(|source| Error::File {
            action: "cannot open",
            path: path.clone(),
            source,
        })?,
        None if ui::input_is_terminal() => {
            return Err(Error::Host {
                message: "requested load from stdin, but stdin is empty".to_owned(),
            });
        }
        None => ui::input()?,
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
        query.push("platform", filter::platform_json(platform));
    }
    let path = format!("/images/load{}", query.as_str());
    or_interrupted(async {
        let body = Body::Pieces(pieces(file)?);
        let mut progress = Progress::of(client.send(Method::POST, &path, body).await?);
        while let Some(message) = progress.next().await? {
            match &message.stream {
                Some(text) => ui::result(text)?,
                None => ui::progress(plain(&message).unwrap_or_default()),
            }
        }
        Ok(())
    })
    .await
}

/// Reads the file in a thread, which ends when nobody takes the pieces any more.
fn pieces(mut file: File) -> Result<Receiver<io::Result<Bytes>>, Error> {
    let (sender, receiver) = mpsc::channel(PIECES_IN_FLIGHT);
    let work = move || {
        loop {
            let mut piece = vec![0; PIECE_BYTES];
            let piece = match file.read(&mut piece) {
                Ok(0) => return,
                Ok(count) => {
                    piece.truncate(count);
                    Ok(Bytes::from(piece))
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let is_last = piece.is_err();
            if sender.blocking_send(piece).is_err() || is_last {
                return;
            }
        }
    };
    let started = std::thread::Builder::new().name("archive".to_owned()).spawn(work);
    started
        .map(|_| receiver)
        .map_err(|source| Error::Input { source })
}
