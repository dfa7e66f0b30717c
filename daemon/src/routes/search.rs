//! `GET /images/search`: what a registry finds.

use hyper::StatusCode;
use mica_api::SearchResult;
use mica_engine::{Hit, SearchRequest};

use crate::routes::Call;
use crate::wire::credential;
use crate::wire::filter::Filters;
use crate::wire::query::Query;
use crate::wire::reply::{Failure, Reply, json};

const FILTERS: [&str; 3] = ["is-official", "is-automated", "stars"];
/// How much is given where nobody says how much.
const USUAL: u8 = 25;
/// The most that can be asked for.
const MOST: u8 = 100;

/// Asks the registry that the term begins with, else Docker Hub.
pub(crate) async fn search(call: Call) -> Result<Reply, Failure> {
    let Some(term) = call.query.filled("term") else {
        return Err(Failure::invalid("search term is required"));
    };
    let limit = limit(&call.query)?;
    let filters = Filters::of(&call.query, &FILTERS)?;
    let automated = filters.truth("is-automated")? == Some(true);
    let request = SearchRequest {
        term: term.to_owned(),
        limit,
        official: filters.truth("is-official")?,
        stars: stars(&filters)?,
        credential: credential::of(&call.headers),
    };
    if automated {
        // no registry builds repositories any more
        return json(StatusCode::OK, &Vec::<SearchResult>::new());
    }
    let hits = call.daemon.engine.search(&request).await?;
    let results: Vec<SearchResult> = hits.into_iter().map(result).collect();
    json(StatusCode::OK, &results)
}

fn limit(query: &Query) -> Result<u8, Failure> {
    let Some(text) = query.filled("limit") else {
        return Ok(USUAL);
    };
    let number: i64 = text
        .parse()
        .map_err(|_| Failure::invalid(format!("invalid limit specified: {text:?} is not a number")))?;
    match u8::try_from(number) {
        Ok(0) => Ok(USUAL),
        Ok(limit) if limit <= MOST => Ok(limit),
        _ => Err(Failure::invalid(format!(
            "limit {number} is outside the range of [1, {MOST}]"
        ))),
    }
}

/// Of several, the most counts.
fn stars(filters: &Filters) -> Result<Option<i64>, Failure> {
    let mut most = None;
    for text in filters.values("stars") {
        let stars: i64 = text.parse().map_err(|_| {
            Failure::invalid(format!("invalid filter 'stars={text}': {text:?} is not a number"))
        })?;
        most = most.max(Some(stars));
    }
    Ok(most)
}

fn result(hit: Hit) -> SearchResult {
    SearchResult {
        star_count: hit.stars,
        is_official: hit.official,
        name: hit.name,
        is_automated: false,
        description: hit.description,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_within_docker_s_bounds() {
        let limit = |text: &str| limit(&Query::parse(text).unwrap());
        for (text, expected) in [
            ("", 25),
            ("limit=", 25),
            ("limit=0", 25),
            ("limit=1", 1),
            ("limit=100", 100),
        ] {
            assert_eq!(limit(text), Ok(expected), "{text}");
        }
        for (text, message) in [
            ("limit=101", "limit 101 is outside the range of [1, 100]"),
            ("limit=-1", "limit -1 is outside the range of [1, 100]"),
            ("limit=x", "invalid limit specified: \"x\" is not a number"),
        ] {
            assert_eq!(limit(text).unwrap_err().message(), message);
        }
    }
}
