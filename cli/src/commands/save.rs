//! `mica save`: images as a tar archive.

use std::path::PathBuf;

use clap::Args;
use hyper::Method;

use crate::client::{Body, Client, Query};
use crate::draft::Draft;
use crate::error::Error;
use crate::interrupt::or_interrupted;
use crate::{platform, ui};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Write to a file, instead of STDOUT
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Save only the given platform variant
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// podman's: the archive is docker's and an OCI layout in one
    #[arg(long, hide = true, value_parser = ["docker-archive", "oci-archive"])]
    format: Option<String>,
    #[arg(short, long, hide = true)]
    multi_image_archive: bool,
    #[arg(short, long, hide = true)]
    quiet: bool,
    #[arg(long, hide = true)]
    compress: bool,
    /// Images, by name or ID
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

pub(super) async fn run(options: Options, client: &Client) -> Result<(), Error> {
    if options.compress {
        ui::warn("--compress has no effect");
    }
    let mut query = Query::default();
    for name in &options.images {
        query.push("names", name);
    }
    if let Some(platform) = &options.platform {
        query.push("platform", platform::to_json(platform));
    }
    let path = format!("/images/get{}", query.as_str());
    let Some(target) = &options.output else {
        if ui::result_is_terminal() {
            let message = "cowardly refusing to save to a terminal. Use the -o flag or redirect".to_owned();
            return Err(Error::Host { message });
        }
        let answer = client.send(Method::GET, &path, Body::Empty).await?;
        return answer
            .copy_to(&mut ui::output()?, |source| Error::Output { source })
            .await;
    };
    or_interrupted(async {
        let answer = client.send(Method::GET, &path, Body::Empty).await?;
        let (mut file, draft) = Draft::create(target)?;
        let told = |source| Error::File {
            action: "cannot write",
            path: target.clone(),
            source,
        };
        answer.copy_to(&mut file, told).await?;
        draft.keep(target)
    })
    .await
}
