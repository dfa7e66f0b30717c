//! `mica search`: repositories that Docker Hub finds.

use clap::Args;
use hyper::Method;
use mica_api::SearchResult;

use crate::client::{Body, Client, Query};
use crate::credentials::{Credentials, HUB, Target, auth_header};
use crate::error::Error;
use crate::format::{Listing, Row};
use crate::interrupt::or_interrupted;
use crate::{filter, table, ui};

const TABLE: &str = "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}";
const HEADERS: [(&str, &str); 4] = [
    ("Name", "NAME"),
    ("Description", "DESCRIPTION"),
    ("StarCount", "STARS"),
    ("IsOfficial", "OFFICIAL"),
];

/// How much of a description a table shows.
const DESCRIPTION_WIDTH: usize = 45;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Format output: table, table TEMPLATE, json or a Go template
    #[arg(long, value_name = "FORMAT", default_value = "", hide_default_value = true)]
    format: String,
    /// Max number of search results
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 0,
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    limit: i64,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// What to look for
    #[arg(value_name = "TERM")]
    term: String,
}

pub(super) async fn run(options: Options, client: &Client, credentials: &Credentials) -> Result<(), Error> {
    let mut query = Query::default();
    query.push("term", &options.term);
    if let Some(filters) = filter::to_json(&options.filter)? {
        query.push("filters", filters);
    }
    if options.limit > 0 {
        query.push("limit", options.limit.to_string());
    }
    let path = format!("/images/search{}", query.as_str());
    let found: Vec<SearchResult> = or_interrupted(async {
        let auth = credentials.find(&Target::server(server(&options.term))).await?;
        let header = Some(auth_header(&auth));
        let answer = client.send_with(Method::GET, &path, header, Body::Empty).await?;
        answer.json().await
    })
    .await?;
    ui::result(show(&options, &found)?)
}

/// The registry a term names, as in `ghcr.io/owner`; Docker Hub if it names none.
fn server(term: &str) -> &str {
    match term.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => HUB,
    }
}

fn show(options: &Options, found: &[SearchResult]) -> Result<String, Error> {
    let listing = Listing {
        format: &options.format,
        table: TABLE,
        raw: None,
        headers: &HEADERS,
    };
    let is_json = options.format == "json" || options.format.contains("{{json .}}");
    listing.show(
        found
            .iter()
            .map(|one| row(one, options.no_trunc, is_json))
            .collect(),
    )
}

fn row(found: &SearchResult, no_trunc: bool, is_json: bool) -> Row {
    let description = ui::printable(&found.description.replace(['\n', '\r'], " "));
    let is_official = match (is_json, found.is_official) {
        (true, is_official) => is_official.to_string(),
        (false, true) => "[OK]".to_owned(),
        (false, false) => String::new(),
    };
    vec![
        ("Name", ui::printable(&found.name)),
        (
            "Description",
            match no_trunc {
                true => description,
                false => table::shortened(&description, DESCRIPTION_WIDTH),
            },
        ),
        ("StarCount", found.star_count.to_string()),
        ("IsOfficial", is_official),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_the_terms() {
        for (term, expected) in [
            ("nginx", HUB),
            ("owner/nginx", HUB),
            ("ghcr.io/owner", "ghcr.io"),
            ("localhost/x", "localhost"),
            ("r:5000/x", "r:5000"),
        ] {
            assert_eq!(server(term), expected);
        }
    }
}
