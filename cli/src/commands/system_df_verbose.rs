//! `mica system df --verbose`: everything that uses the disk, one by one.

use mica_api::{CacheRecord, DiskUsage, ImageSummary, OnDisk};
use serde_json::{Value, json};

use crate::commands::container_ls::{self, Container};
use crate::commands::images::{self, NONE, Name};
use crate::commands::volume_ls::{self, Volume};
use crate::error::Error;
use crate::format::{Listing, Row, escaped, object, told};
use crate::template::Template;
use crate::{age, reference, size, ui};

const IMAGES: &str = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t\
                      {{.UniqueSize}}\t{{.Containers}}";
const CONTAINERS: &str = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t\
                          {{.Status}}\t{{.Names}}";
const VOLUMES: &str = "{{.Name}}\t{{.Links}}\t{{.Size}}";
const CACHE: &str = "{{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t\
                     {{.Shared}}";
const CACHE_HEADERS: [(&str, &str); 10] = [
    ("ID", "CACHE ID"),
    ("Parent", "PARENT"),
    ("CacheType", "CACHE TYPE"),
    ("Size", "SIZE"),
    ("CreatedSince", "CREATED"),
    ("LastUsedSince", "LAST USED"),
    ("UsageCount", "USAGE"),
    ("InUse", "IN USE"),
    ("Shared", "SHARED"),
    ("Description", "DESCRIPTION"),
];

/// All rows of all four kinds.
struct Rows {
    images: Vec<Row>,
    containers: Vec<Value>,
    volumes: Vec<Row>,
    cache: Vec<Row>,
}

pub(super) fn show(format: &str, mut usage: DiskUsage, now: i64) -> Result<String, Error> {
    usage
        .build_cache
        .sort_by(|a, b| (&a.last_used_at, &a.id).cmp(&(&b.last_used_at, &b.id)));
    let is_table = matches!(format, "" | "table");
    let rows = rows(&usage, !is_table && !format.starts_with("table "), now)?;
    if is_table {
        return Ok(tables(rows, &usage.build_cache)? + &usage.on_disk.map_or_else(String::new, on_disk));
    }
    let source = match format {
        "json" => "{{json .}}",
        other => other.strip_prefix("table ").unwrap_or(other),
    };
    let source = source.replace("\\t", "\t").replace("\\n", "\n");
    let list = |rows: Vec<Row>| rows.into_iter().map(object).collect::<Value>();
    let all = json!({
        "Images": list(rows.images),
        "Containers": rows.containers,
        "Volumes": list(rows.volumes),
        "BuildCache": list(rows.cache),
    });
    let template = Template::parse(&source).map_err(|error| told(&error))?;
    let text = template.execute(&all).map_err(|error| told(&error))?;
    Ok(match source.as_str() {
        "{{json .}}" => escaped(&text),
        _ => text,
    })
}

fn rows(usage: &DiskUsage, no_trunc: bool, now: i64) -> Result<Rows, Error> {
    let failed = |source| Error::Answer {
        path: "/system/df".to_owned(),
        source,
    };
    let mut containers = Vec::new();
    for value in &usage.containers {
        let mut container: Container = serde_json::from_value(value.clone()).map_err(failed)?;
        // the size with the image's is not shown here
        container.size_root_fs = 0;
        containers.push(container_ls::row(&container, no_trunc, now));
    }
    let mut volumes = Vec::new();
    for value in &usage.volumes {
        let volume: Volume = serde_json::from_value(value.clone()).map_err(failed)?;
        volumes.push(volume_ls::row(&volume));
    }
    Ok(Rows {
        images: usage
            .images
            .iter()
            .map(|image| image_row(image, no_trunc, now))
            .collect(),
        containers,
        volumes,
        cache: usage
            .build_cache
            .iter()
            .map(|record| cache_row(record, no_trunc, now))
            .collect(),
    })
}

fn tables(rows: Rows, records: &[CacheRecord]) -> Result<String, Error> {
    let listing = |table, headers| Listing {
        format: "table",
        table,
        raw: None,
        headers,
    };
    let size = records
        .iter()
        .fold(0_i64, |sum, record| sum.saturating_add(own_size(record)));
    Ok(format!(
        "Images space usage:\n\n{}\nContainers space usage:\n\n{}\nLocal Volumes space usage:\n\n{}\nBuild cache \
         usage: {}\n\n{}",
        listing(IMAGES, &images::HEADERS[..]).show(rows.images)?,
        listing(CONTAINERS, &container_ls::HEADERS[..]).show_objects(rows.containers)?,
        listing(VOLUMES, &volume_ls::HEADERS[..]).show(rows.volumes)?,
        size::human(size, 4),
        listing(CACHE, &CACHE_HEADERS[..]).show(rows.cache)?,
    ))
}

/// All that the store takes, as `du` counts it.
fn on_disk(disk: OnDisk) -> String {
    let told = |bytes: u64| size::human(i64::try_from(bytes).unwrap_or(i64::MAX), 4);
    format!(
        "\nOn disk: {} (images {}, build cache {}, cache mounts {}, unfinished {}, logs {}, store {})\n",
        told(disk.total),
        told(disk.images),
        told(disk.build_cache),
        told(disk.cache_mounts),
        told(disk.unfinished),
        told(disk.logs),
        told(disk.store),
    )
}

/// An image under its first name.
fn image_row(image: &ImageSummary, no_trunc: bool, now: i64) -> Row {
    let first = image.repo_tags.first().map(|name| reference::split(name));
    let name = match first.and_then(|parts| Some((parts.name, parts.tag?))) {
        Some((repository, tag)) => Name::new(repository, tag, ""),
        None => Name::new(NONE, NONE, ""),
    };
    images::row(image, name, no_trunc, now)
}

fn cache_row(record: &CacheRecord, no_trunc: bool, now: i64) -> Row {
    let id = match no_trunc {
        true => record.id.as_str(),
        false => reference::short_id(&record.id),
    };
    let mark = if record.in_use { "*" } else { "" };
    vec![
        ("ID", format!("{id}{mark}")),
        ("Parent", String::new()),
        ("CacheType", record.kind.clone()),
        ("Description", ui::printable(&record.description)),
        (
            "Size",
            size::human(i64::try_from(record.size).unwrap_or(i64::MAX), 3),
        ),
        ("CreatedAt", age::go_time(&record.created_at)),
        ("CreatedSince", age::ago(&record.created_at, now)),
        ("LastUsedAt", age::go_time(&record.last_used_at)),
        ("LastUsedSince", age::ago(&record.last_used_at, now)),
        ("UsageCount", record.usage_count.to_string()),
        ("InUse", record.in_use.to_string()),
        ("Shared", record.shared.to_string()),
    ]
}

/// Bytes of a record that no image has.
pub(super) fn own_size(record: &CacheRecord) -> i64 {
    match record.shared {
        true => 0,
        false => i64::try_from(record.size).unwrap_or(i64::MAX),
    }
}
