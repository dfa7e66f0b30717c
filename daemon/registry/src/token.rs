//! Access tokens: asked for where a registry says, kept until shortly before they expire, asked for only once at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mica_oci::Digest;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

use crate::answer::{PATIENCE, read_whole, sent};
use crate::credential::Credential;
use crate::error::Error;
use crate::refusal::{BODY_LIMIT, Refusal, without_query};
use crate::scope::Scope;

/// How long a token is good for if its endpoint does not say so, and at the least (distribution, "Token Authentication
/// Specification").
const SHORTEST: Duration = Duration::from_secs(60);
/// The longest time a token is believed to be good for.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// The part of its life after which a token is replaced.
const FRESH: f64 = 0.9;
/// Kept tokens beyond which those that are over are forgotten.
const KEPT: usize = 256;
/// What we call ourselves.
const CLIENT: &str = "mica";

/// Where tokens for a registry come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Realm {
    /// The endpoint.
    pub(crate) url: Url,
    /// What it calls the registry.
    pub(crate) service: Option<String>,
}

/// An access token.
#[derive(Clone)]
pub(crate) struct Token {
    /// The header that shows it.
    pub(crate) header: HeaderValue,
    /// When it is to be replaced.
    stale: Instant,
    /// When it is over.
    over: Instant,
    /// What its endpoint says it allows, where it says so.
    pub(crate) granted: Option<String>,
    /// A refresh token that came with it.
    pub(crate) refresh: Option<String>,
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    realm: Realm,
    credential: Digest,
    scopes: Vec<Scope>,
    offline: bool,
}

type Slot = Arc<tokio::sync::Mutex<Option<Token>>>;

/// All tokens of this process.
#[derive(Default)]
pub(crate) struct Tokens(Mutex<HashMap<Key, Slot>>);

/// What a token endpoint answers (also RFC 6749, 5.1).
#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    expires_in: Option<f64>,
    #[serde(default)]
    refresh_token: String,
    scope: Option<String>,
}

/// A question for a token.
pub(crate) struct Want<'a> {
    /// Connections to the endpoint.
    pub(crate) client: &'a reqwest::Client,
    /// The endpoint.
    pub(crate) realm: &'a Realm,
    /// Who asks.
    pub(crate) credential: &'a Credential,
    /// What for.
    pub(crate) scopes: &'a [Scope],
    /// Whether a refresh token is wanted too, to be kept in place of the password.
    pub(crate) offline: bool,
}

impl Tokens {
    /// A token that is still good for a while, and whether it was got just now. `refused` is one that the registry did not
    /// take and that is not to be used again.
    pub(crate) async fn get(
        &self,
        want: &Want<'_>,
        refused: Option<&HeaderValue>,
    ) -> Result<(Token, bool), Error> {
        let slot = self.slot(want);
        // whoever else wants the same waits here for the one who asks
        let mut kept = slot.lock().await;
        if let Some(token) = &*kept
            && token.stale > Instant::now()
            && refused != Some(&token.header)
        {
            return Ok((token.clone(), false));
        }
        *kept = None;
        let token = fetch(want).await?;
        *kept = Some(token.clone());
        Ok((token, true))
    }

    fn slot(&self, want: &Want<'_>) -> Slot {
        let mut scopes = want.scopes.to_vec();
        // the order matters on the wire (the target of a mount comes first), not for what a token allows
        scopes.sort();
        let key = Key {
            realm: want.realm.clone(),
            credential: want.credential.fingerprint(),
            scopes,
            offline: want.offline,
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() > KEPT {
            let now = Instant::now();
            all.retain(|_, slot| match slot.try_lock() {
                Ok(kept) => kept.as_ref().is_some_and(|token| token.over > now),
                Err(_) => true,
            });
        }
        all.entry(key).or_default().clone()
    }
}

impl Token {
    /// Whether it ends within this time.
    pub(crate) fn ends_within(&self, time: Duration) -> bool {
        self.over <= Instant::now() + time
    }
}

async fn fetch(want: &Want<'_>) -> Result<Token, Error> {
    if let Credential::Identity { token, .. } = want.credential {
        let answer = post(want, token).await;
        // endpoints without OAuth 2.0 say so in many ways
        match answer {
            Err(Error::Refused(refusal)) if matches!(refusal.status, 400 | 401 | 404 | 405) => {
                return get(want).await.map_err(|_| Error::Refused(refusal));
            }
            answer => return answer,
        }
    }
    get(want).await
}

/// Asks as the token specification says: parameters in the query, the user's name and password beside it.
async fn get(want: &Want<'_>) -> Result<Token, Error> {
    let mut url = want.realm.url.clone();
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = &want.realm.service {
            query.append_pair("service", service);
        }
        for scope in want.scopes {
            query.append_pair("scope", scope.as_str());
        }
        if let Some(user) = want.credential.user() {
            query.append_pair("account", user);
        }
        if want.offline {
            query
                .append_pair("offline_token", "true")
                .append_pair("client_id", CLIENT);
        }
    }
    let request = want.client.get(url.clone());
    let request = match want.credential {
        Credential::Basic { user, password } => request.header(AUTHORIZATION, basic(user, password)),
        Credential::Identity { user, token } => request.header(AUTHORIZATION, basic(user, token)),
        Credential::Anonymous | Credential::Bearer(_) => request,
    };
    answer(want, Method::GET, &url, request).await
}

