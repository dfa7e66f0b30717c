//! Sends one request and follows where it leads, without showing anything to whom it is not meant for.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::poll_fn;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderValue, LOCATION};
use reqwest::{Response, StatusCode, Url};
use tokio::sync::mpsc;

use crate::answer::{PATIENCE, network, sent, stalled};
use crate::ask::{Ask, Payload, Sent, Target};
use crate::authorization::{Door, wanted_by};
use crate::credential::Credential;
use crate::error::Error;
use crate::hosts::{Scheme, check_redirect, is_wrong_scheme, may_carry_credentials};
use crate::refusal::without_query;
use crate::scope::Scope;
use crate::site::Site;
use crate::token::Want;

/// The most redirects that are followed.
const REDIRECTS: usize = 10;
/// The longest `Location` that is followed, in bytes.
const LOCATION_LIMIT: usize = 8 << 10;
/// How long a registry may take to look at a blob it has been sent whole.
const BLOB_PATIENCE: Duration = Duration::from_secs(600);

impl Site {
    pub(crate) fn address(&self, target: &Target, scheme: Scheme) -> Url {
        match target {
            Target::Whole(url) => url.clone(),
            Target::Root => self.endpoint.root(scheme),
            Target::Search(query) => {
                let mut url = self.endpoint.root(scheme);
                url.set_path(&format!("{}search", url.path()));
                url.set_query(Some(query));
                url
            }
            Target::Below(rest) => match rest.split_once('?') {
                None => self.endpoint.url(scheme, rest),
                Some((path, query)) => {
                    let mut url = self.endpoint.url(scheme, path);
                    let query = match url.query() {
                        Some(own) => format!("{own}&{query}"),
                        None => query.to_owned(),
                    };
                    url.set_query(Some(&query));
                    url
                }
            },
        }
    }

    /// Sends the request and follows where it leads.
    pub(crate) async fn send(
        &self,
        ask: &Ask<'_>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, Error> {
        let response = self.send_first(ask, authorization).await?;
        if !ask.follows {
            return Ok(response);
        }
        let first = response.url().clone();
        self.follow(ask, first, response, authorization).await
    }

    /// An insecure registry may speak TLS that nobody vouches for, or none at all.
    async fn send_first(
        &self,
        ask: &Ask<'_>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, Error> {
        if let Target::Whole(url) = &ask.target {
            return self.send_to(ask, url, authorization).await;
        }
        let schemes = self.shared.hosts.attempts(&self.endpoint);
        let mut schemes = schemes.iter().copied().peekable();
        while let Some(scheme) = schemes.next() {
            let url = self.address(&ask.target, scheme);
            match self.send_to(ask, &url, authorization).await {
                Ok(response) => {
                    self.shared.hosts.remember(&self.endpoint, scheme);
                    let mut answered = self
                        .shared
                        .answered
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner);
                    answered.insert(self.host());
                    return Ok(response);
                }
                Err(Error::Network { source, .. })
                    if schemes.peek().is_some() && is_wrong_scheme(&source) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Protocol {
            host: self.host(),
            reason: "no way to connect to it is allowed".to_owned(),
        })
    }

