//! Sending a blob: only if the registry lacks it, taken over from another repository if it can be, else in one request.

use std::sync::PoisonError;
use std::time::Duration;

use mica_oci::{Digest, Repository};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};

use crate::ask::{Ask, Payload, Sent, Target};
use crate::error::Error;
use crate::hosts::check_redirect;
use crate::manifests::told_digest;
use crate::ports::{Content, Source};
use crate::remote::Remote;
use crate::retry;
use crate::scope::Scope;
use crate::site::Site;

/// The most repositories a blob is tried to be taken over from.
const MOUNTS: usize = 3;
/// How long a token must still be good for when a blob is to be sent or completed.
const COMMIT: Duration = Duration::from_secs(30);
/// How often the bytes sent are told.
const TELL: Duration = Duration::from_millis(100);
/// How long the registry may take to forget an upload that failed; nobody waits for it.
const FORGET: Duration = Duration::from_secs(10);

/// How a blob came to be at the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// It was there.
    Present,
    /// The registry took it over from another of its repositories.
    Mounted(Repository),
    /// It was sent.
    Sent,
}

/// What a finished upload knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// The blob.
    pub content: Content,
    /// How it got there.
    pub arrival: Arrival,
    /// How many bytes of it were sent in all, failures included.
    pub bytes_sent: u64,
}

/// A session that the registry opened for an upload.
struct Session {
    location: Url,
}

impl Remote {
    /// Sees to it that the registry has a blob. `candidates` are repositories of the same registry that are known to have it,
    /// the likeliest first; `tell` hears how many bytes went out so far.
    pub async fn upload(
        &self,
        source: &dyn Source,
        candidates: &[Repository],
        tell: &(dyn Fn(u64) + Sync),
    ) -> Result<Uploaded, Error> {
        let site = self.origin()?;
        let upload = Upload { site, source, tell };
        let lanes = site.lanes();
        let _place = lanes.upload().await;
        upload.run(candidates).await
    }

    /// Whether the registry has a blob.
    pub async fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        self.origin()?.has_blob(digest).await
    }
}

impl Site {
    /// A redirect is a yes: where it leads may refuse to be asked by HEAD. What cannot be told is a no.
    async fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        let ask = Ask::new(
            Method::HEAD,
            Target::Below(format!("blobs/{digest}")),
            &self.scopes,
        );
        let response = match self.ask(&ask).await {
            Ok(response) => response,
            // whether it is allowed to send it, sending will tell, and with a better text
            Err(Error::Refused(refusal)) if refusal.status != 403 && refusal.status < 500 => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        match response.status() {
            status if status.is_success() || status.is_redirection() => Ok(true),
            StatusCode::FORBIDDEN => {
                let mut ask = ask;
                ask.method = Method::GET;
                let response = self.ask(&ask).await?;
                match response.status().is_success() {
                    true => Ok(true),
                    false => Err(self.refused(&ask, response).await),
                }
            }
            _ => Ok(false),
        }
    }
}

struct Upload<'a> {
    site: &'a Site,
    source: &'a dyn Source,
    tell: &'a (dyn Fn(u64) + Sync),
}

