//! One place a repository lies at, spoken to by one user: asked again while it fails in passing, and with the authorization
//! it wants.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use reqwest::header::WARNING;
use reqwest::{Method, Response, StatusCode};

use crate::answer::read_whole;
use crate::ask::{Ask, Target};
use crate::authorization::{Door, Shown, wanted_by};
use crate::credential::Credential;
use crate::error::Error;
use crate::hint;
use crate::hosts::{Endpoint, Hosts, Scheme};
use crate::lanes::{AllLanes, Lanes};
use crate::ports::{Listener, Notice};
use crate::refusal::{BODY_LIMIT, Refusal, without_query};
use crate::retry;
use crate::scope::Scope;
use crate::token::Tokens;
use crate::traffic::Traffic;

/// How often one request is made with another authorization: none, a kept one, a new one, one with more scopes.
const AUTHORIZATIONS: usize = 4;

/// What all sites of a process share.
pub(crate) struct Shared {
    pub(crate) hosts: Hosts,
    pub(crate) tokens: Tokens,
    pub(crate) lanes: AllLanes,
    /// What each registry wants to be shown, by scheme, host and port.
    pub(crate) doors: Mutex<HashMap<String, Door>>,
    /// Hosts that answered before.
    pub(crate) answered: Mutex<HashSet<String>>,
    /// Registries that take blobs only by PATCH.
    pub(crate) patching: Mutex<HashSet<String>>,
    /// How much was moved.
    pub(crate) traffic: Arc<Traffic>,
}

impl Shared {
    pub(crate) fn new(hosts: Hosts) -> Self {
        Self {
            hosts,
            tokens: Tokens::default(),
            lanes: AllLanes::default(),
            doors: Mutex::default(),
            answered: Mutex::default(),
            patching: Mutex::default(),
            traffic: Arc::default(),
        }
    }
}

/// One place, one user.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) shared: Arc<Shared>,
    pub(crate) endpoint: Endpoint,
    pub(crate) credential: Credential,
    pub(crate) listener: Listener,
    /// The registry in the image's name, which is what hints speak of.
    pub(crate) registry: String,
    /// What is done with the repository.
    pub(crate) scopes: Vec<Scope>,
}

impl Site {
    /// The registry's host and port.
    pub(crate) fn host(&self) -> String {
        self.endpoint.authority().to_string()
    }

    /// How much goes on with this host.
    pub(crate) fn lanes(&self) -> Arc<Lanes> {
        self.shared.lanes.of(&self.host())
    }

    /// Makes a request, again and again while it fails in passing. Gives any answer that is not about to change.
    pub(crate) async fn ask(&self, ask: &Ask<'_>) -> Result<Response, Error> {
        let mut failures = 0;
        loop {
            let error = match self.ask_once(ask).await {
                Ok(response) if !retry::is_passing(response.status()) => return Ok(response),
                Ok(response) => match self.refused(ask, response).await {
                    error if error.is_passing() => error,
                    error => return Err(error),
                },
                Err(error) if error.is_passing() => error,
                Err(error) => return Err(error),
            };
            failures += 1;
            if failures >= self.tries(&error) {
                return Err(error);
            }
            self.rest(
                &format!("{} {}", ask.method, self.shown(&ask.target)),
                failures,
                &error,
            )
            .await;
        }
    }

    /// How often a request that fails so is made. A host that never answered is more likely to be mistyped than to be away.
    fn tries(&self, error: &Error) -> u32 {
        let answered = self
            .shared
            .answered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match error {
            Error::Network { source, .. } if source.is_connect() && !answered.contains(&self.host()) => {
                retry::FIRST_TRIES
            }
            _ => retry::TRIES,
        }
    }

    /// As [`ask`](Self::ask); an answer other than success is an error.
    pub(crate) async fn ask_for(&self, ask: &Ask<'_>) -> Result<Response, Error> {
        let response = self.ask(ask).await?;
        match response.status().is_success() {
            true => Ok(response),
            false => Err(self.refused(ask, response).await),
        }
    }

    /// Tells of a failure and waits.
    pub(crate) async fn rest(&self, what: &str, failures: u32, error: &Error) {
        let pause = retry::pause(failures, error.wait());
        self.listener.tell(Notice::Retry {
            what: what.to_owned(),
            reason: chain(error),
            pause,
        });
        tokio::time::sleep(pause).await;
    }

