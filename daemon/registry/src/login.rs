//! Whether a registry takes a user's credential.

use reqwest::Method;

use crate::ask::{Ask, Target};
use crate::credential::Credential;
use crate::error::Error;
use crate::remote::Remote;

/// What came of showing a credential.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// A refresh token to be kept in place of the password, if the registry gave one.
    pub identity_token: Option<String>,
}

impl Remote {
    /// Shows the credential to the registry. A registry that lets everybody in takes any.
    pub async fn login(&self) -> Result<Login, Error> {
        let site = self.origin()?;
        let ask = Ask::new(Method::GET, Target::Root, &[]);
        // an open registry answers; any other says what it wants, and gets it
        let response = site.ask(&ask).await?;
        if !response.status().is_success() {
            return Err(site.refused(&ask, response).await);
        }
        let mut identity_token = None;
        if let Some(realm) = site.realm()
            && matches!(site.credential, Credential::Basic { .. })
        {
            // asked for again, this time to be kept
            let header = site.token(&realm, &[], None, true).await?;
            identity_token = header.0.refresh;
        }
        Ok(Login { identity_token })
    }
}