/// Exchanges a refresh token (RFC 6749, section 6).
async fn post(want: &Want<'_>, refresh: &str) -> Result<Token, Error> {
    let scopes: Vec<&str> = want.scopes.iter().map(Scope::as_str).collect();
    let mut form = reqwest::Url::parse("form:").expect("a constant that parses");
    form.query_pairs_mut()
        .append_pair("grant_type", "refresh_token")
        .append_pair("client_id", CLIENT)
        .append_pair("service", want.realm.service.as_deref().unwrap_or_default())
        .append_pair("scope", &scopes.join(" "))
        .append_pair("refresh_token", refresh);
    let url = want.realm.url.clone();
    let request = want
        .client
        .post(url.clone())
        .header(reqwest::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form.query().unwrap_or_default().to_owned());
    answer(want, Method::POST, &url, request).await
}

async fn answer(
    want: &Want<'_>,
    method: Method,
    url: &Url,
    request: reqwest::RequestBuilder,
) -> Result<Token, Error> {
    let received = Instant::now();
    let response = sent(url, PATIENCE, request.send()).await?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = read_whole(response, "the answer of the token endpoint", BODY_LIMIT).await?;
    if !status.is_success() {
        let mut refusal = Refusal::read(&method, url, status, &headers, &body);
        refusal.wanted = Some(texts(want.scopes)).filter(|text| !text.is_empty());
        if status == StatusCode::FORBIDDEN && refusal.code.is_empty() {
            refusal.code = "DENIED".to_owned();
        }
        return Err(refusal.into());
    }
    read(url, &body, received)
}

/// The token in an answer that was asked for at `received`.
pub(crate) fn read(url: &Url, body: &[u8], received: Instant) -> Result<Token, Error> {
    let no_token = |reason: String| Error::Token {
        url: without_query(url),
        reason,
    };
    // serde's own text can quote the token
    let wire: Wire = serde_json::from_slice(body).map_err(|error| {
        no_token(format!(
            "line {}, column {} of its answer is no such JSON",
            error.line(),
            error.column()
        ))
    })?;
    let token = match wire.token.is_empty() {
        true => wire.access_token,
        false => wire.token,
    };
    if token.is_empty() {
        return Err(no_token("there is none in its answer".to_owned()));
    }
    let life = wire
        .expires_in
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .unwrap_or(SHORTEST)
        .clamp(SHORTEST, LONGEST);
    Ok(Token {
        header: bearer(&token)
            .ok_or_else(|| no_token("it holds characters no header may have".to_owned()))?,
        stale: received + life.mul_f64(FRESH),
        over: received + life,
        granted: wire.scope,
        refresh: Some(wire.refresh_token).filter(|token| !token.is_empty()),
    })
}

/// Scopes as one text.
pub(crate) fn texts(scopes: &[Scope]) -> String {
    let texts: Vec<&str> = scopes.iter().map(Scope::as_str).collect();
    texts.join(" ")
}

/// The header for a token, if it can stand in one.
pub(crate) fn bearer(token: &str) -> Option<HeaderValue> {
    secret(&format!("Bearer {token}"))
}

/// The header for a user and a password (RFC 7617).
pub(crate) fn basic(user: &str, password: &str) -> HeaderValue {
    use base64::Engine as _;
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    secret(&format!("Basic {pair}")).expect("base64 is made of characters a header may have")
}

fn secret(text: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(text).ok()?;
    header.set_sensitive(true);
    Some(header)
}
