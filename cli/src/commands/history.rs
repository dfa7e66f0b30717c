//! `mica history`: the steps an image was made by.

use clap::Args;
use hyper::Method;
use mica_api::HistoryItem;

use crate::client::{Client, Query, in_path};
use crate::error::Error;
use crate::format::{Listing, Row};
use crate::truth::go_bool;
use crate::{age, platform, reference, size, table, ui};

const TABLE: &str = "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
const TABLE_OF_DATES: &str = "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
const HEADERS: [(&str, &str); 6] = [
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];

/// How much of an instruction is shown.
const CREATED_BY_CHARS: usize = 45;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Format output: table, table TEMPLATE, json or a Go template
    #[arg(long, value_name = "FORMAT", default_value = "", hide_default_value = true)]
    format: String,
    /// Print sizes and dates in human readable format
    #[arg(short = 'H', long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, value_parser = go_bool,
          default_value = "true", default_missing_value = "true", value_name = "BOOL")]
    human: bool,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Show history for the given platform
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// Only show image IDs
    #[arg(short, long)]
    quiet: bool,
    /// The image, by name or ID
    #[arg(value_name = "IMAGE")]
    image: String,
}

pub(super) async fn run(options: Options, client: &Client) -> Result<(), Error> {
    let mut query = Query::default();
    if let Some(platform) = &options.platform {
        query.push("platform", platform::to_json(platform));
    }
    let path = format!("/images/{}/history{}", in_path(&options.image), query.as_str());
    let items: Vec<HistoryItem> = client.ask(Method::GET, &path).await?;
    let is_default = options.format.is_empty() || options.format == "table";
    let listing = Listing {
        format: if options.quiet && is_default {
            "{{.ID}}"
        } else {
            &options.format
        },
        table: if options.human { TABLE } else { TABLE_OF_DATES },
        raw: None,
        headers: &HEADERS,
    };
    let now = age::now();
    let rows = items.iter().map(|item| row(item, &options, now)).collect();
    ui::result(listing.show(rows)?)
}

fn row(item: &HistoryItem, options: &Options, now: i64) -> Row {
    let id = if options.no_trunc {
        &item.id
    } else {
        reference::short_id(&item.id)
    };
    let mut created_by = item.created_by.replace('\t', " ");
    if !options.no_trunc {
        created_by = table::shortened(&created_by, CREATED_BY_CHARS);
    }
    let date = age::rfc3339(item.created);
    let since = if !options.human {
        date.clone()
    } else {
        format!("{} ago", age::human(now.saturating_sub(item.created)))
    };
    vec![
        ("ID", id.to_owned()),
        ("CreatedAt", date),
        ("CreatedSince", since),
        ("CreatedBy", created_by),
        (
            "Size",
            if options.human {
                size::human(item.size, 3)
            } else {
                item.size.to_string()
            },
        ),
        ("Comment", item.comment.clone()),
    ]
}
