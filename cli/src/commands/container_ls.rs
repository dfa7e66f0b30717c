//! `mica ps`: the containers of a daemon that runs some; micad runs none.

use std::collections::BTreeMap;

use clap::Args;
use hyper::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::client::{Client, Query};
use crate::commands::volume_ls::labels;
use crate::error::Error;
use crate::format::{Listing, Row, object};
use crate::{age, filter, reference, size, table, ui};

const TABLE: &str = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";
const TABLE_WITH_SIZE: &str =
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}";
pub(super) const HEADERS: [(&str, &str); 14] = [
    ("ID", "CONTAINER ID"),
    ("Names", "NAMES"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Ports", "PORTS"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Size", "SIZE"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
];

/// How much of a command a table shows.
const COMMAND_CHARS: usize = 20;

/// How much of a mount a table shows.
const MOUNT_CHARS: usize = 15;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    all: bool,
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Format output: table, table TEMPLATE, json or a Go template
    #[arg(long, value_name = "FORMAT", default_value = "", hide_default_value = true)]
    format: String,
    /// Show n last created containers (includes all states)
    #[arg(short = 'n', long, value_name = "NUMBER", allow_hyphen_values = true)]
    last: Option<i64>,
    /// Show the latest created container (includes all states)
    #[arg(short, long)]
    latest: bool,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only display container IDs
    #[arg(short, long)]
    quiet: bool,
    /// Display total file sizes
    #[arg(short, long)]
    size: bool,
}

/// What is looked at of a container.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Container {
    id: String,
    names: Option<Vec<String>>,
    image: String,
    #[serde(rename = "ImageID")]
    image_id: String,
    command: String,
    created: i64,
    ports: Option<Vec<Port>>,
    labels: Option<BTreeMap<String, String>>,
    state: String,
    status: String,
    size_rw: i64,
    pub(super) size_root_fs: i64,
    mounts: Option<Vec<Mount>>,
    network_settings: Option<Networks>,
}

#[derive(Debug, Default, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Port {
    private_port: u16,
    #[serde(rename = "IP")]
    ip: String,
    public_port: u16,
    #[serde(rename = "Type")]
    kind: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Mount {
    name: String,
    source: String,
    driver: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Networks {
    networks: Option<BTreeMap<String, Value>>,
}

pub(super) async fn run(options: Options, client: &Client) -> Result<(), Error> {
    let mut query = Query::default();
    query.flag("all", options.all);
    let limit = if options.latest { Some(1) } else { options.last };
    if let Some(limit) = limit.filter(|limit| *limit > 0) {
        query.push("limit", limit.to_string());
    }
    query.flag("size", options.size || options.format.contains(".Size"));
    if let Some(filters) = filter::to_json(&options.filter)? {
        query.push("filters", filters);
    }
    let path = format!("/containers/json{}", query.as_str());
    let containers: Vec<Container> = client.ask(Method::GET, &path).await?;
    let listing = Listing {
        format: match options.format.as_str() {
            "" | "table" if options.quiet => "{{.ID}}",
            format => format,
        },
        table: if options.size { TABLE_WITH_SIZE } else { TABLE },
        raw: None,
        headers: &HEADERS,
    };
    let now = age::now();
    let rows = containers
        .iter()
        .map(|container| row(container, options.no_trunc, now));
    ui::result(listing.show_objects(rows.collect())?)
}

/// A container as a row.
pub(super) fn row(container: &Container, no_trunc: bool, now: i64) -> Value {
    let mut row = object(texts(container, no_trunc, now));
    // which platform it is for is told by no API up to 1.51
    row["Platform"] = Value::Null;
    row
}

fn texts(container: &Container, no_trunc: bool, now: i64) -> Row {
    let short = |text: &str, most: usize| match no_trunc {
        true => text.to_owned(),
        false => table::shortened(text, most),
    };
    let id = |id: &str| match no_trunc {
        true => id.to_owned(),
        false => reference::short_id(id).to_owned(),
    };
    // An image whose name went on to another is shown by its ID.
    let image = match container.image == container.image_id {
        true => id(&container.image),
        false => container.image.clone(),
    };
    let mounts = container.mounts.as_deref().unwrap_or_default();
    let shown_mounts: Vec<String> = mounts
        .iter()
        .map(|mount| {
            short(
                if mount.name.is_empty() {
                    &mount.source
                } else {
                    &mount.name
                },
                MOUNT_CHARS,
            )
        })
        .collect();
    let networks = container
        .network_settings
        .as_ref()
        .and_then(|settings| settings.networks.as_ref());
    let networks: Vec<&str> = networks
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    let size = match container.size_root_fs {
        0 => size::human(container.size_rw, 3),
        all => format!(
            "{} (virtual {})",
            size::human(container.size_rw, 3),
            size::human(all, 3)
        ),
    };
    let since = now.saturating_sub(container.created);
    vec![
        ("ID", id(&container.id)),
        ("Names", names(container, no_trunc)),
        ("Image", image),
        (
            "Command",
            format!("\"{}\"", short(&container.command, COMMAND_CHARS)),
        ),
        ("CreatedAt", age::go_date(container.created)),
        ("RunningFor", format!("{} ago", age::human(since))),
        ("Platform", String::new()),
        ("Ports", ports(container.ports.as_deref().unwrap_or_default())),
        ("State", container.state.clone()),
        ("Status", container.status.clone()),
        ("Size", size),
        ("Labels", labels(container.labels.as_ref())),
        ("Mounts", shown_mounts.join(",")),
        (
            "LocalVolumes",
            mounts
                .iter()
                .filter(|mount| mount.driver == "local")
                .count()
                .to_string(),
        ),
        ("Networks", networks.join(",")),
    ]
}

/// All names, or the container's own: one with a second slash is what another calls it.
fn names(container: &Container, all: bool) -> String {
    let names = container.names.as_deref().unwrap_or_default().iter();
    let names = names.map(|name| name.strip_prefix('/').unwrap_or(name));
    let names: Vec<&str> = names.filter(|name| all || !name.contains('/')).collect();
    names.join(",")
}

/// `443/tcp, 0.0.0.0:8080->80/tcp`: those that are published come last.
fn ports(ports: &[Port]) -> String {
    let mut ports = ports.to_vec();
    ports.sort_by_key(|port| (port.public_port != 0, port.clone()));
    let shown = ports.iter().map(|port| {
        let Port {
            private_port,
            ip,
            public_port,
            kind,
        } = port;
        let ip = if ip.contains(':') {
            format!("[{ip}]")
        } else {
            ip.clone()
        };
        match (public_port, ip.as_str()) {
            (0, _) => format!("{private_port}/{kind}"),
            (_, "") => format!("{public_port}->{private_port}/{kind}"),
            (_, ip) => format!("{ip}:{public_port}->{private_port}/{kind}"),
        }
    });
    shown.collect::<Vec<_>>().join(", ")
}
