//! The `filters` of a request: which keys, which values.

use std::collections::BTreeMap;

use hyper::StatusCode;
use jiff::Timestamp;
use mica_engine::LabelMatch;
use serde_json::Value;

use crate::wire::query::Query;
use crate::wire::reply::Failure;
use crate::wire::time;

/// Filters by key. The values of one key are alternatives unless the key says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// Reads the query's `filters`, both as `{"key":{"value":true}}` and as `{"key":["value"]}`, and refuses keys that are
    /// not among `known`.
    pub(crate) fn of(query: &Query, known: &[&str]) -> Result<Self, Failure> {
        let filters = Self::of_any_key(query)?;
        match filters.0.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(invalid(format!("invalid filter '{key}'"))),
            None => Ok(filters),
        }
    }

    /// As [`of`](Self::of), whatever the keys.
    pub(crate) fn of_any_key(query: &Query) -> Result<Self, Failure> {
        query
            .filled("filters")
            .map_or_else(|| Ok(Self::default()), Self::parse)
    }

    fn parse(text: &str) -> Result<Self, Failure> {
        let malformed = || invalid("invalid filter".to_owned());
        let map: Option<BTreeMap<String, Value>> = serde_json::from_str(text).map_err(|_| malformed())?;
        let mut filters = BTreeMap::new();
        for (key, values) in map.unwrap_or_default() {
            let values = match values {
                Value::Object(values) => {
                    let chosen = values.into_iter().map(|(value, on)| match on {
                        Value::Bool(on) => Ok((value, on)),
                        _ => Err(malformed()),
                    });
                    let chosen = chosen.collect::<Result<Vec<_>, _>>()?;
                    chosen
                        .into_iter()
                        .filter(|(_, on)| *on)
                        .map(|(value, _)| value)
                        .collect()
                }
                Value::Array(values) => {
                    let texts = values.into_iter().map(|value| match value {
                        Value::String(value) => Ok(value),
                        _ => Err(malformed()),
                    });
                    texts.collect::<Result<Vec<_>, _>>()?
                }
                Value::Null => Vec::new(),
                _ => return Err(malformed()),
            };
            filters.insert(key, values);
        }
        Ok(Self(filters))
    }

    /// Adds a value, as old queries do that have a parameter of their own for it.
    pub(crate) fn add(&mut self, key: &str, value: &str) {
        self.0.entry(key.to_owned()).or_default().push(value.to_owned());
    }

    /// The values of `key`.
    pub(crate) fn values(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// Yes or no; `None` if `key` is not there. Both at once make no sense.
    pub(crate) fn truth(&self, key: &str) -> Result<Option<bool>, Failure> {
        let values = self.values(key);
        let is = |words: &[&str]| values.iter().any(|value| words.contains(&value.as_str()));
        match (is(&["1", "true"]), is(&["0", "false"])) {
            (true, false) => Ok(Some(true)),
            (false, true) => Ok(Some(false)),
            _ if values.is_empty() => Ok(None),
            _ => Err(invalid(format!("invalid filter '{key}=[{}]'", values.join(" ")))),
        }
    }

    /// A point in time; `None` if `key` is not there. More than one makes no sense.
    pub(crate) fn time(&self, key: &str, now: Timestamp) -> Result<Option<Timestamp>, Failure> {
        match self.values(key) {
            [] => Ok(None),
            [text] => match time::read(text, now) {
                Some(time) => Ok(Some(time)),
                None => Err(invalid(format!("invalid filter '{key}=[{text}]'"))),
            },
            _ => Err(invalid(format!("more than one {key} filter specified"))),
        }
    }

    /// The labels of `key`, written `name` or `name=value`.
    pub(crate) fn labels(&self, key: &str) -> Vec<LabelMatch> {
        let label = |text: &String| match text.split_once('=') {
            Some((key, value)) => LabelMatch {
                key: key.to_owned(),
                value: Some(value.to_owned()),
            },
            None => LabelMatch {
                key: text.clone(),
                value: None,
            },
        };
        self.values(key).iter().map(label).collect()
    }
}

fn invalid(message: String) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(text: &str) -> Result<Filters, Failure> {
        let mut query = String::from("filters=");
        for byte in text.bytes() {
            query.push_str(&format!("%{byte:02x}"));
        }
        Filters::of(&Query::parse(&query).unwrap(), &["dangling", "label", "until"])
    }

    #[test]
    fn both_forms_are_read() {
        for text in [
            r#"{"label":{"a":true,"b=c":true,"off":false}}"#,
            r#"{"label":["a","b=c"]}"#,
        ] {
            let filters = filters(text).unwrap();
            assert_eq!(filters.values("label"), ["a", "b=c"]);
            let labels = filters.labels("label");
            assert_eq!(labels[0].value, None);
            assert_eq!(labels[1].value.as_deref(), Some("c"));
        }
        for text in ["", "{}", "null", r#"{"label":null}"#] {
            assert!(filters(text).unwrap().values("label").is_empty(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_docker_s_words() {
        for (text, message) in [
            ("nonsense", "invalid filter"),
            ("[]", "invalid filter"),
            (r#"{"label":"a"}"#, "invalid filter"),
            (r#"{"label":{"a":1}}"#, "invalid filter"),
            (r#"{"label":[1]}"#, "invalid filter"),
            (r#"{"no":["x"]}"#, "invalid filter 'no'"),
        ] {
            assert_eq!(filters(text).unwrap_err().message(), message, "{text}");
        }
        let dangling = |text: &str| filters(text).unwrap().truth("dangling");
        assert_eq!(
            dangling(r#"{"dangling":["x"]}"#).unwrap_err().message(),
            "invalid filter 'dangling=[x]'"
        );
        assert!(dangling(r#"{"dangling":["true","false"]}"#).is_err());
        assert_eq!(dangling(r#"{"dangling":["true"]}"#).unwrap(), Some(true));
        assert_eq!(dangling(r#"{"dangling":{"0":true}}"#).unwrap(), Some(false));
        assert_eq!(dangling("{}").unwrap(), None);
    }

    #[test]
    fn one_time_is_enough() {
        let now = Timestamp::now();
        assert!(
            filters(r#"{"until":["1h"]}"#)
                .unwrap()
                .time("until", now)
                .unwrap()
                .unwrap()
                < now
        );
        assert!(
            filters(r#"{"until":["1h","2h"]}"#)
                .unwrap()
                .time("until", now)
                .is_err()
        );
        assert!(
            filters(r#"{"until":["soon"]}"#)
                .unwrap()
                .time("until", now)
                .is_err()
        );
    }
}
