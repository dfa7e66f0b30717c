//! What reads answers of registries, for the fuzz target of that name alone: built with `--cfg fuzzing` and in no other way.

use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode, Url};

use crate::challenge::Challenge;
use crate::download::content_range;
use crate::manifests;
use crate::refusal::Refusal;
use crate::token;

/// The headers among some names and values.
pub fn headers<'a>(pairs: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> HeaderMap {
    let header = |(name, value)| {
        let name = HeaderName::from_bytes(name).ok()?;
        Some((name, HeaderValue::from_bytes(value).ok()?))
    };
    pairs.take(100).filter_map(header).collect()
}

/// A refusal as it is shown.
pub fn refusal(status: u16, headers: &HeaderMap, body: &[u8]) -> Refusal {
    let url = Url::parse("https://registry.example/v2/a/b/manifests/c?x=y").expect("an address");
    let status = StatusCode::from_u16(status).expect("a status");
    Refusal::read(&Method::GET, &url, status, headers, body)
}

/// How many challenges there are.
pub fn challenges(headers: &HeaderMap) -> usize {
    let values = headers.get_all(reqwest::header::WWW_AUTHENTICATE);
    Challenge::all(values.iter().filter_map(|value| value.to_str().ok())).len()
}

/// The address of the page after `page`.
pub fn next_page(page: &str, headers: &HeaderMap) -> Result<Option<String>, String> {
    let page = Url::parse(page).expect("an address");
    let next = manifests::next_page(&page, headers).map_err(|error| error.to_string())?;
    Ok(next.map(|url| url.to_string()))
}

/// How long the token in an answer is good for.
pub fn token(body: &[u8]) -> Result<Duration, String> {
    let url = Url::parse("https://registry.example/token?x=y").expect("an address");
    let token = token::read(&url, body, Instant::now()).map_err(|error| error.to_string())?;
    let mut life = Duration::from_secs(1);
    while !token.ends_within(life) && life < Duration::from_secs(48 * 3600) {
        life *= 2;
    }
    Ok(life / 2)
}

/// Where a part begins, and the whole's length if it is known.
pub fn range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let (first, total) = content_range(headers.get(CONTENT_RANGE)?.to_str().ok()?)?;
    match total {
        "*" => Some((first, None)),
        total => Some((first, Some(total.parse().ok()?))),
    }
}
