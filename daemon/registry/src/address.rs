//! Fetching from any address a user names, without a registry behind it.

use bytes::Bytes;
use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{Method, Response, StatusCode, Url};
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
        let mut response = self.get(parse(&text)?, &HeaderMap::new()).await?;
        if response.status() != StatusCode::OK {
            return Err(refused(response).await);
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
        Ok(receiver)
    }

    /// Asks for what lies at an address and follows where the answers lead; what is there is answered, whatever it is. A user
    /// and a password in the address are shown to its own host only, those in a redirect to nobody.
    pub(crate) async fn get(&self, address: Url, headers: &HeaderMap) -> Result<Response, Error> {
        let mut url = address.clone();
        for _ in 0..=REDIRECTS {
            let client = self.hosts().client_anywhere(&url)?;
            let request = client.get(url.clone()).headers(headers.clone());
            let response = sent(&url, PATIENCE, request.send()).await?;
            let location = response.headers().get(LOCATION).filter(|_| {
                response.status().is_redirection() && response.status() != StatusCode::NOT_MODIFIED
            });
            let Some(location) = location else {
                return Ok(response);
            };
            let location = String::from_utf8_lossy(location.as_bytes());
            let joined = url
                .join(&location)
                .map_err(|error| bad(&location, &error.to_string()))?;
            url = parse(joined.as_str())?;
            // both fail for addresses that cannot have a user at all
            let _ = url.set_username("");
            let _ = url.set_password(None);
        }
        Err(Error::Redirects {
            url: without_query(&address),
            limit: REDIRECTS,
        })
    }
}

/// What a server says that does not give what was asked for.
pub(crate) async fn refused(response: Response) -> Error {
    let (status, url, headers) = (
        response.status(),
        response.url().clone(),
        response.headers().clone(),
    );
    let body = read_whole(response, "the refusal", BODY_LIMIT)
        .await
        .unwrap_or_default();
    Refusal::read(&Method::GET, &url, status, &headers, &body).into()
}

/// Reads an address that can be asked.
pub(crate) fn parse(text: &str) -> Result<Url, Error> {
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
