//! Fetching a file from any address: asked for again only if it changed, taken up where a connection broke, never longer
//! than agreed.

use bytes::Bytes;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};
use reqwest::{Response, StatusCode, Url};

use crate::address::{parse, refused};
use crate::answer::{host, next};
use crate::download::Patience;
use crate::error::Error;
use crate::ports::{Piece, Pieces};
use crate::remote::Client;
use crate::retry;

/// The longest validator that is kept, in bytes: a server that sends a longer one is asked for everything again.
const VALIDATOR_LIMIT: usize = 1 << 10;

/// By what a server knows whether a file changed (RFC 9110 section 8.8).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validators {
    /// `ETag`, as it came.
    pub etag: Option<String>,
    /// `Last-Modified`, as it came.
    pub last_modified: Option<String>,
}

/// What a server had for us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebAnswer {
    /// The file is the one that the validators came with.
    Unchanged,
    /// All of the file was sent to the receiver; this is how to ask for it the next time.
    Whole(Validators),
}

impl Validators {
    fn of(headers: &HeaderMap) -> Self {
        let text = |name: HeaderName| {
            let value = headers.get(name)?.to_str().ok()?;
            (value.len() <= VALIDATOR_LIMIT).then(|| value.to_owned())
        };
        Self {
            etag: text(ETAG),
            last_modified: text(LAST_MODIFIED),
        }
    }

    /// When the file changed last, in seconds since 1970, if the server said so.
    pub fn modified(&self) -> Option<i64> {
        static DATES: DateTimeParser = DateTimeParser::new();
        let date = DATES.parse_timestamp(self.last_modified.as_deref()?).ok()?;
        Some(date.as_second())
    }

    /// What a part of the file can be asked for with: nothing weak.
    fn for_parts(&self) -> Option<&str> {
        match &self.etag {
            Some(etag) => Some(etag.as_str()).filter(|etag| !etag.starts_with("W/")),
            None => self.last_modified.as_deref(),
        }
    }
}

/// A file on its way.
struct Transit<'a> {
    url: Url,
    /// Of the file that is here from before.
    known: &'a Validators,
    /// Of the file that is on its way.
    coming: Validators,
    /// Bytes that came.
    at: u64,
    limit: u64,
    answered: bool,
    pieces: &'a Pieces,
    tell: &'a (dyn Fn(u64, Option<u64>) + Sync),
}

impl Client {
    /// Fetches the file at an http or https address, following redirects, and sends it to `pieces` in order; after a failure
    /// it may begin again at byte 0, the bytes of before being worthless then. `known` are the validators of the file as it
    /// was fetched last. What passes is waited for as with blobs. Nothing in it is decoded.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for a file of more than `limit` bytes, as soon as that is known.
    pub async fn fetch(
        &self,
        address: &str,
        known: &Validators,
        limit: u64,
        pieces: &Pieces,
        tell: &(dyn Fn(u64, Option<u64>) + Sync),
    ) -> Result<WebAnswer, Error> {
        let mut transit = Transit {
            url: parse(address)?,
            known,
            coming: Validators::default(),
            at: 0,
            limit,
            answered: false,
            pieces,
            tell,
        };
        let mut patience = Patience::new(0);
        loop {
            let error = match transit.once(self).await {
                Ok(answer) => return Ok(answer),
                Err(error) if error.is_passing() => error,
                Err(error) => return Err(error),
            };
            match patience.failed(transit.at) {
                Some(failures) if transit.answered || failures < retry::FIRST_TRIES => {
                    tokio::time::sleep(retry::pause(failures, error.wait())).await;
                }
                _ => return Err(error),
            }
        }
    }
}

