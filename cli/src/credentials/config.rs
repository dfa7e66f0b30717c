//! Files of credentials: docker's `config.json`, podman's `auth.json` and `DOCKER_AUTH_CONFIG`, which spell alike.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use mica_api::AuthConfig;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;

use crate::credentials::entry;
use crate::credentials::helper::Helper;
use crate::credentials::server::{Target, is_address};
use crate::error::Error;

/// The longest file of credentials; real ones have a few thousand bytes.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Which keys of a file are about a whole server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Matching {
    /// Docker's: any key on that host, scheme and path left out.
    Docker,
    /// Podman's: addresses on that host; a path below a host is about what is below it.
    Podman,
}

/// What a file says.
#[derive(Debug)]
pub(super) struct Config {
    /// What it is called in messages.
    origin: String,
    matching: Matching,
    fields: Fields,
}

/// The keys that are about credentials; all others are somebody else's.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fields {
    #[serde(deserialize_with = "null_as_default")]
    auths: BTreeMap<String, Option<AuthConfig>>,
    #[serde(rename = "credsStore", deserialize_with = "null_as_default")]
    store: String,
    #[serde(rename = "credHelpers", deserialize_with = "null_as_default")]
    helpers: BTreeMap<String, Option<String>>,
}

/// The fields of an object: read as they are, serde takes a list for them too.
struct Whole(Fields);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Whole;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Whole, A::Error> {
                Fields::deserialize(MapAccessDeserializer::new(map)).map(Whole)
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

impl Config {
    /// Reads a text; an empty one says nothing.
    ///
    /// # Errors
    /// What is not JSON, or not of docker's shape: with line and column, without its text.
    pub(super) fn parse(origin: String, matching: Matching, text: &str) -> Result<Self, Error> {
        let fields = match text.trim().is_empty() {
            true => Fields::default(),
            false => {
                serde_json::from_str::<Whole>(text)
                    .map_err(|error| unreadable(&origin, &error))?
                    .0
            }
        };
        Ok(Self {
            origin,
            matching,
            fields,
        })
    }

    /// Reads a file; one that is not there says nothing.
    ///
    /// # Errors
    /// As [`Config::parse`], and when the file is there and cannot be read.
    pub(super) fn read(path: &Path, matching: Matching) -> Result<Self, Error> {
        let text = text_of(path)?.unwrap_or_default();
        Self::parse(path.display().to_string(), matching, &text)
    }

