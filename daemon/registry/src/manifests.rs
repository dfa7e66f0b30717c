//! Manifests and indexes: fetched whole with their digest, looked up, and put; and the tags of a repository.

use std::collections::HashSet;

use bytes::Bytes;
use mica_oci::media::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use mica_oci::{Digest, Tag};
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LINK};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;

use crate::answer::{host, read_whole};
use crate::ask::{Ask, Payload, Target};
use crate::error::Error;
use crate::refusal::BODY_LIMIT;
use crate::remote::Remote;
use crate::scope::Scope;
use crate::site::Site;

/// The largest manifest or index that is read or sent, in bytes (what registries commonly take).
pub const MANIFEST_LIMIT: usize = 4 << 20;
/// How many tags are asked for at a time; ECR refuses more.
const PAGE: usize = 1000;
/// The most tags of a repository that are listed.
const TAGS: usize = 100_000;
/// The longest page of tags, in bytes.
const PAGE_LIMIT: usize = 8 << 20;
/// The header that names the content's digest.
const CONTENT_DIGEST: &str = "docker-content-digest";

/// Which manifest of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// What a tag leads to now.
    Tag(Tag),
    /// The one with this digest.
    Digest(Digest),
}

impl std::fmt::Display for Which {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// A manifest or index as it came; its digest is that of its bytes.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The bytes.
    pub bytes: Bytes,
    /// Their digest.
    pub digest: Digest,
    /// What the registry says it is.
    pub content_type: Option<String>,
}

/// What a registry says of a manifest without sending it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// What it is.
    pub content_type: Option<String>,
}

impl Remote {
    /// Fetches a manifest or index. What is named by digest has that digest.
    pub async fn manifest(&self, which: &Which) -> Result<Fetched, Error> {
        let sites = match which {
            Which::Tag(_) => &self.resolving,
            Which::Digest(_) => &self.reading,
        };
        self.at_any(sites, |site| site.manifest(which)).await
    }

    /// Looks a manifest or index up; `None` if the registry has none.
    pub async fn describe(&self, which: &Which) -> Result<Option<Described>, Error> {
        self.at_any(&self.resolving, |site| site.describe(which)).await
    }

    /// Puts a manifest or index under a tag or its digest, and makes sure that the registry has it as it was sent.
    pub async fn put_manifest(&self, which: &Which, media_type: &str, bytes: Bytes) -> Result<Digest, Error> {
        let site = self.origin()?;
        let digest = Digest::of(&bytes);
        let content_type = HeaderValue::from_str(media_type).map_err(|_| Error::Protocol {
            host: site.host(),
            reason: format!("{media_type:?} cannot be sent as a media type"),
        })?;
        let ask = Ask::new(
            Method::PUT,
            Target::Below(format!("manifests/{which}")),
            &site.scopes,
        )
        .header(CONTENT_TYPE, content_type)
        .carries(Payload::Bytes(bytes));
        let response = site.ask_for(&ask).await?;
        let told = match told_digest(site, &response)? {
            Some(told) => Some(told),
            None => site.describe(which).await?.map(|described| described.digest),
        };
        match told {
            Some(told) if told == digest => Ok(digest),
            Some(told) => Err(Error::Digest {
                what: format!("manifest {which}"),
                host: site.host(),
                expected: digest,
                actual: told,
            }),
            None => Err(Error::Protocol {
                host: site.host(),
                reason: format!("it took the manifest {which} and does not have it"),
            }),
        }
    }

    /// The tags of the repository, in the registry's order.
    pub async fn tags(&self) -> Result<Vec<Tag>, Error> {
        self.at_any(&self.resolving, |site| site.tags()).await
    }
}

impl Site {
    async fn manifest(&self, which: &Which) -> Result<Fetched, Error> {
        let ask = accepting(Method::GET, which, &self.scopes);
        let mut failures = 0;
        loop {
            // requests are made again where they are made; what is left is an answer that breaks off
            let response = self.ask_for(&ask).await?;
            match self.read_manifest(which, response).await {
                Err(error) if error.is_passing() && failures + 1 < crate::retry::TRIES => {
                    failures += 1;
                    self.rest(&format!("manifest {which}"), failures, &error).await;
                }
                result => return result,
            }
        }
    }

    async fn read_manifest(&self, which: &Which, response: Response) -> Result<Fetched, Error> {
        let told = match which {
            Which::Digest(digest) => Some(*digest),
            Which::Tag(_) => told_digest(self, &response)?,
        };
        let content_type = content_type(&response);
        let what = format!("manifest {which}");
        let bytes = read_whole(response, &what, MANIFEST_LIMIT).await?;
        let digest = Digest::of(&bytes);
        match told {
            Some(expected) if expected != digest => Err(Error::Digest {
                what,
                host: self.host(),
                expected,
                actual: digest,
            }),
            _ => Ok(Fetched {
                bytes,
                digest,
                content_type,
            }),
        }
    }