impl Transit<'_> {
    async fn once(&mut self, client: &Client) -> Result<WebAnswer, Error> {
        let response = client.get(self.url.clone(), &self.headers()).await?;
        self.answered = true;
        match response.status() {
            StatusCode::NOT_MODIFIED if self.at == 0 && *self.known != Validators::default() => {
                return Ok(WebAnswer::Unchanged);
            }
            StatusCode::PARTIAL_CONTENT if self.at > 0 => self.check_range(&response)?,
            StatusCode::OK => {
                self.at = 0;
                self.coming = Validators::of(response.headers());
                self.send(Bytes::new()).await?;
            }
            // it is another file now than the one whose part is here
            StatusCode::RANGE_NOT_SATISFIABLE if self.at > 0 => {
                let before = std::mem::take(&mut self.at);
                return Err(self.short(before, "fewer by now".to_owned()));
            }
            _ => return Err(refused(response).await),
        }
        self.receive(response).await?;
        Ok(WebAnswer::Whole(std::mem::take(&mut self.coming)))
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut add = |name: HeaderName, value: Option<&str>| {
            // a validator that is no header value cannot have come in one
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
                headers.insert(name, value);
            }
        };
        add(ACCEPT_ENCODING, Some("identity"));
        match (self.at, self.coming.for_parts()) {
            (0, _) => {
                add(IF_NONE_MATCH, self.known.etag.as_deref());
                add(IF_MODIFIED_SINCE, self.known.last_modified.as_deref());
            }
            (at, Some(validator)) => {
                add(RANGE, Some(&format!("bytes={at}-")));
                add(IF_RANGE, Some(validator));
            }
            // nothing says that the rest would fit to what is here
            (_, None) => {}
        }
        headers
    }

    async fn receive(&mut self, mut response: Response) -> Result<(), Error> {
        let total = response.content_length().map(|rest| self.at.saturating_add(rest));
        if total.is_some_and(|total| total > self.limit) {
            return Err(self.too_large());
        }
        (self.tell)(self.at, total);
        while let Some(bytes) = next(&mut response).await? {
            if self.at.saturating_add(bytes.len() as u64) > self.limit {
                return Err(self.too_large());
            }
            self.send(bytes).await?;
            (self.tell)(self.at, total);
        }
        match total {
            Some(total) if self.at < total => Err(self.short(total, format!("{} came", self.at))),
            _ => Ok(()),
        }
    }

    async fn send(&mut self, bytes: Bytes) -> Result<(), Error> {
        let len = bytes.len() as u64;
        let piece = Piece {
            offset: self.at,
            bytes,
        };
        self.pieces.send(piece).await.map_err(|_| Error::Unwanted)?;
        self.at += len;
        Ok(())
    }

    fn check_range(&self, response: &Response) -> Result<(), Error> {
        let text = response.headers().get(CONTENT_RANGE);
        let text = text.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let first = text
            .trim()
            .strip_prefix("bytes ")
            .and_then(|range| range.split_once('-'))
            .and_then(|(first, _)| first.trim().parse::<u64>().ok());
        match first == Some(self.at) {
            true => Ok(()),
            false => Err(Error::Protocol {
                host: host(&self.url),
                reason: format!(
                    "it was asked for what follows byte {} and says it sent {text:?}",
                    self.at
                ),
            }),
        }
    }

    fn too_large(&self) -> Error {
        Error::TooLarge {
            what: "the file".to_owned(),
            host: host(&self.url),
            limit: usize::try_from(self.limit).unwrap_or(usize::MAX),
        }
    }

    fn short(&self, expected: u64, actual: String) -> Error {
        Error::Short {
            what: "the file".to_owned(),
            host: host(&self.url),
            expected,
            actual,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_strong_validator_serves_for_parts() {
        let of = |etag: Option<&str>, modified: Option<&str>| Validators {
            etag: etag.map(str::to_owned),
            last_modified: modified.map(str::to_owned),
        };
        assert_eq!(of(Some("\"a\""), None).for_parts(), Some("\"a\""));
        assert_eq!(of(Some("W/\"a\""), Some("x")).for_parts(), None);
        assert_eq!(of(None, Some("x")).for_parts(), Some("x"));
        assert_eq!(of(None, None).for_parts(), None);
    }

    #[test]
    fn dates_of_servers_are_read() {
        let of = |text: &str| {
            Validators {
                last_modified: Some(text.to_owned()),
                ..Validators::default()
            }
            .modified()
        };
        assert_eq!(of("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(of("yesterday"), None);
    }
}
