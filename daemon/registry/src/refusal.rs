//! A registry said no: what it said, in whatever shape it says such things.

use std::fmt;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode, Url};
use serde_json::Value;

use crate::challenge::Challenge;
use crate::retry;

/// The most of a refusal's body that is read, in bytes.
pub(crate) const BODY_LIMIT: usize = 64 << 10;
/// The most of a body that is shown when it has no shape that is known, in characters.
const EXCERPT: usize = 200;
/// The most of a registry's own message that is shown, in characters.
const MESSAGE: usize = 2000;

/// An answer that says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The method of the request that was refused.
    pub method: String,
    /// Its address, without the query, which may hold signatures.
    pub url: String,
    /// The registry's code, `DENIED` or the like (OCI distribution spec, "Error Codes"); empty if it gave none.
    pub code: String,
    /// The registry's message.
    pub message: String,
    /// What the registry says a token would have to allow.
    pub wanted: Option<String>,
    /// What the token that was sent was asked for; `None` if none was sent.
    pub given: Option<String>,
    /// What the user can do about it, a line each.
    pub hints: Vec<String>,
    /// How long the registry asks to wait.
    pub(crate) wait: Option<Duration>,
}

impl Refusal {
    /// Reads an answer that is no success.
    pub(crate) fn read(
        method: &Method,
        url: &Url,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Self {
        let challenges = Challenge::all(
            headers
                .get_all(reqwest::header::WWW_AUTHENTICATE)
                .iter()
                .filter_map(|value| value.to_str().ok()),
        );
        let challenged = |name: &str| challenges.iter().find_map(|challenge| challenge.get(name));
        let (mut code, mut message) = told(body);
        if code.is_empty() {
            code = challenged("error").unwrap_or_default().to_owned();
        }
        if message.is_empty() {
            message = challenged("error_description").unwrap_or_default().to_owned();
        }
        let message: String = printable(&message).chars().take(MESSAGE).collect();
        let short = |text: &str| printable(text).chars().take(EXCERPT).collect::<String>();
        let code = short(&code);
        Self {
            status: status.as_u16(),
            method: method.to_string(),
            url: without_query(url),
            wait: retry::asked(headers).or_else(|| retry::asked_in_text(&message)),
            wanted: challenged("scope").map(short),
            given: None,
            hints: allowance(status, headers),
            code,
            message,
        }
    }

    /// Whether the registry gave this code.
    pub fn has_code(&self, code: &str) -> bool {
        self.code.eq_ignore_ascii_case(code)
    }

    /// Whether it is about who asks: the request would do with other rights.
    pub fn is_about_rights(&self) -> bool {
        matches!(self.status, 401 | 403)
            || ["DENIED", "UNAUTHORIZED", "insufficient_scope"]
                .iter()
                .any(|code| self.has_code(code))
    }

    /// Whether the daily or hourly allowance of pulls is used up, which no wait of a minute mends (Docker Hub's text).
    pub fn is_quota(&self) -> bool {
        self.status == 429 && self.message.to_ascii_lowercase().contains("increase-rate-limit")
    }

    /// Code and message as docker writes them: `denied: requested access to the resource is denied`.
    pub fn said(&self) -> String {
        let code = self.code.to_ascii_lowercase().replace('_', " ");
        match (code.is_empty(), self.message.is_empty()) {
            (false, false) => format!("{code}: {}", self.message),
            (false, true) => code,
            (true, false) => self.message.clone(),
            (true, true) => StatusCode::from_u16(self.status)
                .ok()
                .and_then(|status| status.canonical_reason())
                .unwrap_or("no reason given")
                .to_ascii_lowercase(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({} {} answered {}",
            self.said(),
            self.method,
            self.url,
            self.status
        )?;
        match (&self.wanted, &self.given) {
            (Some(wanted), Some(given)) => {
                write!(f, "; wanted scope {wanted}, the token was asked for {given}")?
            }
            (Some(wanted), None) => write!(f, "; wanted scope {wanted}, no token was sent")?,
            (None, Some(given)) => write!(f, "; the token was asked for {given}")?,
            (None, None) => {}
        }
        f.write_str(")")?;
        for hint in &self.hints {
            write!(f, "\n  - {hint}")?;
        }
        Ok(())
    }
}

/// What Docker Hub says of an allowance that is used up (Docker's documentation, "Pull usage and limits").
fn allowance(status: StatusCode, headers: &HeaderMap) -> Vec<String> {
    if status != StatusCode::TOO_MANY_REQUESTS {
        return Vec::new();
    }
    [
        "ratelimit-limit",
        "ratelimit-remaining",
        "docker-ratelimit-source",
    ]
    .iter()
    .filter_map(|name| {
        let value = printable(headers.get(*name)?.to_str().ok()?);
        Some(format!(
            "{name}: {}",
            value.chars().take(EXCERPT).collect::<String>()
        ))
    })
    .collect()
}

/// An address as it may be shown: user, query and fragment can be secret.
pub(crate) fn without_query(url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    // both fail for addresses that cannot have a user at all
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.to_string()
}

/// Code and message of a body: the shapes of registries, of token endpoints (RFC 6749, 5.2), and none at all.
fn told(body: &[u8]) -> (String, String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return (String::new(), excerpt(body));
    };
    if let Some(error) = value["errors"].as_array().and_then(|errors| errors.first()) {
        let mut message = text(&error["message"]);
        // quay and others put the reason into the detail
        for detail in [
            &error["detail"],
            &error["detail"]["message"],
            &error["detail"]["error"],
        ] {
            if message.is_empty() {
                message = text(detail);
            }
        }
        return (text(&error["code"]), message);
    }
    if let Some(error) = value["error"].as_object() {
        let part = |name: &str| error.get(name).map(text).unwrap_or_default();
        return (part("code"), part("message"));
    }
    for (code, message) in [
        ("error", "error_description"),
        ("code", "message"),
        ("code", "details"),
        ("error", "message"),
        ("error", "detail"),
    ] {
        if value[message].is_string() {
            return (text(&value[code]), text(&value[message]));
        }
    }
    match value["error"].as_str() {
        Some(error) => (String::new(), error.to_owned()),
        None => (String::new(), excerpt(body)),
    }
}

/// The beginning of a body that is no JSON; nothing of a page for browsers.
fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(BODY_LIMIT)]);
    let text = text.trim();
    if text.starts_with('<') {
        return String::new();
    }
    printable(text).chars().take(EXCERPT).collect()
}

