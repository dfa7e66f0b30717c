//! One entry of `auths`: how a file spells credentials.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use mica_api::AuthConfig;

/// Base64 as people and programs write it: with or without padding, loose bits at the end.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// What an entry says, `auth` taken apart; nobody if it says nothing (docker leaves `{}` where a helper has the rest).
///
/// # Errors
/// An `auth` that is not base64 of `name:password`. The reason repeats nothing of it.
pub(super) fn read(key: &str, entry: &AuthConfig) -> Result<AuthConfig, &'static str> {
    let mut read = AuthConfig {
        auth: String::new(),
        serveraddress: key.to_owned(),
        ..entry.clone()
    };
    if !entry.auth.is_empty() {
        let (username, password) = take_apart(&entry.auth)?;
        read.username = username;
        read.password = password;
    }
    if read.username == TOKEN_USER && read.identitytoken.is_empty() {
        read.identitytoken = std::mem::take(&mut read.password);
        read.username.clear();
    }
    Ok(read)
}

/// The name that stands for "the password is a token" wherever names and passwords are kept.
pub(super) const TOKEN_USER: &str = "<token>";

/// The entry a file keeps: `auth` in the place of name and password, as docker writes it.
pub(super) fn written(auth: &AuthConfig) -> AuthConfig {
    let mut entry = AuthConfig {
        identitytoken: auth.identitytoken.clone(),
        registrytoken: auth.registrytoken.clone(),
        ..AuthConfig::default()
    };
    if !auth.username.is_empty() || !auth.password.is_empty() {
        let both = format!("{}:{}", auth.username, auth.password);
        entry.auth = general_purpose::STANDARD.encode(both);
    }
    entry
}

fn take_apart(auth: &str) -> Result<(String, String), &'static str> {
    let plain: String = auth
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| match c {
            '-' => '+',
            '_' => '/',
            c => c,
        })
        .collect();
    let bytes = LENIENT.decode(plain).map_err(|_| "its auth is not base64")?;
    let text = String::from_utf8(bytes).map_err(|_| "its auth is not text")?;
    let (username, password) = text.split_once(':').ok_or("its auth holds no colon")?;
    Ok((username.to_owned(), password.trim_matches('\0').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(json: &str) -> AuthConfig {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn every_spelling_is_read() {
        for (json, username, password, identity, registry) in [
            (r#"{"auth":"dTpw"}"#, "u", "p", "", ""),
            (r#"{"auth":"dTpwdw=="}"#, "u", "pw", "", ""),
            (r#"{"auth":"dTpwdw"}"#, "u", "pw", "", ""),
            (r#"{"auth":"dTpw\ndw==\n"}"#, "u", "pw", "", ""),
            // u:a?>~ in both alphabets
            (r#"{"auth":"dTphPz5+"}"#, "u", "a?>~", "", ""),
            (r#"{"auth":"dTphPz5-"}"#, "u", "a?>~", "", ""),
            (r#"{"auth":"dTpwOnE="}"#, "u", "p:q", "", ""),
            // u:p and two NULs
            (r#"{"auth":"dTpwAAA="}"#, "u", "p", "", ""),
            (r#"{"username":"u","password":"p","email":"e"}"#, "u", "p", "", ""),
            (
                r#"{"auth":"dTpw","username":"x","password":"y"}"#,
                "u",
                "p",
                "",
                "",
            ),
            (r#"{"auth":"dTo=","identitytoken":"i"}"#, "u", "", "i", ""),
            (r#"{"identitytoken":"i"}"#, "", "", "i", ""),
            (r#"{"registrytoken":"r"}"#, "", "", "", "r"),
            (r#"{"username":"<token>","password":"i"}"#, "", "", "i", ""),
            (r#"{}"#, "", "", "", ""),
            (r#"{"auth":null}"#, "", "", "", ""),
        ] {
            let read = read("host", &entry(json)).unwrap();
            assert_eq!(
                (
                    read.username.as_str(),
                    read.password.as_str(),
                    read.identitytoken.as_str(),
                    read.registrytoken.as_str()
                ),
                (username, password, identity, registry),
                "{json}"
            );
            assert_eq!((read.serveraddress.as_str(), read.auth.as_str()), ("host", ""));
        }
    }

    #[test]
    fn what_is_no_entry_is_told_without_its_text() {
        for (json, reason) in [
            (r#"{"auth":"%%%"}"#, "its auth is not base64"),
            (r#"{"auth":"dXA="}"#, "its auth holds no colon"),
            (r#"{"auth":"/w=="}"#, "its auth is not text"),
        ] {
            assert_eq!(read("k", &entry(json)).unwrap_err(), reason);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(name in "[^:\0]{1,12}", password in "[^\0]{1,40}", token in "[a-z]{0,4}") {
            prop_assume!(name != TOKEN_USER);
            let auth = AuthConfig {
                username: name,
                password,
                identitytoken: token,
                serveraddress: "k".to_owned(),
                ..AuthConfig::default()
            };
            let json = serde_json::to_string(&written(&auth)).unwrap();
            prop_assert!(!json.contains("\"password\""));
            prop_assert_eq!(read("k", &entry(&json)).unwrap(), auth);
        }

        #[test]
        fn nothing_panics(auth in ".{0,40}") {
            let entry = AuthConfig { auth, ..AuthConfig::default() };
            let _read = read("k", &entry);
        }
    }
}
