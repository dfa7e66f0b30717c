//! `mica images`: the list of images.

use std::collections::BTreeMap;

use clap::Args;
use hyper::Method;
use mica_api::ImageSummary;

use crate::client::{Client, Query};
use crate::error::Error;
use crate::format::{Listing, Row};
use crate::{age, filter, reference, size, ui};

const TABLE: &str = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t\
                     {{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}";
const TABLE_WITH_DIGEST: &str = "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t\
                                 {{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}";
const RAW: &str = "repository: {{ .Repository }}\ntag: {{.Tag}}\nimage_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\n\
                   virtual_size: {{.Size}}\n";
const RAW_WITH_DIGEST: &str = "repository: {{ .Repository }}\ntag: {{.Tag}}\ndigest: {{.Digest}}\nimage_id: {{.ID}}\n\
                               created_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n";
pub(super) const HEADERS: [(&str, &str); 11] = [
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("VirtualSize", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
];

/// What stands where there is nothing.
pub(super) const NONE: &str = "<none>";

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Show all images (default hides intermediate images)
    #[arg(short, long)]
    all: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Format output: table, table TEMPLATE, json or a Go template
    #[arg(long, value_name = "FORMAT", default_value = "", hide_default_value = true)]
    format: String,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only show image IDs
    #[arg(short, long)]
    quiet: bool,
    /// Accepted for docker's sake: images here are for one platform each
    #[arg(long, hide = true)]
    tree: bool,
    /// Only images of this name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    repository: Option<String>,
}

pub(super) async fn run(options: Options, client: &Client) -> Result<(), Error> {
    if options.tree {
        ui::warn("--tree has no effect");
    }
    let mut filters = options.filter.clone();
    filters.extend(
        options
            .repository
            .as_ref()
            .map(|name| format!("reference={name}")),
    );
    let mut query = Query::default();
    query.flag("all", options.all);
    if let Some(json) = filter::to_json(&filters)? {
        query.push("filters", json);
    }
    let images: Vec<ImageSummary> = client
        .ask(Method::GET, &format!("/images/json{}", query.as_str()))
        .await?;
    ui::result(show(&options, &images, age::now())?)
}

fn show(options: &Options, images: &[ImageSummary], now: i64) -> Result<String, Error> {
    let is_default = options.format.is_empty() || options.format == "table";
    let mut format = options.format.clone();
    if options.digests && format.starts_with("table ") && !format.contains("{{.Digest}}") {
        format.push_str("\t{{.Digest}}");
    }
    let raw = match (options.quiet, options.digests) {
        (true, _) => "image_id: {{.ID}}",
        (false, true) => RAW_WITH_DIGEST,
        (false, false) => RAW,
    };
    let listing = Listing {
        format: if options.quiet && is_default {
            "{{.ID}}"
        } else {
            &format
        },
        table: if options.digests { TABLE_WITH_DIGEST } else { TABLE },
        raw: Some(raw),
        headers: &HEADERS,
    };
    let with_digest = options.digests || format.contains("{{.Digest}}");
    let mut rows = Vec::new();
    for image in images {
        for name in names(image, options.digests, with_digest) {
            rows.push(row(image, name, options.no_trunc, now));
        }
    }
    listing.show(rows)
}

/// Repository, tag and digest of one row.
pub(super) struct Name {
    repository: String,
    tag: String,
    digest: String,
}

impl Name {
    pub(super) fn new(repository: &str, tag: &str, digest: &str) -> Self {
        Self {
            repository: repository.to_owned(),
            tag: tag.to_owned(),
            digest: digest.to_owned(),
        }
    }
}

/// The rows an image has: one for each tag, or for each digest of each tag.
fn names(image: &ImageSummary, digest_rows: bool, with_digest: bool) -> Vec<Name> {
    let is_empty = |list: &[String], word: &str| match list {
        [] => true,
        [only] => only == word,
        _ => false,
    };
    if is_empty(&image.repo_tags, "<none>:<none>") && is_empty(&image.repo_digests, "<none>@<none>") {
        return vec![Name::new(NONE, NONE, NONE)];
    }
    let mut digests: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for parts in image.repo_digests.iter().map(|name| reference::split(name)) {
        digests.entry(parts.name).or_default().extend(parts.digest);
    }
    let mut tags: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for parts in image.repo_tags.iter().map(|name| reference::split(name)) {
        tags.entry(parts.name).or_default().extend(parts.tag);
    }
    let mut rows = Vec::new();
    for (repository, tags) in &tags {
        let digests = digests
            .remove(repository)
            .filter(|list| with_digest && !list.is_empty());
        for tag in tags {
            let digests = digests.clone().unwrap_or_else(|| vec![NONE]);
            rows.extend(
                digests
                    .into_iter()
                    .map(|digest| Name::new(repository, tag, digest)),
            );
        }
    }
    for (repository, digests) in digests {
        if digest_rows {
            rows.extend(
                digests
                    .into_iter()
                    .map(|digest| Name::new(repository, NONE, digest)),
            );
        } else {
            rows.push(Name::new(repository, NONE, ""));
        }
    }
    rows
}

/// An image as a row, under one of its names.
pub(super) fn row(image: &ImageSummary, name: Name, no_trunc: bool, now: i64) -> Row {
    let known = |number: i64| number != -1;
    let or_unknown = |number: i64, text: String| if known(number) { text } else { "N/A".to_owned() };
    let id = if no_trunc {
        &image.id
    } else {
        reference::short_id(&image.id)
    };
    let unique = image.size.saturating_sub(image.shared_size);
    let since = format!("{} ago", age::human(now.saturating_sub(image.created)));
    vec![
        ("ID", id.to_owned()),
        ("Repository", name.repository),
        ("Tag", name.tag),
        ("Digest", name.digest),
        ("CreatedSince", since),
        ("CreatedAt", age::go_date(image.created)),
        ("Size", size::human(image.size, 3)),
        (
            "Containers",
            or_unknown(image.containers, image.containers.to_string()),
        ),
        ("VirtualSize", size::human(image.size, 4)),
        (
            "SharedSize",
            or_unknown(image.shared_size, size::human(image.shared_size, 4)),
        ),
        (
            "UniqueSize",
            or_unknown(image.shared_size, size::human(unique, 4)),
        ),
    ]
}