    /// What messages call it.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// The credentials in the file itself.
    ///
    /// # Errors
    /// An entry that is meant and makes no sense.
    pub(super) fn find(&self, target: &Target) -> Result<Option<AuthConfig>, Error> {
        for key in target.exact_keys() {
            if let Some(found) = self.entry(&key)? {
                return Ok(Some(found));
            }
        }
        let is_meant =
            |key: &&String| target.is_on(key) && (self.matching == Matching::Docker || is_address(key));
        for key in self.fields.auths.keys().filter(is_meant) {
            if let Some(found) = self.entry(key)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// All keys with an entry.
    pub(super) fn keys(&self) -> impl Iterator<Item = &String> {
        self.fields.auths.keys()
    }

    /// One entry; `None` if it is not there or says nothing.
    ///
    /// # Errors
    /// An entry that makes no sense.
    pub(super) fn entry(&self, key: &str) -> Result<Option<AuthConfig>, Error> {
        let Some(Some(found)) = self.fields.auths.get(key) else {
            return Ok(None);
        };
        let read = entry::read(key, found).map_err(|reason| Error::Entry {
            origin: self.origin.clone(),
            key: key.to_owned(),
            reason,
        })?;
        Ok(Some(read).filter(|auth| !auth.is_anonymous()))
    }

    /// The helper that keeps a server's credentials: its own, else the one for all. An empty name is nobody's.
    pub(super) fn helper(&self, target: &Target) -> Option<Helper> {
        let own = target.helper_keys().find_map(|key| self.fields.helpers.get(key));
        let name = own.map_or(self.fields.store.as_str(), |name| {
            name.as_deref().unwrap_or_default()
        });
        (!name.is_empty()).then(|| Helper::named(name))
    }

    /// The helper for all servers.
    pub(super) fn store(&self) -> Option<Helper> {
        (!self.fields.store.is_empty()).then(|| Helper::named(&self.fields.store))
    }

    /// The servers with a helper of their own.
    pub(super) fn helpers(&self) -> impl Iterator<Item = (&str, Helper)> {
        let named = self.fields.helpers.iter();
        named.filter_map(|(key, name)| {
            let name = name.as_deref().filter(|name| !name.is_empty())?;
            Some((key.as_str(), Helper::named(name)))
        })
    }
}

/// A file's text; `None` if it is not there.
pub(super) fn text_of(path: &Path) -> Result<Option<String>, Error> {
    let failed = |source| Error::File {
        action: "cannot read",
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    let mut text = String::new();
    let count = file
        .take(MAX_FILE_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if count as u64 > MAX_FILE_BYTES {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(Some(text))
}

/// The error of a text that cannot be understood. Only words of the reader's own are repeated: its complaints about
/// values quote them, and they may be secrets.
pub(super) fn unreadable(origin: &str, error: &serde_json::Error) -> Error {
    let reason = match error.classify() {
        Category::Data | Category::Io => "a value of a kind that does not belong there".to_owned(),
        Category::Syntax | Category::Eof => {
            let text = error.to_string();
            text.split(" at line ").next().unwrap_or_default().to_owned()
        }
    };
    Error::Config {
        origin: origin.to_owned(),
        line: error.line(),
        column: error.column(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(matching: Matching, text: &str) -> Config {
        Config::parse("config.json".to_owned(), matching, text).unwrap()
    }

    fn user(config: &Config, target: &Target) -> String {
        config
            .find(target)
            .unwrap()
            .map_or("-".to_owned(), |auth| auth.username)
    }

    #[test]
    fn entries_are_found_from_the_most_specific_to_the_loosest() {
        let image = |name: &str| Target::repository(&name.parse().unwrap());
        for (auths, name, docker, podman) in [
            (&["ghcr.io/o/n", "ghcr.io/o", "ghcr.io"][..], "ghcr.io/o/n", 0, 0),
            (&["ghcr.io/o/n", "ghcr.io/o", "ghcr.io"], "ghcr.io/o/m", 1, 1),
            (&["ghcr.io/o/n", "ghcr.io/o", "ghcr.io"], "ghcr.io/p/n", 2, 2),
            (&["ghcr.io/o"], "ghcr.io/oo/n", 0, -1),
            (&["https://ghcr.io/v2/"], "ghcr.io/o/n", 0, 0),
            (&["http://ghcr.io", "ghcr.io"], "ghcr.io/o/n", 1, 1),
            (&["ghcr.io:443"], "ghcr.io/o/n", -1, -1),
            (&["https://index.docker.io/v1/", "docker.io"], "busybox", 0, 0),
            (&["docker.io"], "busybox", 0, 0),
            (&["index.docker.io"], "me/app", 0, 0),
            (&["docker.io/library", "docker.io"], "busybox", 0, 0),
            (&["docker.io/library", "docker.io"], "me/app", 1, 1),
            (&["https://registry-1.docker.io"], "me/app", 0, 0),
            (&["localhost:5000"], "localhost:5000/x", 0, 0),
            (&["localhost"], "localhost:5000/x", -1, -1),
            (&[], "x", -1, -1),
        ] {
            let entries: Vec<String> = auths
                .iter()
                .enumerate()
                .map(|(i, key)| format!(r#""{key}":{{"username":"{i}","password":"p"}}"#))
                .collect();
            let text = format!(r#"{{"auths":{{{}}}}}"#, entries.join(","));
            for (matching, expected) in [(Matching::Docker, docker), (Matching::Podman, podman)] {
                let expected = if expected < 0 {
                    "-".to_owned()
                } else {
                    expected.to_string()
                };
                let found = user(&config(matching, &text), &image(name));
                assert_eq!(found, expected, "{matching:?} {auths:?} {name}");
            }
        }
    }

    #[test]
    fn empty_entries_say_nothing() {
        let text = r#"{"auths":{"h":{},"https://h":{"auth":"dTpw"},"i":null}}"#;
        let found = config(Matching::Docker, text);
        assert_eq!(user(&found, &Target::server("h")), "u");
        assert_eq!(user(&found, &Target::server("i")), "-");
        for text in [
            "",
            "  \n",
            "{}",
            r#"{"auths":null,"credsStore":null,"credHelpers":null,"x":[1]}"#,
        ] {
            let found = config(Matching::Docker, text);
            assert_eq!(user(&found, &Target::server("h")), "-");
            assert!(found.store().is_none() && found.helper(&Target::server("h")).is_none());
        }
    }

    #[test]
    fn a_server_of_its_own_helper_goes_there() {
        let text = r#"{"credsStore":"all","credHelpers":{"a":"one","b":"","docker.io":"hub"}}"#;
        let found = config(Matching::Docker, text);
        let program = |server: &str| {
            let helper = found.helper(&Target::server(server));
            helper.map(|helper| helper.program().to_owned())
        };
        assert_eq!(program("a").as_deref(), Some("docker-credential-one"));
        assert_eq!(program("b"), None);
        assert_eq!(program("c").as_deref(), Some("docker-credential-all"));
        assert_eq!(
            program("https://index.docker.io/v1/").as_deref(),
            Some("docker-credential-hub")
        );
        assert_eq!(found.helpers().count(), 2);
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_place_and_without_its_text() {
        for (text, expected) in [
            (
                "{\n  \"auths\": {},\n}",
                "config.json: line 3, column 1: trailing comma",
            ),
            (
                "{\"auths\"",
                "config.json: line 1, column 8: EOF while parsing an object",
            ),
            (
                "{\"auths\":\n {\"h\": \"s3cret\"}}",
                "config.json: line 2, column 15: a value of a kind that does not belong there",
            ),
            (
                "{\"auths\": {\"h\": {\"auth\": 5}}}",
                "config.json: line 1, column 26: a value of a kind that does not belong there",
            ),
            (
                "[]",
                "config.json: line 1, column 0: a value of a kind that does not belong there",
            ),
            ("s3cret", "config.json: line 1, column 1: expected value"),
        ] {
            let error = Config::parse("config.json".to_owned(), Matching::Docker, text).unwrap_err();
            assert_eq!(error.chain(), expected);
        }
        let found = config(Matching::Docker, r#"{"auths":{"h":{"auth":"s3cret!"}}}"#);
        assert_eq!(
            found.find(&Target::server("h")).unwrap_err().chain(),
            "config.json: the credentials of h cannot be used: its auth is not base64"
        );
        // What is not asked for may be as broken as it likes.
        assert!(found.find(&Target::server("i")).unwrap().is_none());
    }
}
