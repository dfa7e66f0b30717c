//! Whether a registry can be reached and would take a push: its root is asked for, then an upload is opened and given up.

use std::time::Duration;

use mica_oci::Repository;
use reqwest::header::{CONTENT_LENGTH, HeaderValue};
use reqwest::{Method, StatusCode};

use crate::ask::{Ask, Target};
use crate::credential::Credential;
use crate::error::Error;
use crate::hosts::check_redirect;
use crate::ports::Listener;
use crate::remote::{Client, Intent};
use crate::retry;
use crate::site::{Site, chain};
use crate::trouble::Trouble;

/// How long the registry may take to forget the upload; it forgets by itself later.
const FORGET: Duration = Duration::from_secs(10);

/// What came of asking a registry whether it would take a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushCheck {
    /// The host that was asked.
    pub host: String,
    /// Whether it answers at all.
    pub registry: CheckAnswer,
    /// Whether it takes a push; `None` where it does not answer.
    pub push: Option<CheckAnswer>,
}

/// What came of one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckAnswer {
    /// What was said, by the registry or by what failed on the way to it.
    pub said: String,
    /// What is in the way; `None` if nothing is.
    pub trouble: Option<Trouble>,
}

impl PushCheck {
    /// The settings of this machine keep the registry from being asked.
    fn unasked(repository: &Repository, error: &Error) -> Self {
        Self {
            host: repository.registry().to_owned(),
            registry: CheckAnswer {
                said: chain(error),
                trouble: Some(Trouble::Settings),
            },
            push: None,
        }
    }
}

impl Client {
    /// Asks a registry whether it can be reached, and whether the owner of the credential may push to the repository. Nothing is
    /// stored there. What goes wrong is the answer, with what may be done about it where the registry says no.
    pub async fn check_push(&self, repository: &Repository, credential: &Credential) -> PushCheck {
        let remote = match self.remote(repository, Intent::Push, credential, &Listener::deaf()) {
            Ok(remote) => remote,
            Err(error) => return PushCheck::unasked(repository, &error),
        };
        let site = match remote.origin() {
            Ok(site) => site,
            Err(error) => return PushCheck::unasked(repository, &error),
        };
        let answer = |result: Result<String, Error>| match result {
            Ok(said) => CheckAnswer { said, trouble: None },
            Err(error) => CheckAnswer {
                said: chain(&error),
                trouble: Some(Trouble::of(&error, self.hosts())),
            },
        };
        let registry = answer(site.knock().await);
        let push = match registry.trouble {
            None => Some(answer(site.try_upload().await)),
            Some(_) => None,
        };
        PushCheck {
            host: site.host(),
            registry,
            push,
        }
    }
}

impl Site {
    /// Asks for `/v2/` and shows nothing. Any answer will do, as those who are not known are answered 401, but for one that came
    /// from a proxy.
    async fn knock(&self) -> Result<String, Error> {
        let ask = Ask::new(Method::GET, Target::Root, &[]);
        let mut failures = 0;
        let response = loop {
            let error = match self.send(&ask, None).await {
                Ok(response) => break response,
                Err(error) => error,
            };
            failures += 1;
            if !error.is_passing() || failures >= retry::FIRST_TRIES {
                return Err(error);
            }
            tokio::time::sleep(retry::pause(failures, None)).await;
        };
        match response.status() {
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => Err(self.refused(&ask, response).await),
            status => Ok(status.to_string()),
        }
    }

    /// Opens an upload and gives it up again.
    async fn try_upload(&self) -> Result<String, Error> {
        let open = Ask::new(
            Method::POST,
            Target::Below("blobs/uploads/".to_owned()),
            &self.scopes,
        )
        .header(CONTENT_LENGTH, HeaderValue::from_static("0"));
        let response = self.ask(&open).await?;
        let opened = response.status();
        if !matches!(opened, StatusCode::ACCEPTED | StatusCode::CREATED) {
            return Err(self.refused(&open, response).await);
        }
        let location = self.location(&response)?;
        check_redirect(&self.endpoint, &location)?;
        let end = Ask::new(Method::DELETE, Target::Whole(location), &self.scopes);
        // many registries cannot be told; they forget what is not gone on with
        match tokio::time::timeout(FORGET, self.ask_once(&end)).await {
            Ok(Ok(response)) => Ok(format!(
                "{opened}, and to giving the upload up: {}",
                response.status()
            )),
            Ok(Err(_)) | Err(_) => Ok(format!(
                "{opened}; the upload could not be given up and will be forgotten"
            )),
        }
    }
}
