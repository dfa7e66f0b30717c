//! `mica save`: images as a tar archive.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use hyper::Method;

use crate::client::{Body, Client, Query};
use crate::error::Error;
use crate::interrupt::or_interrupted;
use crate::{filter, ui};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Write to a file, instead of STDOUT
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Save only the given platform variant
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

pub(super) async fn run(options: Options, client: &Client) -> Result<(), Error> {
    let mut query = Query::default();
    for name in &options.images {
        query.push("names", name);
    }
    if let Some(platform) = &options.platform {
        query.push("platform", filter::platform_json(platform));
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

/// A file beside the target that becomes the target when it is whole and vanishes when it does not.
struct Draft {
    path: Option<PathBuf>,
}

impl Draft {
    fn create(target: &Path) -> Result<(File, Self), Error> {
        let told = |source| Error::File {
            action: "cannot create",
            path: target.to_owned(),
            source,
        };
        // Pipes and devices are written to as they are; renaming onto /dev/null would replace it.
        let existing = fs::metadata(target);
        if existing.as_ref().is_ok_and(|data| data.is_dir()) {
            return Err(told(io::ErrorKind::IsADirectory.into()));
        }
        if existing.is_ok_and(|data| !data.is_file()) {
            let file = OpenOptions::new().write(true).open(target).map_err(told)?;
            return Ok((file, Self { path: None }));
        }
        let name = target
            .file_name()
            .ok_or_else(|| told(io::ErrorKind::InvalidInput.into()))?;
        let mut draft = std::ffi::OsString::from(".");
        draft.push(name);
        draft.push(format!(".{}", std::process::id()));
        let path = target.with_file_name(draft);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(told)?;
        Ok((file, Self { path: Some(path) }))
    }

    fn keep(mut self, target: &Path) -> Result<(), Error> {
        let Some(path) = self.path.take() else {
            return Ok(());
        };
        fs::rename(&path, target).map_err(|source| {
            self.path = Some(path);
            Error::File {
                action: "cannot create",
                path: target.to_owned(),
                source,
            }
        })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _gone = fs::remove_file(path);
        }
    }
}
