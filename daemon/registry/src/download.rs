//! Fetching a blob: in one stream or in parts side by side, taken up again where a connection broke.

use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use mica_oci::{Descriptor, Digest};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_RANGE, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode, Url};
use tokio::sync::mpsc;

use crate::answer::next;
use crate::ask::{Ask, Target};
use crate::encoding::Encoding;
use crate::error::Error;
use crate::hosts::check_foreign;
use crate::ports::{Piece, Pieces};
use crate::remote::Remote;
use crate::retry;
use crate::scope::Scope;
use crate::site::Site;

/// Blobs with less than this left to fetch are fetched in one stream, in bytes.
const SIDE_BY_SIDE: u64 = 32 << 20;
/// The length of a part, in bytes.
const PART: u64 = 8 << 20;
/// The most parts of one blob that are fetched at a time.
const AT_A_TIME: usize = 4;
/// Bytes that must have come for a failure to count as the first one again.
const PROGRESS: u64 = 1 << 20;
/// A failure this long after the one before counts as the first one again.
const CALM: Duration = Duration::from_secs(60);
/// The most addresses of a foreign layer that are tried.
const URLS: usize = 8;

impl Remote {
    /// Fetches a small blob whole and checks its digest.
    pub async fn read_blob(&self, blob: &Descriptor, limit: usize) -> Result<Bytes, Error> {
        let what = || format!("blob {}", blob.digest);
        let host = || self.repository.registry().to_owned();
        if blob.size > limit as u64 {
            return Err(Error::TooLarge {
                what: what(),
                host: host(),
                limit,
            });
        }
        let (sender, mut pieces) = mpsc::channel(1);
        let mut bytes = Vec::new();
        let gathering = async {
            while let Some(Piece { offset, bytes: piece }) = pieces.recv().await {
                // after a failure another place may begin anew
                bytes.truncate(usize::try_from(offset).unwrap_or(usize::MAX));
                bytes.extend_from_slice(&piece);
            }
        };
        let downloading = async {
            let downloaded = self
                .download(blob, std::slice::from_ref(&(0..blob.size)), &sender)
                .await;
            drop(sender);
            downloaded
        };
        let (downloaded, ()) = tokio::join!(downloading, gathering);
        downloaded?;
        match Digest::of(&bytes) {
            actual if actual == blob.digest => Ok(bytes.into()),
            actual => Err(Error::Digest {
                what: what(),
                host: host(),
                expected: blob.digest,
                actual,
            }),
        }
    }

    /// Fetches what is missing of a blob, ranges in order, and sends it to `pieces`: from a server that gives no ranges also what lies
    /// between them. Nothing is sent beyond its size; its digest is for the receiver to check.
    pub async fn download(
        &self,
        blob: &Descriptor,
        missing: &[Range<u64>],
        pieces: &Pieces,
    ) -> Result<(), Error> {
        // what other places have is fetched there, without showing who asks (foreign layers)
        let mut elsewhere = Vec::new();
        if let Some(site) = self.reading.last() {
            for url in blob.urls.iter().take(URLS) {
                match site.download_from(url, blob, missing, pieces).await {
                    Err(Error::Unwanted) => return Err(Error::Unwanted),
                    Err(error) => elsewhere.push(error),
                    Ok(()) => return Ok(()),
                }
            }
        }
        self.at_any(&self.reading, |site| async move {
            let download = Download {
                site,
                blob,
                target: Target::Below(format!("blobs/{}", blob.digest)),
                scopes: &site.scopes,
                pieces,
            };
            download.run(missing).await
        })
        .await
        // the address in the document is the place it should be at
        .map_err(|error| elsewhere.pop().unwrap_or(error))
    }
}

impl Site {
    async fn download_from(
        &self,
        url: &str,
        blob: &Descriptor,
        missing: &[Range<u64>],
        pieces: &Pieces,
    ) -> Result<(), Error> {
        let bad = |reason: String| Error::Address {
            text: url
                .split('?')
                .next()
                .unwrap_or_default()
                .chars()
                .take(200)
                .collect(),
            reason,
        };
        let address = Url::parse(url).map_err(|error| bad(error.to_string()))?;
        if !matches!(address.scheme(), "http" | "https") {
            return Err(bad("only http and https are followed".to_owned()));
        }
        check_foreign(&self.endpoint, &address)?;
        let mut site = self.clone();
        site.credential = crate::credential::Credential::Anonymous;
        let download = Download {
            site: &site,
            blob,
            target: Target::Whole(address),
            scopes: &[],
            pieces,
        };
        download.run(missing).await
    }
}

/// One blob on its way from one place.
struct Download<'a> {
    site: &'a Site,
    blob: &'a Descriptor,
    target: Target,
    scopes: &'a [Scope],
    pieces: &'a Pieces,
}

/// Counts failures without progress.
pub(crate) struct Patience {
    failures: u32,
    last: Instant,
    reached: u64,
}