impl Upload<'_> {
    async fn run(&self, candidates: &[Repository]) -> Result<Uploaded, Error> {
        let mut session = None;
        let mut bytes_sent = 0;
        if let Some(content) = self.source.content() {
            if self.site.has_blob(&content.digest).await? {
                return Ok(arrived(content, Arrival::Present, 0));
            }
            for candidate in candidates.iter().take(MOUNTS) {
                match self.mount(&content.digest, candidate).await? {
                    Mount::Done => return Ok(arrived(content, Arrival::Mounted(candidate.clone()), 0)),
                    Mount::Session(opened) => {
                        session = Some(opened);
                        break;
                    }
                    Mount::No => {}
                }
            }
        }
        let mut failures = 0;
        loop {
            let mut opened = None;
            let sent = Sent::default();
            let result = self.attempt(session.take(), &sent, &mut opened).await;
            bytes_sent += sent.bytes();
            self.site.shared.traffic.send(sent.bytes());
            let error = match result {
                Ok(content) => return Ok(arrived(content, Arrival::Sent, bytes_sent)),
                Err(error) if self.may_retry(&error) => error,
                Err(error) => {
                    self.abandon(opened);
                    return Err(error);
                }
            };
            if error.refusal().is_some_and(|refusal| refusal.status >= 500) {
                self.site.lanes().server_error();
            }
            failures += 1;
            if failures > retry::BLOB_TRIES {
                self.abandon(opened);
                return Err(error);
            }
            self.site.rest("upload", failures, &error).await;
            // the answer may have been lost, and not the blob
            if let Some(content) = self.source.content()
                && bytes_sent > 0
                && self.site.has_blob(&content.digest).await?
            {
                return Ok(arrived(content, Arrival::Sent, bytes_sent));
            }
            self.abandon(opened);
            (self.tell)(0);
        }
    }

    /// Faults that pass, and sessions that the registry lost.
    fn may_retry(&self, error: &Error) -> bool {
        let lost = |code: &&str| error.refusal().is_some_and(|refusal| refusal.has_code(code));
        error.is_passing()
            || [
                "BLOB_UPLOAD_UNKNOWN",
                "BLOB_UPLOAD_INVALID",
                "UNKNOWN",
                "UNAVAILABLE",
            ]
            .iter()
            .any(lost)
            || matches!(error, Error::Refused(refusal) if refusal.status == 404 && refusal.code.is_empty())
    }

    /// Asks the registry to take a blob over from another repository. Any refusal only means that it must be sent.
    async fn mount(&self, digest: &Digest, from: &Repository) -> Result<Mount, Error> {
        let path = from.path();
        let target = Target::Below(format!(
            "blobs/uploads/?mount={}&from={}",
            escaped(&digest.to_string()),
            escaped(path)
        ));
        // the target first: some servers look at the first scope only
        let mut scopes = self.site.scopes.clone();
        scopes.push(Scope::pull(path));
        let ask =
            Ask::new(Method::POST, target, &scopes).header(CONTENT_LENGTH, HeaderValue::from_static("0"));
        let response = match self.site.ask(&ask).await {
            Ok(response) => response,
            Err(error @ (Error::Network { .. } | Error::Stalled { .. } | Error::Host(_))) => {
                return Err(error);
            }
            Err(_) => return Ok(Mount::No),
        };
        match response.status() {
            StatusCode::CREATED => Ok(Mount::Done),
            StatusCode::ACCEPTED => Ok(self.session(&response).map(Mount::Session).unwrap_or(Mount::No)),
            _ => Ok(Mount::No),
        }
    }

    fn session(&self, response: &Response) -> Result<Session, Error> {
        let location = self.site.location(response)?;
        check_redirect(&self.site.endpoint, &location)?;
        Ok(Session { location })
    }

    async fn open(&self) -> Result<Session, Error> {
        let ask = Ask::new(
            Method::POST,
            Target::Below("blobs/uploads/".to_owned()),
            &self.site.scopes,
        )
        .header(CONTENT_LENGTH, HeaderValue::from_static("0"));
        let response = self.site.ask(&ask).await?;
        match response.status() {
            StatusCode::ACCEPTED | StatusCode::CREATED => self.session(&response),
            _ => Err(self.site.refused(&ask, response).await),
        }
    }

    /// Sends the blob once.
    async fn attempt(
        &self,
        session: Option<Session>,
        sent: &Sent,
        opened: &mut Option<Url>,
    ) -> Result<Content, Error> {
        let session = match session {
            Some(session) => session,
            None => self.open().await?,
        };
        *opened = Some(session.location.clone());
        let sending = async {
            match self.source.content() {
                Some(content) if !self.patches() => match self.put_whole(&session, &content, sent).await {
                    Err(error) if refuses_method(&error) => {
                        self.abandon(opened.take());
                        let session = self.open().await?;
                        *opened = Some(session.location.clone());
                        let content = self.patch(&session, Some(content), sent).await?;
                        self.remember_patching();
                        Ok(content)
                    }
                    result => result.map(|()| content),
                },
                content => self.patch(&session, content, sent).await,
            }
        };
        tokio::pin!(sending);
        loop {
            tokio::select! {
                result = &mut sending => return result,
                () = tokio::time::sleep(TELL) => (self.tell)(sent.bytes()),
            }
        }
    }

    /// One PUT with all of it (how containerd and BuildKit do it, and the one way every registry documents).
    async fn put_whole(&self, session: &Session, content: &Content, sent: &Sent) -> Result<(), Error> {
        self.site.renew(&self.site.scopes, COMMIT).await?;
        let ask = Ask::new(
            Method::PUT,
            Target::Whole(completed(&session.location, &content.digest)),
            &self.site.scopes,
        )
        .header(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))
        .carries(Payload::Blob(self.source, Some(content.size), sent));
        let response = self.site.ask_once(&ask).await?;
        self.check_stored(&ask, response, content).await
    }

    /// One PATCH with all of it, without ranges, then a PUT that names it (how docker and skopeo do it): its digest need not be
    /// known before.
    async fn patch(
        &self,
        session: &Session,
        content: Option<Content>,
        sent: &Sent,
    ) -> Result<Content, Error> {
        let size = content.map(|content| content.size);
        let ask = Ask::new(
            Method::PATCH,
            Target::Whole(session.location.clone()),
            &self.site.scopes,
        )
        .header(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))
        .carries(Payload::Blob(self.source, size, sent));
        let response = self.site.ask_once(&ask).await?;
        if !matches!(response.status().as_u16(), 200 | 201 | 202 | 204) {
            return Err(self.site.refused(&ask, response).await);
        }
        // not all registries repeat where the session is
        let location = match response.headers().contains_key(reqwest::header::LOCATION) {
            true => self.session(&response)?.location,
            false => session.location.clone(),
        };
        let content = self.source.complete().await.map_err(Error::Source)?;
        self.site.renew(&self.site.scopes, COMMIT).await?;
        let ask = Ask::new(
            Method::PUT,
            Target::Whole(completed(&location, &content.digest)),
            &self.site.scopes,
        )
        .header(CONTENT_LENGTH, HeaderValue::from_static("0"))
        .patient();
        let response = self.site.ask_once(&ask).await?;
        self.check_stored(&ask, response, &content).await?;
        Ok(content)
    }

    async fn check_stored(&self, ask: &Ask<'_>, response: Response, content: &Content) -> Result<(), Error> {
        if !matches!(response.status().as_u16(), 200 | 201 | 202 | 204) {
            return Err(self.site.refused(ask, response).await);
        }
        match told_digest(self.site, &response)? {
            Some(told) if told != content.digest => Err(Error::Digest {
                what: "the blob that was sent".to_owned(),
                host: self.site.host(),
                expected: content.digest,
                actual: told,
            }),
            _ => Ok(()),
        }
    }

    fn patches(&self) -> bool {
        let patching = self
            .site
            .shared
            .patching
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        patching.contains(&self.site.host())
    }

    fn remember_patching(&self) {
        let mut patching = self
            .site
            .shared
            .patching
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        patching.insert(self.site.host());
    }

    /// Tells the registry in the background that a session is over; whether it listens does not matter.
    fn abandon(&self, location: Option<Url>) {
        let Some(location) = location else { return };
        let site = self.site.clone();
        tokio::spawn(async move {
            let ask = Ask::new(Method::DELETE, Target::Whole(location), &site.scopes);
            let _ = tokio::time::timeout(FORGET, site.ask_once(&ask)).await;
        });
    }
}

