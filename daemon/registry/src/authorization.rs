//! What is shown to a registry so that it answers: learned from what it refuses, remembered for the next request.

use std::sync::PoisonError;
use std::time::Duration;

use reqwest::header::{HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, Response, Url};

use crate::ask::{Ask, Target};
use crate::challenge::Challenge;
use crate::credential::Credential;
use crate::error::Error;
use crate::hosts::{Scheme, check_realm, may_carry_credentials};
use crate::refusal::without_query;
use crate::retry;
use crate::scope::Scope;
use crate::site::Site;
use crate::token::{Realm, Token, Want, basic, bearer, texts};

/// What a registry wants to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Door {
    Basic,
    Bearer(Realm),
}

/// An authorization and where it came from.
pub(crate) struct Shown {
    pub(crate) header: HeaderValue,
    /// Whether it was got for this very request, so that getting another would not help.
    pub(crate) fresh: bool,
    pub(crate) asked_for: String,
    pub(crate) granted: Option<String>,
}

impl Site {
    /// Remembers what the registry wants to be shown. A registry that does not say is asked at its root (old gcr).
    pub(crate) async fn learn(&self, challenges: &[Challenge]) -> Result<bool, Error> {
        let door = match self.door_of(challenges)? {
            Some(door) => Some(door),
            None if challenges.is_empty() => {
                let ping = Ask::new(Method::GET, Target::Root, &[]);
                let response = self.send(&ping, None).await?;
                self.door_of(&wanted_by(&response))?
            }
            None => {
                let schemes: Vec<&str> = challenges.iter().map(|c| c.scheme.as_str()).collect();
                return Err(Error::Scheme {
                    host: self.host(),
                    schemes: schemes.join(" or "),
                });
            }
        };
        let Some(door) = door else { return Ok(false) };
        let mut doors = self.shared.doors.lock().unwrap_or_else(PoisonError::into_inner);
        doors.insert(self.host(), door);
        Ok(true)
    }

    /// Bearer if it is offered, else Basic.
    pub(crate) fn door_of(&self, challenges: &[Challenge]) -> Result<Option<Door>, Error> {
        let of = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
        if let Some(challenge) = of("bearer") {
            let realm = challenge.get("realm").unwrap_or_default();
            let url = Url::parse(realm).map_err(|error| Error::Address {
                text: realm
                    .split('?')
                    .next()
                    .unwrap_or_default()
                    .chars()
                    .take(200)
                    .collect(),
                reason: error.to_string(),
            })?;
            check_realm(&self.endpoint, &url)?;
            return Ok(Some(Door::Bearer(Realm {
                url,
                service: challenge.get("service").map(str::to_owned),
            })));
        }
        Ok(of("basic").map(|_| Door::Basic))
    }

    /// What is shown to the registry for a request with these scopes; nothing if it is not known to want anything.
    pub(crate) async fn authorization(
        &self,
        ask: &Ask<'_>,
        scopes: &[Scope],
        refused: Option<&HeaderValue>,
    ) -> Result<Option<Shown>, Error> {
        if let Target::Whole(url) = &ask.target
            && !self.may_authorize(url)
        {
            return Ok(None);
        }
        let fixed = |header, fresh| {
            Some(Shown {
                header,
                fresh,
                asked_for: String::new(),
                granted: None,
            })
        };
        if let Credential::Bearer(token) = &self.credential {
            return Ok(bearer(token).and_then(|header| fixed(header, true)));
        }
        match self.door() {
            None => Ok(None),
            Some(Door::Basic) => match &self.credential {
                Credential::Basic { user, password } => Ok(fixed(basic(user, password), true)),
                Credential::Identity { user, token } if !user.is_empty() => {
                    Ok(fixed(basic(user, token), true))
                }
                _ => Ok(None),
            },
            Some(Door::Bearer(realm)) => {
                let (token, fresh) = self
                    .token(&realm, scopes, refused, false)
                    .await
                    .map_err(|error| match error {
                        Error::Refused(refusal) => self.with_hints(ask, *refusal),
                        error => error,
                    })?;
                Ok(Some(Shown {
                    header: token.header,
                    fresh,
                    asked_for: texts(scopes),
                    granted: token.granted,
                }))
            }
        }
    }

    pub(crate) async fn token(
        &self,
        realm: &Realm,
        scopes: &[Scope],
        refused: Option<&HeaderValue>,
        offline: bool,
    ) -> Result<(Token, bool), Error> {
        let client = self.shared.hosts.client_elsewhere(&self.endpoint, &realm.url)?;
        let want = Want {
            client: &client,
            realm,
            credential: &self.credential,
            scopes,
            offline,
        };
        let mut failures = 0;
        loop {
            match self.shared.tokens.get(&want, refused).await {
                Err(error) if error.is_passing() && failures + 1 < retry::TRIES => {
                    failures += 1;
                    self.rest(
                        &format!("token from {}", without_query(&realm.url)),
                        failures,
                        &error,
                    )
                    .await;
                }
                result => return result,
            }
        }
    }

    /// Where tokens come from, if the registry wants any.
    pub(crate) fn realm(&self) -> Option<Realm> {
        match self.door() {
            Some(Door::Bearer(realm)) => Some(realm),
            _ => None,
        }
    }

    /// Shows user and password to a registry that was not seen to want anything else.
    pub(crate) fn expect_basic(&self) {
        let mut doors = self.shared.doors.lock().unwrap_or_else(PoisonError::into_inner);
        doors.entry(self.host()).or_insert(Door::Basic);
    }

    fn door(&self) -> Option<Door> {
        let doors = self.shared.doors.lock().unwrap_or_else(PoisonError::into_inner);
        doors.get(&self.host()).cloned()
    }

    /// Gets a new token if the one there is would end in the middle of something.
    pub(crate) async fn renew(&self, scopes: &[Scope], within: Duration) -> Result<(), Error> {
        if let Some(realm) = self.realm()
            && !matches!(self.credential, Credential::Bearer(_))
        {
            let (token, fresh) = self.token(&realm, scopes, None, false).await?;
            if !fresh && token.ends_within(within) {
                self.token(&realm, scopes, Some(&token.header), false).await?;
            }
        }
        Ok(())
    }

    /// Whether a token or password may go there: only where it was got for.
    pub(crate) fn may_authorize(&self, url: &Url) -> bool {
        let own = |scheme: &Scheme| may_carry_credentials(&self.endpoint.root(*scheme), url);
        self.shared.hosts.attempts(&self.endpoint).iter().any(own)
    }
}

/// All that an answer wants to be shown.
pub(crate) fn wanted_by(response: &Response) -> Vec<Challenge> {
    let values = response.headers().get_all(WWW_AUTHENTICATE);
    Challenge::all(values.iter().filter_map(|value| value.to_str().ok()))
}