    /// The refusal in an answer, with what the user can do about it.
    pub(crate) async fn refused(&self, ask: &Ask<'_>, response: Response) -> Error {
        let (status, headers, url) = (
            response.status(),
            response.headers().clone(),
            response.url().clone(),
        );
        let body = match read_whole(response, "the refusal", BODY_LIMIT).await {
            Ok(body) => body,
            // the status says enough
            Err(Error::TooLarge { .. }) => Bytes::new(),
            Err(error) => return error,
        };
        self.with_hints(ask, Refusal::read(&ask.method, &url, status, &headers, &body))
    }

    pub(crate) fn with_hints(&self, ask: &Ask<'_>, mut refusal: Refusal) -> Error {
        let pushes = !matches!(ask.method, Method::GET | Method::HEAD)
            || ask.scopes.iter().any(|scope| scope.as_str().ends_with("push"));
        let hints = hint::hints(&self.registry, &refusal, self.credential.is_anonymous(), pushes);
        refusal.hints.extend(hints);
        refusal.into()
    }

    /// Makes a request once: with what was learned about the registry before, and once more with what its answer tells.
    pub(crate) async fn ask_once(&self, ask: &Ask<'_>) -> Result<Response, Error> {
        let mut scopes = ask.scopes.clone();
        let mut shown = self.authorization(ask, &scopes, None).await?;
        for _ in 0..AUTHORIZATIONS {
            let response = self.send(ask, shown.as_ref().map(|shown| &shown.header)).await?;
            let challenges = wanted_by(&response);
            let insufficient = challenges
                .iter()
                .any(|challenge| challenge.get("error") == Some("insufficient_scope"));
            let status = response.status();
            if status != StatusCode::UNAUTHORIZED && !(status == StatusCode::FORBIDDEN && insufficient) {
                self.pass_on_warnings(&response);
                return Ok(response);
            }
            let before = scopes.len();
            for scope in challenges.iter().filter_map(|challenge| challenge.get("scope")) {
                for scope in Scope::of_challenge(scope) {
                    if !scopes.iter().any(|own| own.covers(&scope)) {
                        scopes.push(scope);
                    }
                }
            }
            let may_help = match &shown {
                None => true,
                Some(shown) => !shown.fresh || scopes.len() > before,
            };
            if !may_help || !self.may_authorize(response.url()) {
                return Err(self.denied(ask, response, shown).await);
            }
            let learned = self.learn(&challenges).await?;
            let refused = shown.take();
            let next = match learned {
                true => {
                    self.authorization(ask, &scopes, refused.as_ref().map(|shown| &shown.header))
                        .await?
                }
                false => None,
            };
            if next.is_none() {
                return Err(self.denied(ask, response, refused).await);
            }
            shown = next;
        }
        Err(Error::Protocol {
            host: self.host(),
            reason: "it wants ever more authorization".to_owned(),
        })
    }

    async fn denied(&self, ask: &Ask<'_>, response: Response, shown: Option<Shown>) -> Error {
        let (status, headers, url) = (
            response.status(),
            response.headers().clone(),
            response.url().clone(),
        );
        // an answer to HEAD has no body: asked again as GET, it says why
        let body = match ask.method {
            Method::HEAD => {
                let mut again = ask.clone();
                again.method = Method::GET;
                match self.send(&again, shown.as_ref().map(|shown| &shown.header)).await {
                    Ok(response) if !response.status().is_success() => {
                        read_whole(response, "the refusal", BODY_LIMIT).await
                    }
                    _ => Ok(Bytes::new()),
                }
            }
            _ => read_whole(response, "the refusal", BODY_LIMIT).await,
        };
        let body = match body {
            Ok(body) => body,
            Err(Error::TooLarge { .. }) => Bytes::new(),
            Err(error) => return error,
        };
        let mut refusal = Refusal::read(&ask.method, &url, status, &headers, &body);
        refusal.given = shown.map(|shown| match shown.granted {
            Some(granted) => format!("{} and allows {granted}", shown.asked_for),
            None => shown.asked_for,
        });
        refusal.given = refusal.given.filter(|given| !given.is_empty());
        self.with_hints(ask, refusal)
    }

    fn pass_on_warnings(&self, response: &Response) {
        for value in response.headers().get_all(WARNING) {
            let Some(text) = value.to_str().ok().and_then(|text| text.strip_prefix("299 - ")) else {
                continue;
            };
            let text: String = text
                .trim()
                .trim_matches('"')
                .chars()
                .filter(|c| !c.is_control())
                .take(1000)
                .collect();
            self.listener.tell(Notice::Warning(text));
        }
    }

    fn shown(&self, target: &Target) -> String {
        let schemes = self.shared.hosts.attempts(&self.endpoint);
        let scheme = schemes.first().copied().unwrap_or(Scheme::Https);
        without_query(&self.address(target, scheme))
    }
}

/// An error with its causes in one line.
pub(crate) fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = error.source();
    }
    text
}