    async fn follow(
        &self,
        ask: &Ask<'_>,
        first: Url,
        mut response: Response,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, Error> {
        for _ in 0..REDIRECTS {
            let status = response.status();
            if !status.is_redirection() || status == StatusCode::NOT_MODIFIED {
                return Ok(response);
            }
            let next = self.location(&response)?;
            check_redirect(&self.endpoint, &next)?;
            // signed addresses answer 400 to an authorization that is not theirs
            let allowed = may_carry_credentials(&first, &next);
            response = self
                .send_to(ask, &next, authorization.filter(|_| allowed))
                .await?;
            if response.status() == StatusCode::UNAUTHORIZED && !allowed {
                response = self.as_anybody(ask, &next, response).await?;
            }
        }
        Err(Error::Redirects {
            url: without_query(&first),
            limit: REDIRECTS,
        })
    }

    /// A redirect led to another registry that wants a token: whoever asks as nobody in particular gets one there (gcr.io
    /// leads to others in this way).
    async fn as_anybody(&self, ask: &Ask<'_>, url: &Url, response: Response) -> Result<Response, Error> {
        let challenges = wanted_by(&response);
        let Some(Door::Bearer(realm)) = self.door_of(&challenges)? else {
            return Ok(response);
        };
        let scopes: Vec<Scope> = challenges
            .iter()
            .filter_map(|challenge| challenge.get("scope"))
            .flat_map(Scope::of_challenge)
            .collect();
        let client = self.shared.hosts.client_elsewhere(&self.endpoint, &realm.url)?;
        let want = Want {
            client: &client,
            realm: &realm,
            credential: &Credential::Anonymous,
            scopes: &scopes,
            offline: false,
        };
        let (token, _) = self.shared.tokens.get(&want, None).await?;
        self.send_to(ask, url, Some(&token.header)).await
    }

    /// Where an answer leads: whole, without scheme, or from the host's root on.
    pub(crate) fn location(&self, response: &Response) -> Result<Url, Error> {
        let broken = |reason: &str| Error::Protocol {
            host: self.host(),
            reason: reason.to_owned(),
        };
        let header = response
            .headers()
            .get(LOCATION)
            .ok_or_else(|| broken("an answer that leads on says not where"))?;
        let text = header.to_str().map_err(|_| broken("a Location is no text"))?;
        if text.len() > LOCATION_LIMIT {
            return Err(broken("a Location is longer than any honest one"));
        }
        let url = response
            .url()
            .join(text)
            .map_err(|error| broken(&format!("a Location is no address: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(broken("a Location is neither http nor https"));
        }
        Ok(url)
    }

    async fn send_to(
        &self,
        ask: &Ask<'_>,
        url: &Url,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, Error> {
        let hosts = &self.shared.hosts;
        let own = self.may_authorize(url);
        let uploads = ask.patient || matches!(ask.payload, Payload::Blob(..));
        let client = match (own, uploads) {
            (true, false) => hosts.client(&self.endpoint)?,
            (true, true) => hosts.upload_client(&self.endpoint)?,
            (false, false) => hosts.client_elsewhere(&self.endpoint, url)?,
            (false, true) => hosts.upload_client_elsewhere(&self.endpoint, url)?,
        };
        let mut request = client
            .request(ask.method.clone(), url.clone())
            .headers(ask.headers.clone());
        if own {
            request = request.headers(self.endpoint.headers().clone());
        }
        if let Some(header) = authorization {
            request = request.header(AUTHORIZATION, header.clone());
        }
        match &ask.payload {
            Payload::Nothing if ask.patient => sent(url, BLOB_PATIENCE, request.send()).await,
            Payload::Nothing => sent(url, PATIENCE, request.send()).await,
            Payload::Bytes(bytes) => sent(url, PATIENCE, request.body(bytes.clone()).send()).await,
            Payload::Blob(source, length, progress) => {
                if let Some(length) = length {
                    request = request.header(CONTENT_LENGTH, *length);
                }
                progress.bytes.store(0, Ordering::Relaxed);
                let (body, failure) = blob(source.open(), progress.bytes.clone());
                let result = watch(url, request.body(body).send(), progress, *length).await;
                match (
                    result,
                    failure.lock().unwrap_or_else(PoisonError::into_inner).take(),
                ) {
                    // the connection broke because the source did
                    (Err(_), Some(error)) => Err(Error::Source(error)),
                    (result, _) => result,
                }
            }
        }
    }
}

type Failure = Arc<Mutex<Option<std::io::Error>>>;

/// A body made of what a source gives. Its failure, which the connection does not tell, is kept aside.
fn blob(
    mut source: mpsc::Receiver<std::io::Result<Bytes>>,
    bytes: Arc<AtomicU64>,
) -> (reqwest::Body, Failure) {
    let failure = Failure::default();
    let aside = failure.clone();
    let stream = poll_fn(move |context| {
        source.poll_recv(context).map(|piece| match piece {
            Some(Ok(piece)) => {
                bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
                Some(Ok(piece))
            }
            Some(Err(error)) => {
                let text = error.to_string();
                *aside.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Some(Err(std::io::Error::other(text)))
            }
            None => None,
        })
    });
    (reqwest::Body::wrap_stream(stream), failure)
}

/// Waits for the answer to a blob as long as its bytes move.
async fn watch(
    url: &Url,
    sending: impl Future<Output = Result<Response, reqwest::Error>>,
    progress: &Sent,
    length: Option<u64>,
) -> Result<Response, Error> {
    tokio::pin!(sending);
    let mut before = 0;
    let mut quiet = Duration::ZERO;
    loop {
        if let Ok(result) = tokio::time::timeout(PATIENCE, &mut sending).await {
            return result.map_err(|source| network(url, source));
        }
        let now = progress.bytes();
        quiet = if now == before {
            quiet + PATIENCE
        } else {
            Duration::ZERO
        };
        before = now;
        let all_sent = length == Some(now);
        if quiet >= if all_sent { BLOB_PATIENCE } else { PATIENCE } {
            return Err(stalled(url, quiet));
        }
    }
}
