//! Fetching from any address a user names, without a registry behind it.

use bytes::Bytes;
use reqwest::{Method, StatusCode, Url};
use tokio::sync::mpsc;

use crate::answer::{PATIENCE, next, read_whole, sent};
use crate::error::Error;
use crate::refusal::{BODY_LIMIT, Refusal, without_query};
use crate::remote::Client;

/// The most redirects that are followed.
const REDIRECTS: usize = 10;
/// How many pieces wait for whoever reads.
const WAITING: usize = 8;

impl Client {
    /// Fetches what lies at an address; one without a scheme is taken for http (docker's rule for `import`).
    pub async fn open(&self, address: &str) -> Result<mpsc::Receiver<Result<Bytes, Error>>, Error> {
        let text = match address.contains("://") {
            true => address.to_owned(),
            false => format!("http://{address}"),
        };
        let mut url = parse(&text)?;
        for _ in 0..REDIRECTS {
            let client = self.hosts().client_anywhere(&url)?;
            let mut response = sent(&url, PATIENCE, client.get(url.clone()).send()).await?;
            let status = response.status();
            if let Some(location) = response
                .headers()
                .get(reqwest::header::LOCATION)
                .filter(|_| status.is_redirection())
            {
                let location = String::from_utf8_lossy(location.as_bytes());
                let joined = url
                    .join(&location)
                    .map_err(|error| bad(&location, &error.to_string()))?;
                url = parse(joined.as_str())?;
                continue;
            }
            if status != StatusCode::OK {
                let headers = response.headers().clone();
                let body = read_whole(response, "the refusal", BODY_LIMIT)
                    .await
                    .unwrap_or_default();
                return Err(Refusal::read(&Method::GET, &url, status, &headers, &body).into());
            }
            let (sender, receiver) = mpsc::channel(WAITING);
            tokio::spawn(async move {
                loop {
                    let piece = match next(&mut response).await {
                        Ok(Some(bytes)) => Ok(bytes),
                        Ok(None) => return,
                        Err(error) => Err(error),
                    };
                    let is_last = piece.is_err();
                    if sender.send(piece).await.is_err() || is_last {
                        return;
                    }
                }
            });
            return Ok(receiver);
        }
        Err(Error::Redirects {
            url: without_query(&url),
            limit: REDIRECTS,
        })
    }
}

fn parse(text: &str) -> Result<Url, Error> {
    let url = Url::parse(text).map_err(|error| bad(text, &error.to_string()))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err(bad(text, "only http and https are followed")),
    }
}

fn bad(text: &str, reason: &str) -> Error {
    Error::Address {
        text: text
            .split('?')
            .next()
            .unwrap_or_default()
            .chars()
            .take(200)
            .collect(),
        reason: reason.to_owned(),
    }
}