enum Mount {
    Done,
    Session(Session),
    No,
}

fn arrived(content: Content, arrival: Arrival, bytes_sent: u64) -> Uploaded {
    Uploaded {
        content,
        arrival,
        bytes_sent,
    }
}

/// A registry that takes blobs only by PATCH says so in one of these ways.
fn refuses_method(error: &Error) -> bool {
    let Some(refusal) = error.refusal() else {
        return false;
    };
    matches!(refusal.status, 405 | 411 | 415 | 416 | 501) || refusal.has_code("UNSUPPORTED")
}

/// The session's address with the digest in its query, which is kept as it is otherwise.
fn completed(location: &Url, digest: &Digest) -> Url {
    let mut url = location.clone();
    let own = format!("digest={}", escaped(&digest.to_string()));
    let query = match location.query() {
        Some(query) if !query.is_empty() => format!("{query}&{own}"),
        _ => own,
    };
    url.set_query(Some(&query));
    url
}

fn escaped(text: &str) -> String {
    text.replace(':', "%3A").replace('/', "%2F")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_keeps_its_query() {
        let digest = Digest::of(b"");
        for (location, completed_with) in [
            (
                "https://r/v2/a/blobs/uploads/1",
                "https://r/v2/a/blobs/uploads/1?digest=sha256%3A",
            ),
            (
                "https://r/u?_state=a%2Bb%3D&x=1",
                "https://r/u?_state=a%2Bb%3D&x=1&digest=sha256%3A",
            ),
        ] {
            let url = completed(&Url::parse(location).unwrap(), &digest);
            assert!(url.as_str().starts_with(completed_with), "{url}");
        }
    }
}
