//! Whether a registry would take a push: an upload is opened and given up.

use std::time::Duration;

use reqwest::header::{CONTENT_LENGTH, HeaderValue};
use reqwest::{Method, StatusCode};

use crate::ask::{Ask, Target};
use crate::error::Error;
use crate::hosts::check_redirect;
use crate::remote::Remote;

/// How long the registry may take to forget the upload; it forgets by itself later.
const FORGET: Duration = Duration::from_secs(10);

/// What the registry answered to somebody who may push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MayPush {
    /// The host that was asked.
    pub host: String,
    /// What it said to the upload, and to its end: `202 Accepted, then 204 No Content`.
    pub answered: String,
}

impl Remote {
    /// Opens an upload and gives it up again; nothing is stored.
    ///
    /// # Errors
    /// What the registry says to somebody who may not push, with what may be done about it.
    pub async fn check_push(&self) -> Result<MayPush, Error> {
        let site = self.origin()?;
        let open = Ask::new(
            Method::POST,
            Target::Below("blobs/uploads/".to_owned()),
            &site.scopes,
        )
        .header(CONTENT_LENGTH, HeaderValue::from_static("0"));
        let response = site.ask(&open).await?;
        let opened = response.status();
        if !matches!(opened, StatusCode::ACCEPTED | StatusCode::CREATED) {
            return Err(site.refused(&open, response).await);
        }
        let location = site.location(&response)?;
        check_redirect(&site.endpoint, &location)?;
        let end = Ask::new(Method::DELETE, Target::Whole(location), &site.scopes);
        // many registries cannot be told; they forget what is not gone on with
        let ended = match tokio::time::timeout(FORGET, site.ask_once(&end)).await {
            Ok(Ok(response)) => format!("{opened}, and to giving the upload up: {}", response.status()),
            Ok(Err(_)) | Err(_) => {
                format!("{opened}; the upload could not be given up and will be forgotten")
            }
        };
        Ok(MayPush {
            host: site.host(),
            answered: ended,
        })
    }
}
