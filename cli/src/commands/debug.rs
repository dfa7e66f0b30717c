//! `mica debug`: a shell, or a command, where the RUN of a build failed.

use clap::Args;
use hyper::Method;
use mica_api::DebugReport;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use crate::client::{Body, Client, Query, in_path};
use crate::error::Error;
use crate::interrupt::or_interrupted;
use crate::pty::Pty;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The build, as it was shown when it failed
    #[arg(value_name = "BUILD")]
    build: String,
    /// What to run there; the stage's shell if nothing is said
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

pub(super) async fn run(options: Options, client: &Client) -> Result<(), Error> {
    let failed = |source| Error::Input { source };
    let mut query = Query::default();
    if !options.command.is_empty() {
        query.push("command", Value::from(options.command).to_string());
    }
    let path = format!("/mica/debug/{}{}", in_path(&options.build), query.as_str());
    let mut resized = signal(SignalKind::window_change()).map_err(failed)?;
    let (pty, terminal) = Pty::open().map_err(failed)?;
    let asking = or_interrupted(async {
        let answer = client
            .send_handing(Method::POST, &path, None, Body::Empty, vec![terminal])
            .await?;
        answer.json::<DebugReport>().await
    });
    tokio::pin!(asking);
    let report = loop {
        tokio::select! {
            report = &mut asking => break report,
            _ = resized.recv() => pty.resize(),
        }
    };
    // the user's terminal is as it was before anything else is told
    pty.finish().map_err(|source| Error::Output { source })?;
    match report?.exit_code {
        0 => Ok(()),
        code => Err(Error::Ended { code }),
    }
}
