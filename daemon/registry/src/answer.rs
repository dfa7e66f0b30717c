//! Reading answers: never longer than agreed, never waiting for ever.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Response, Url};

use crate::error::Error;
use crate::refusal::without_query;

/// How long the head of an answer, or the next bytes of its body, may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for the head of an answer to a request that carries no blob.
pub(crate) async fn sent(
    url: &Url,
    patience: Duration,
    sending: impl Future<Output = Result<Response, reqwest::Error>>,
) -> Result<Response, Error> {
    match tokio::time::timeout(patience, sending).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(source)) => Err(network(url, source)),
        Err(_) => Err(stalled(url, patience)),
    }
}

/// The next bytes of a body; `None` at its end.
pub(crate) async fn next(response: &mut Response) -> Result<Option<Bytes>, Error> {
    match tokio::time::timeout(PATIENCE, response.chunk()).await {
        Ok(Ok(chunk)) => Ok(chunk),
        Ok(Err(source)) => Err(network(response.url(), source)),
        Err(_) => Err(stalled(response.url(), PATIENCE)),
    }
}

/// A whole body of at most `limit` bytes.
pub(crate) async fn read_whole(mut response: Response, what: &str, limit: usize) -> Result<Bytes, Error> {
    let too_large = |url: &Url| Error::TooLarge {
        what: what.to_owned(),
        host: host(url),
        limit,
    };
    if response
        .content_length()
        .is_some_and(|length| length > limit as u64)
    {
        return Err(too_large(response.url()));
    }
    let mut body: Vec<u8> = Vec::new();
    while let Some(chunk) = next(&mut response).await? {
        if body.len() + chunk.len() > limit {
            return Err(too_large(response.url()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.into())
}

/// Host and port as people write them.
pub(crate) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

pub(crate) fn network(url: &Url, source: reqwest::Error) -> Error {
    Error::Network {
        url: without_query(url),
        source: source.without_url(),
    }
}

pub(crate) fn stalled(url: &Url, time: Duration) -> Error {
    Error::Stalled {
        url: without_query(url),
        seconds: time.as_secs(),
    }
}
