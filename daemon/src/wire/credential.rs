//! Credentials as clients send them: `X-Registry-Auth` and `X-Registry-Config` (engine API contract, section 4).

use std::collections::HashMap;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hyper::HeaderMap;
use mica_api::AuthConfig;
use mica_engine::{Credential, Credentials, registry_of_server};
use serde::Deserialize;

/// The header with the credential for one registry.
const AUTH: &str = "x-registry-auth";
/// The header with the credentials for several.
const CONFIG: &str = "x-registry-config";

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The credential in a header or body, in the order in which docker looks for it.
pub(crate) fn credential(config: AuthConfig) -> Credential {
    if !config.registrytoken.is_empty() {
        return Credential::Bearer(config.registrytoken);
    }
    let (user, password) = match config.username.is_empty() && !config.auth.is_empty() {
        true => pair(&config.auth).unwrap_or_default(),
        false => (config.username, config.password),
    };
    if !config.identitytoken.is_empty() {
        return Credential::Identity {
            user,
            token: config.identitytoken,
        };
    }
    match user.is_empty() && password.is_empty() {
        true => Credential::Anonymous,
        false => Credential::Basic { user, password },
    }
}

fn pair(auth: &str) -> Option<(String, String)> {
    let text = String::from_utf8(decode(auth)?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.trim_end_matches('\0').to_owned()))
}

/// Base64 in either alphabet, with or without padding: clients differ.
fn decode(text: &str) -> Option<Vec<u8>> {
    let text: String = text
        .trim()
        .chars()
        .map(|c| match c {
            '-' => '+',
            '_' => '/',
            c => c,
        })
        .collect();
    BASE64.decode(text.trim_end_matches('=')).ok()
}

fn read<T: for<'de> Deserialize<'de>>(headers: &HeaderMap, name: &str) -> Option<T> {
    let bytes = decode(headers.get(name)?.to_str().ok()?)?;
    serde_json::from_slice(&bytes).ok()
}

/// The credential of a request. What cannot be read counts as none, as docker has it.
pub(crate) fn of(headers: &HeaderMap) -> Credential {
    credential(
        read::<Option<AuthConfig>>(headers, AUTH)
            .flatten()
            .unwrap_or_default(),
    )
}

/// The credentials of a build's request, by registry.
pub(crate) fn all(headers: &HeaderMap) -> Credentials {
    let configs: HashMap<String, AuthConfig> = read(headers, CONFIG).unwrap_or_default();
    let mut credentials = Credentials::default();
    for (server, config) in configs {
        credentials.add(registry_of_server(&server), credential(config));
    }
    credentials
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::{STANDARD as PLAIN, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
    use hyper::header::HeaderValue;

    fn header(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        headers
    }

    fn basic(user: &str, password: &str) -> Credential {
        Credential::Basic {
            user: user.into(),
            password: password.into(),
        }
    }

    #[test]
    fn every_alphabet_is_read() {
        // both alphabets differ in this text
        let json = r#"{"username":"me","password":"??>>~~ÿ","serveraddress":"ghcr.io"}"#;
        for text in [
            PLAIN.encode(json),
            STANDARD_NO_PAD.encode(json),
            URL_SAFE.encode(json),
            URL_SAFE_NO_PAD.encode(json),
        ] {
            assert!(of(&header(AUTH, &text)) == basic("me", "??>>~~ÿ"), "{text}");
        }
    }

    #[test]
    fn what_says_nothing_is_nobody() {
        for text in ["", "e30=", "!!!", "bnVsbA==", "W10="] {
            assert!(of(&header(AUTH, text)).is_anonymous(), "{text}");
        }
        assert!(of(&HeaderMap::new()).is_anonymous());
    }

    #[test]
    fn tokens_go_before_passwords() {
        let of_json = |json: &str| of(&header(AUTH, &URL_SAFE.encode(json)));
        assert!(of_json(r#"{"registrytoken":"t","username":"u"}"#) == Credential::Bearer("t".into()));
        let identity = Credential::Identity {
            user: "u".into(),
            token: "i".into(),
        };
        assert!(of_json(r#"{"identitytoken":"i","username":"u","password":"p"}"#) == identity);
        let auth = PLAIN.encode("u:p:q");
        assert!(of_json(&format!(r#"{{"auth":"{auth}"}}"#)) == basic("u", "p:q"));
    }

    #[test]
    fn registries_are_known_by_all_their_names() {
        let json = r#"{"https://index.docker.io/v1/":{"username":"a","password":"1"},"https://ghcr.io/v2":{"username":"b","password":"2"},
            "localhost:5000":{"auth":"Yzoz"}}"#;
        let all = all(&header(CONFIG, &PLAIN.encode(json)));
        assert!(all.of("docker.io") == basic("a", "1"));
        assert!(all.of("ghcr.io") == basic("b", "2"));
        assert!(all.of("localhost:5000") == basic("c", "3"));
        assert!(all.of("elsewhere").is_anonymous());
    }
}
