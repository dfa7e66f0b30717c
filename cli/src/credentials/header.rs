//! The headers credentials travel in: base64url, with padding, of JSON.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use mica_api::AuthConfig;
use serde::Serialize;

use crate::secret::Secret;
use crate::ui;

/// The longest header of credentials. Servers of HTTP take some hundred thousand bytes of headers, and a cloud's
/// token has a few thousand.
const MAX_HEADER_BYTES: usize = 256 * 1024;

/// `X-Registry-Auth`; nobody's is the encoding of `{}`.
pub(crate) fn auth_header(auth: &AuthConfig) -> (&'static str, Secret) {
    ("X-Registry-Auth", encoded(auth))
}

/// `X-Registry-Config`: a server to a key. What makes it too long is left out with a warning.
pub(crate) fn config_header(mut all: BTreeMap<String, AuthConfig>) -> (&'static str, Secret) {
    loop {
        let header = encoded(&all);
        if header.reveal().len() <= MAX_HEADER_BYTES {
            return ("X-Registry-Config", header);
        }
        if let Some((key, _)) = all.pop_last() {
            ui::warn(format!(
                "the credentials of {key} are left out: all together are too long"
            ));
        }
    }
}

fn encoded(value: &impl Serialize) -> Secret {
    let json = serde_json::to_vec(value).expect("texts and objects of them are JSON");
    URL_SAFE.encode(json).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth(password: String) -> AuthConfig {
        AuthConfig {
            username: "u".into(),
            password,
            ..AuthConfig::default()
        }
    }

    #[test]
    fn headers_are_padded_base64url() {
        assert_eq!(auth_header(&AuthConfig::default()).1.reveal(), "e30=");
        assert_eq!(config_header(BTreeMap::new()).1.reveal(), "e30=");
        let (name, text) = auth_header(&auth("\u{3fe}?>~".into()));
        assert_eq!(name, "X-Registry-Auth");
        assert_eq!(
            URL_SAFE.decode(text.reveal()).unwrap(),
            "{\"username\":\"u\",\"password\":\"\u{3fe}?>~\"}".as_bytes()
        );
        assert!(!text.reveal().contains(['+', '/']));
    }

    #[test]
    fn what_is_too_long_is_left_out() {
        let all = ["a", "b", "c"].map(|key| (key.to_owned(), auth("x".repeat(100_000))));
        let (name, text) = config_header(all.into_iter().collect());
        assert_eq!(name, "X-Registry-Config");
        let json = URL_SAFE.decode(text.reveal()).unwrap();
        let kept: BTreeMap<String, AuthConfig> = serde_json::from_slice(&json).unwrap();
        assert_eq!(kept.keys().collect::<Vec<_>>(), ["a"]);
    }
}
