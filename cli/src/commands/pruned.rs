//! One request for each kind of thing that can be pruned, and what came of it as text.

use hyper::Method;
use mica_api::{BuildPruneReport, PruneReport};
use serde::Deserialize;

use crate::client::{Client, Query};
use crate::commands::pruning;
use crate::error::Error;
use crate::filter;

/// What a prune removed.
#[derive(Debug)]
pub(super) struct Pruned {
    title: &'static str,
    lines: Vec<String>,
    /// Bytes given back.
    pub(super) space: u64,
}

impl Pruned {
    /// What was removed, one on a line under a title, a blank line behind; nothing if nothing was.
    pub(super) fn told(&self) -> String {
        if self.lines.is_empty() {
            return String::new();
        }
        format!("{}:\n{}\n\n", self.title, self.lines.join("\n"))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Report {
    #[serde(
        alias = "ContainersDeleted",
        alias = "NetworksDeleted",
        alias = "VolumesDeleted"
    )]
    deleted: Option<Vec<String>>,
    space_reclaimed: u64,
}

/// Stopped containers.
pub(super) async fn containers(client: &Client, filters: Option<&str>) -> Result<Pruned, Error> {
    plain("Deleted Containers", "/containers/prune", client, filters).await
}

/// Networks without containers.
pub(super) async fn networks(client: &Client, filters: Option<&str>) -> Result<Pruned, Error> {
    plain("Deleted Networks", "/networks/prune", client, filters).await
}

/// Volumes without containers.
pub(super) async fn volumes(client: &Client, filters: Option<&str>) -> Result<Pruned, Error> {
    plain("Deleted Volumes", "/volumes/prune", client, filters).await
}

async fn plain(
    title: &'static str,
    path: &str,
    client: &Client,
    filters: Option<&str>,
) -> Result<Pruned, Error> {
    let mut query = Query::default();
    if let Some(filters) = filters {
        query.push("filters", filters);
    }
    let report: Report = client
        .ask(Method::POST, &format!("{path}{}", query.as_str()))
        .await?;
    Ok(Pruned {
        title,
        lines: report.deleted.unwrap_or_default(),
        space: report.space_reclaimed,
    })
}

/// Images: those without a name, or `all` that nothing uses.
pub(super) async fn images(client: &Client, all: bool, filters: &[String]) -> Result<Pruned, Error> {
    let mut filters = filters.to_vec();
    filters.push(format!("dangling={}", !all));
    let mut query = Query::default();
    query.push("filters", filter::to_json(&filters)?.unwrap_or_default());
    let report: PruneReport = pruning::ask(client, &format!("/images/prune{}", query.as_str())).await?;
    let items = report.images_deleted.unwrap_or_default().into_iter();
    let lines = items.filter_map(|item| match (item.untagged, item.deleted) {
        (Some(untagged), _) => Some(format!("untagged: {untagged}")),
        (None, Some(deleted)) => Some(format!("deleted: {deleted}")),
        (None, None) => None,
    });
    Ok(Pruned {
        title: "Deleted Images",
        lines: lines.collect(),
        space: report.space_reclaimed,
    })
}

/// The build cache that nothing needs, or `all` that no build is using.
pub(super) async fn cache(client: &Client, all: bool, filters: Option<&str>) -> Result<Pruned, Error> {
    let mut query = Query::default();
    query.flag("all", all);
    if let Some(filters) = filters {
        query.push("filters", filters);
    }
    cache_with(client, query).await
}

/// The same with any parameters.
pub(super) async fn cache_with(client: &Client, query: Query) -> Result<Pruned, Error> {
    let report: BuildPruneReport = pruning::ask(client, &format!("/build/prune{}", query.as_str())).await?;
    Ok(Pruned {
        title: "Deleted build cache objects",
        lines: report.caches_deleted,
        space: report.space_reclaimed,
    })
}
