//! `mica buildx inspect`: the one builder there is, which is the daemon.

use clap::Args;
use hyper::Method;
use mica_api::Version;

use crate::client::Client;
use crate::commands::only_builder::{BUILDER, check};
use crate::error::Error;
use crate::ui;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Accepted for docker's sake: asking starts the daemon
    #[arg(long)]
    bootstrap: bool,
    /// The builder: "default"
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// The daemon as a builder.
#[derive(Debug)]
pub(super) struct Node {
    /// Where it listens.
    pub(super) endpoint: String,
    /// Its version.
    pub(super) version: String,
    /// What its machine runs.
    pub(super) platforms: Vec<String>,
}

impl Node {
    /// Asks the daemon.
    pub(super) async fn of(client: &Client) -> Result<Self, Error> {
        let version: Version = client.ask(Method::GET, "/version").await?;
        Ok(Self {
            endpoint: client.place(),
            version: ui::printable(&version.version),
            platforms: vec![ui::printable(&format!("{}/{}", version.os, version.arch))],
        })
    }

    /// How builds get there.
    pub(super) fn driver(&self) -> &'static str {
        "mica"
    }

    /// It answered.
    pub(super) fn status(&self) -> &'static str {
        "running"
    }
}

pub(super) async fn run(options: Options, client: &Client) -> Result<(), Error> {
    check(options.name.as_deref().unwrap_or_default())?;
    let node = Node::of(client).await?;
    let lines = [
        ("Name:", BUILDER),
        ("Endpoint:", &node.endpoint),
        ("Status:", node.status()),
        ("Version:", &node.version),
        ("Platforms:", &node.platforms.join(", ")),
    ];
    let lines: String = lines
        .iter()
        .map(|(name, value)| format!("{name:<10} {value}\n"))
        .collect();
    let driver = node.driver();
    ui::result(format!("Name:   {BUILDER}\nDriver: {driver}\n\nNodes:\n{lines}"))
}