impl Patience {
    /// Nothing has failed yet; `reached` is the number of bytes that are there.
    pub(crate) fn new(reached: u64) -> Self {
        Self {
            failures: 0,
            last: Instant::now(),
            reached,
        }
    }

    /// How many failures in a row this is; `None` if it is one too many.
    pub(crate) fn failed(&mut self, reached: u64) -> Option<u32> {
        if reached >= self.reached + PROGRESS || self.last.elapsed() >= CALM {
            self.failures = 0;
        }
        self.reached = self.reached.max(reached);
        self.last = Instant::now();
        self.failures += 1;
        (self.failures <= retry::BLOB_TRIES).then_some(self.failures)
    }
}

impl Download<'_> {
    async fn run(&self, missing: &[Range<u64>]) -> Result<(), Error> {
        let lanes = self.site.lanes();
        let _download = lanes.download().await;
        let bytes: u64 = missing.iter().map(|range| range.end - range.start).sum();
        // one that ends with the blob is asked for whole if it is short
        let mut parts: Box<dyn Iterator<Item = Range<u64>> + Send> = match missing {
            [] => return Ok(()),
            [range] if range.end == self.blob.size && bytes < SIDE_BY_SIDE => {
                let _part = lanes.part().await;
                return self.fetch(range.clone(), false).await.map(drop);
            }
            _ => Box::new(missing.iter().cloned().flat_map(parts)),
        };
        let Some(first) = parts.next() else {
            return Ok(());
        };
        let part = lanes.part().await;
        // whether parts can be had is known from the first
        match self.fetch(first, true).await? {
            Served::Whole => Ok(()),
            Served::Part => {
                drop(part);
                self.side_by_side(parts).await
            }
        }
    }

    /// Fetches parts, as many at a time as there is room for.
    async fn side_by_side(&self, mut parts: impl Iterator<Item = Range<u64>>) -> Result<(), Error> {
        let lanes = self.site.lanes();
        let mut running = FuturesUnordered::new();
        let one = |part: Range<u64>, place| async move {
            let fetched = self.fetch(part, false).await;
            drop(place);
            fetched
        };
        loop {
            while running.len() < AT_A_TIME {
                // the first needs a place; more are taken only while nobody else wants them
                let place = match running.is_empty() {
                    true => lanes.part().await,
                    false => match lanes.spare_part() {
                        Some(place) => place,
                        None => break,
                    },
                };
                match parts.next() {
                    Some(part) => running.push(one(part, place)),
                    None => break,
                }
            }
            match running.next().await {
                Some(fetched) => drop(fetched?),
                None => return Ok(()),
            }
        }
    }

    /// Fetches a part, taking up again what breaks. `probes` says that all to the end is taken where the server does not give parts.
    async fn fetch(&self, part: Range<u64>, probes: bool) -> Result<Served, Error> {
        let Range {
            start: mut at,
            mut end,
        } = part;
        let mut served = Served::Part;
        let mut patience = Patience::new(at);
        loop {
            let error = match self.fetch_once(&mut at, &mut end, probes, &mut served).await {
                Ok(()) if at >= end => return Ok(served),
                Ok(()) => self.short(format!("it ended after {at}")),
                Err(error) if error.is_passing() => error,
                Err(error) => return Err(error),
            };
            match patience.failed(at) {
                Some(failures) => {
                    let what = format!("blob {} from byte {at} on", self.blob.digest.short());
                    self.site.rest(&what, failures, &error).await;
                }
                None => return Err(error),
            }
        }
    }

    async fn fetch_once(
        &self,
        at: &mut u64,
        end: &mut u64,
        probes: bool,
        served: &mut Served,
    ) -> Result<(), Error> {
        let size = self.blob.size;
        // a request for all of it needs no range
        let ranged = *at > 0 || *end < size;
        let mut ask = Ask::new(Method::GET, self.target.clone(), self.scopes)
            .header(ACCEPT_ENCODING, HeaderValue::from_static("identity"))
            .following();
        if ranged {
            let range = format!("bytes={at}-{}", *end - 1);
            ask = ask.header(
                RANGE,
                HeaderValue::from_str(&range).expect("digits are plain text"),
            );
        }
        // the loop around this tries again, from where this got to
        let mut response = self.site.ask_once(&ask).await?;
        let mut skip = match response.status() {
            StatusCode::PARTIAL_CONTENT if ranged => {
                self.check_range(&response, *at, *end)?;
                0
            }
            StatusCode::OK => {
                if probes && *served == Served::Part {
                    *served = Served::Whole;
                    *end = size;
                }
                self.check_length(&response)?;
                *at
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                return Err(self.refuse_size("it has fewer bytes".to_owned()));
            }
            _ => return Err(self.site.refused(&ask, response).await),
        };
        let limit = match response.status() {
            StatusCode::OK => size,
            _ => *end,
        };
        let mut encoding = self.encoding(&response)?;
        let broken = |error: std::io::Error| self.broken_encoding(&error.to_string());
        while let Some(chunk) = next(&mut response).await? {
            self.site.shared.traffic.receive(chunk.len() as u64);
            for slice in encoding.slices(chunk) {
                let bytes = encoding.decode(slice).map_err(broken)?;
                if self.deliver(bytes, &mut skip, at, *end, limit).await? {
                    return Ok(());
                }
            }
        }
        let bytes = encoding.finish().map_err(broken)?;
        self.deliver(bytes, &mut skip, at, *end, limit).await.map(drop)
    }

    /// Passes bytes on, without those that are skipped; says whether the rest is for others to fetch.
    async fn deliver(
        &self,
        bytes: Bytes,
        skip: &mut u64,
        at: &mut u64,
        end: u64,
        limit: u64,
    ) -> Result<bool, Error> {
        let skipped = (*skip).min(bytes.len() as u64);
        *skip -= skipped;
        let bytes = bytes.slice(skipped as usize..);
        if bytes.is_empty() {
            return Ok(false);
        }
        if *at + bytes.len() as u64 > limit {
            return Err(self.refuse_size("more came".to_owned()));
        }
        // the whole came where a part was asked for: the others fetch what lies behind it
        let wanted = (end - *at).min(bytes.len() as u64);
        let piece = Piece {
            offset: *at,
            bytes: bytes.slice(..wanted as usize),
        };
        *at += wanted;
        self.pieces.send(piece).await.map_err(|_| Error::Unwanted)?;
        Ok(*at >= end && end < self.blob.size)
    }

    fn check_range(&self, response: &Response, at: u64, end: u64) -> Result<(), Error> {
        let text = response.headers().get(CONTENT_RANGE);
        let broken = || Error::Protocol {
            host: self.site.host(),
            reason: format!(
                "it was asked for bytes {at}-{} and says it sent {text:?}",
                end - 1
            ),
        };
        let (first, total) = text
            .and_then(|value| content_range(value.to_str().ok()?))
            .ok_or_else(broken)?;
        if first != at {
            return Err(broken());
        }
        match total {
            "*" => Ok(()),
            total if total.parse() == Ok(self.blob.size) => Ok(()),
            total => Err(self.refuse_size(format!("it has {total}"))),
        }
    }

    fn check_length(&self, response: &Response) -> Result<(), Error> {
        match response.content_length() {
            Some(length) if length != self.blob.size && !is_encoded(response) => {
                Err(self.refuse_size(format!("it has {length}")))
            }
            _ => Ok(()),
        }
    }

    /// Blobs are asked for as they are; what a proxy packs all the same is unpacked, as the digest is that of the blob.
    fn encoding(&self, response: &Response) -> Result<Encoding, Error> {
        let encoding = response
            .headers()
            .get(CONTENT_ENCODING)
            .map(|value| String::from_utf8_lossy(value.as_bytes()));
        let name = encoding.unwrap_or_default();
        let is_part = response.status() == StatusCode::PARTIAL_CONTENT;
        match Encoding::named(name.trim()) {
            Some(encoding) if encoding.is_identity() || !is_part => Ok(encoding),
            _ => Err(self.broken_encoding(&format!("encoded as {name}, though it was asked for as it is"))),
        }
    }

    fn broken_encoding(&self, reason: &str) -> Error {
        Error::Protocol {
            host: self.site.host(),
            reason: format!(
                "blob {} came {reason}: a proxy in between changes it",
                self.blob.digest
            ),
        }
    }

    /// A size that is a lie, not a broken connection.
    fn refuse_size(&self, actual: String) -> Error {
        Error::Size {
            what: format!("blob {}", self.blob.digest),
            host: self.site.host(),
            expected: self.blob.size,
            actual,
        }
    }

    fn short(&self, actual: String) -> Error {
        Error::Short {
            what: format!("blob {}", self.blob.digest),
            host: self.site.host(),
            expected: self.blob.size,
            actual,
        }
    }
}

/// A range in pieces that are fetched at a time each.
fn parts(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let end = range.end;
    range
        .step_by(PART as usize)
        .map(move |start| start..end.min(start.saturating_add(PART)))
}

/// Where a part begins and what is said of the whole's length, `*` if it is not known (RFC 9110, section 14.4).
pub(crate) fn content_range(text: &str) -> Option<(u64, &str)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, total.trim()))
}

/// How a server answers a request for a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Served {
    Part,
    Whole,
}

fn is_encoded(response: &Response) -> bool {
    let encoding = response.headers().get(CONTENT_ENCODING);
    encoding.is_some_and(|value| {
        !Encoding::named(&String::from_utf8_lossy(value.as_bytes())).is_some_and(|own| own.is_identity())
    })
}
