//! Credentials for registries, as requests and answers carry them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::null;

/// What stands for a secret where people could read it.
const REDACTED: &str = "[redacted]";

/// Who somebody is to a registry: the content of `X-Registry-Auth` (base64url with padding), the values of
/// `X-Registry-Config` (the same of an object, a registry to a key) and the body of `POST /auth`.
///
/// Empty fields are not written, so that of nobody is `{}`. What is shown for debugging holds no secrets.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuthConfig {
    /// The user's name.
    #[serde(
        deserialize_with = "null::as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub username: String,
    /// The password, or a token in its place.
    #[serde(
        deserialize_with = "null::as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub password: String,
    /// Base64 of `username:password`, for whoever sends it instead of the two.
    #[serde(
        deserialize_with = "null::as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub auth: String,
    /// The registry; Docker Hub is `https://index.docker.io/v1/`.
    #[serde(
        deserialize_with = "null::as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub serveraddress: String,
    /// A refresh token, to be exchanged for access tokens (OAuth 2, RFC 6749 section 6).
    #[serde(
        deserialize_with = "null::as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub identitytoken: String,
    /// A bearer token that is sent to the registry as it is.
    #[serde(
        deserialize_with = "null::as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub registrytoken: String,
}

impl AuthConfig {
    /// Whether nothing in it says who somebody is.
    pub fn is_anonymous(&self) -> bool {
        [
            &self.username,
            &self.password,
            &self.auth,
            &self.identitytoken,
            &self.registrytoken,
        ]
        .iter()
        .all(|field| field.is_empty())
    }
}

impl fmt::Debug for AuthConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthConfig")
            .field("username", &self.username)
            .field("password", &redacted(&self.password))
            .field("auth", &redacted(&self.auth))
            .field("serveraddress", &self.serveraddress)
            .field("identitytoken", &redacted(&self.identitytoken))
            .field("registrytoken", &redacted(&self.registrytoken))
            .finish()
    }
}

/// What `POST /auth` answers to credentials that are good.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AuthReply {
    /// `Login Succeeded`
    #[serde(deserialize_with = "null::as_default")]
    pub status: String,
    /// A refresh token to keep in the password's place; empty if the registry gives none.
    #[serde(deserialize_with = "null::as_default")]
    pub identity_token: String,
}

impl fmt::Debug for AuthReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthReply")
            .field("status", &self.status)
            .field("identity_token", &redacted(&self.identity_token))
            .finish()
    }
}

fn redacted(secret: &str) -> &'static str {
    if secret.is_empty() { "" } else { REDACTED }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_set_is_written() {
        assert_eq!(serde_json::to_string(&AuthConfig::default()).unwrap(), "{}");
        let text = r#"{"username":"u","password":"p","serveraddress":"ghcr.io"}"#;
        let auth: AuthConfig = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&auth).unwrap(), text);
        let foreign = r#"{"email":"x","username":null,"registrytoken":"t"}"#;
        let auth: AuthConfig = serde_json::from_str(foreign).unwrap();
        assert_eq!((auth.username.as_str(), auth.registrytoken.as_str()), ("", "t"));
        assert!(!auth.is_anonymous());
        assert!(
            serde_json::from_str::<AuthConfig>(r#"{"serveraddress":"x"}"#)
                .unwrap()
                .is_anonymous()
        );
    }

    #[test]
    fn secrets_are_not_shown() {
        let auth = AuthConfig {
            username: "name".into(),
            password: "s3cret".into(),
            auth: "s3cret".into(),
            serveraddress: "server".into(),
            identitytoken: "s3cret".into(),
            registrytoken: "s3cret".into(),
        };
        let reply = AuthReply {
            status: "Login Succeeded".into(),
            identity_token: "s3cret".into(),
        };
        let shown = format!("{auth:?} {reply:?}");
        assert!(shown.contains("name") && shown.contains("server"));
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