    /// By HEAD, or by GET where HEAD tells too little.
    async fn describe(&self, which: &Which) -> Result<Option<Described>, Error> {
        let ask = accepting(Method::HEAD, which, &self.scopes);
        let response = self.ask(&ask).await?;
        match response.status() {
            StatusCode::NOT_FOUND => return Ok(None),
            status if status.is_success() => {
                // reqwest tells the length of the body, which is empty here
                let length = response.headers().get(CONTENT_LENGTH);
                let length = length
                    .and_then(|value| value.to_str().ok())
                    .and_then(|text| text.parse().ok());
                if let (Some(digest), Some(size)) = (told_digest(self, &response)?, length) {
                    return Ok(Some(Described {
                        digest,
                        size,
                        content_type: content_type(&response),
                    }));
                }
            }
            _ => {}
        }
        match self.manifest(which).await {
            Ok(fetched) => Ok(Some(Described {
                digest: fetched.digest,
                size: fetched.bytes.len() as u64,
                content_type: fetched.content_type,
            })),
            Err(Error::Refused(refusal)) if refusal.status == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn tags(&self) -> Result<Vec<Tag>, Error> {
        #[derive(Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        let mut tags: Vec<Tag> = Vec::new();
        let mut known: HashSet<Tag> = HashSet::new();
        let mut target = Target::Below(format!("tags/list?n={PAGE}"));
        loop {
            let ask = Ask::new(Method::GET, target, &self.scopes).following();
            let response = self.ask_for(&ask).await?;
            let next = next_page(response.url(), response.headers())?;
            let body = read_whole(response, "the list of tags", PAGE_LIMIT).await?;
            let page: Page = serde_json::from_slice(&body).map_err(|error| Error::Protocol {
                host: self.host(),
                reason: format!("its list of tags cannot be read: {error}"),
            })?;
            let before = tags.len();
            // a tag that does not follow the grammar cannot be asked for either; a page that only repeats what came before
            // is no page, as its next one would be the same again
            let named = page.tags.unwrap_or_default();
            let named = named.iter().filter_map(|tag| Tag::new(tag).ok());
            tags.extend(named.filter(|tag| known.insert(tag.clone())));
            match next {
                Some(url) if tags.len() > before && tags.len() < TAGS => target = Target::Whole(url),
                _ => return Ok(tags),
            }
        }
    }
}

fn accepting<'a>(method: Method, which: &Which, scopes: &[Scope]) -> Ask<'a> {
    let kinds = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST].join(", ");
    let accept = HeaderValue::from_str(&kinds).expect("media types are plain text");
    Ask::new(method, Target::Below(format!("manifests/{which}")), scopes)
        .header(ACCEPT, accept)
        .following()
}

/// The digest an answer names, which must be one.
pub(crate) fn told_digest(site: &Site, response: &Response) -> Result<Option<Digest>, Error> {
    let Some(value) = response.headers().get(CONTENT_DIGEST) else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(value.as_bytes());
    // some registries send it empty
    if text.trim().is_empty() {
        return Ok(None);
    }
    text.trim().parse().map(Some).map_err(|source| Error::BadDigest {
        host: site.host(),
        source,
    })
}

/// The media type without its parameters.
fn content_type(response: &Response) -> Option<String> {
    let text = response.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    let kind = text.split(';').next().unwrap_or_default().trim();
    (!kind.is_empty() && kind.len() < BODY_LIMIT).then(|| kind.to_owned())
}

/// The next page of a list (RFC 8288), on the same host only: the request shows who asks.
pub(crate) fn next_page(page: &Url, headers: &HeaderMap) -> Result<Option<Url>, Error> {
    let broken = |reason: String| Error::Protocol {
        host: host(page),
        reason,
    };
    let links = headers.get_all(LINK);
    for link in links
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
    {
        let Some((target, parameters)) = link
            .trim()
            .strip_prefix('<')
            .and_then(|rest| rest.split_once('>'))
        else {
            continue;
        };
        let is_next = parameters
            .split(';')
            .any(|parameter| matches!(parameter.trim(), "rel=next" | "rel=\"next\""));
        if !is_next {
            continue;
        }
        let url = page
            .join(target)
            .map_err(|error| broken(format!("the link to the next page is no address: {error}")))?;
        if url.origin() != page.origin() {
            return Err(broken(
                "the link to the next page leads to another host".to_owned(),
            ));
        }
        return Ok(Some(url));
    }
    Ok(None)
}