/// The text in one line, without what a terminal would obey.
fn printable(text: &str) -> String {
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use reqwest::header::{HeaderValue, WWW_AUTHENTICATE};

    fn refusal(status: u16, body: &str) -> Refusal {
        let url = Url::parse("https://me:secret@ghcr.io/v2/o/n/manifests/1?sig=secret").unwrap();
        let status = StatusCode::from_u16(status).unwrap();
        Refusal::read(&Method::GET, &url, status, &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn every_shape_is_read() {
        for (body, said) in [
            (
                r#"{"errors":[{"code":"DENIED","message":"permission_denied: write_package"}]}"#,
                "denied: permission_denied: write_package",
            ),
            (
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"x"}}]}"#,
                "manifest unknown: manifest unknown",
            ),
            (
                r#"{"errors":[{"code":"UNAUTHORIZED","message":"","detail":"no"}]}"#,
                "unauthorized: no",
            ),
            (
                r#"{"details":"incorrect username or password"}"#,
                "incorrect username or password",
            ),
            (
                r#"{"error":"invalid_grant","error_description":"expired"}"#,
                "invalid grant: expired",
            ),
            (r#"{"error":"oops"}"#, "oops"),
            (r#"{"message":"no such thing"}"#, "no such thing"),
            ("plain\ntext\u{1b}[31m", "plain text [31m"),
            ("<html>lots</html>", "forbidden"),
            ("", "forbidden"),
        ] {
            assert_eq!(refusal(403, body).said(), said, "{body}");
        }
    }

    #[test]
    fn what_is_shown_names_the_place_and_no_secret() {
        let mut refusal = refusal(403, r#"{"errors":[{"code":"DENIED","message":"denied"}]}"#);
        refusal.wanted = Some("repository:o/n:pull,push".into());
        refusal.given = Some("repository:o/n:pull".into());
        refusal.hints.push("try this".into());
        assert_eq!(
            refusal.to_string(),
            "denied: denied (GET https://ghcr.io/v2/o/n/manifests/1 answered 403; wanted scope repository:o/n:pull,push, \
             the token was asked for repository:o/n:pull)\n  - try this"
        );
        assert!(refusal.is_about_rights());
    }

    #[test]
    fn challenges_tell_what_a_body_does_not() {
        let url = Url::parse("https://r/v2/").unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(
            WWW_AUTHENTICATE,
            HeaderValue::from_static(
                r#"Bearer realm="x",scope="repository:a:pull",error="insufficient_scope""#,
            ),
        );
        let refusal = Refusal::read(&Method::HEAD, &url, StatusCode::UNAUTHORIZED, &headers, b"");
        assert!(refusal.has_code("insufficient_scope"));
        assert_eq!(refusal.wanted.as_deref(), Some("repository:a:pull"));
    }

    #[test]
    fn an_allowance_that_is_used_up_is_told() {
        let url = Url::parse("https://registry-1.docker.io/v2/library/x/manifests/1").unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("ratelimit-remaining", HeaderValue::from_static("0;w=21600"));
        headers.insert("docker-ratelimit-source", HeaderValue::from_static("203.0.113.7"));
        let body = br#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit. https://www.docker.com/increase-rate-limit"}]}"#;
        let refusal = Refusal::read(&Method::GET, &url, StatusCode::TOO_MANY_REQUESTS, &headers, body);
        assert!(refusal.is_quota());
        let text = refusal.to_string();
        assert!(
            text.contains("ratelimit-remaining: 0;w=21600") && text.contains("203.0.113.7"),
            "{text}"
        );
    }

    /// What a registry calls its codes and scopes reaches a terminal too.
    #[test]
    fn codes_and_scopes_are_one_short_line() {
        let code = format!("A\\u001b[2J\\n{}", "B".repeat(5000));
        let found = refusal(403, &format!(r#"{{"errors":[{{"code":"{code}"}}]}}"#));
        let text = found.to_string();
        assert!(text.len() < 500 && !text.contains(char::is_control), "{text:?}");
        let mut headers = HeaderMap::new();
        let challenge = format!("Bearer scope=\"a\tb{}\",error=\"c\td\"", "e".repeat(5000));
        headers.insert("www-authenticate", challenge.parse().unwrap());
        let url = Url::parse("https://registry.example/v2/").unwrap();
        let found = Refusal::read(&Method::GET, &url, StatusCode::UNAUTHORIZED, &headers, b"");
        let text = found.to_string();
        assert!(text.len() < 500 && !text.contains(char::is_control), "{text:?}");
    }

    proptest! {
        #[test]
        fn any_body_makes_one_printable_line(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let url = Url::parse("https://r/v2/").unwrap();
            let refusal = Refusal::read(&Method::GET, &url, StatusCode::BAD_GATEWAY, &HeaderMap::new(), &body);
            prop_assert!(!refusal.message.chars().any(char::is_control));
        }
    }
}
