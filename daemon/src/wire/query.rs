//! The query of a request: names and values, and docker's way to write yes and no.

use hyper::StatusCode;
use serde::de::DeserializeOwned;

use crate::wire::reply::Failure;

/// The names and values of a query, in order, decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what stands behind the `?`.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let mut pairs = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((
                decode(&name.replace('+', " "))?,
                decode(&value.replace('+', " "))?,
            ));
        }
        Ok(Self(pairs))
    }

    /// The first value of `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The first value of `name` unless it is empty.
    pub(crate) fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// All values of `name`.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let wanted = name.to_owned();
        self.0
            .iter()
            .filter(move |(name, _)| *name == wanted)
            .map(|(_, value)| value.as_str())
    }

    /// Yes or no; `default` if `name` is not there.
    pub(crate) fn flag(&self, name: &str, default: bool) -> bool {
        self.get(name).map_or(default, truth)
    }

    /// A whole number; `None` if it is not there or empty.
    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>, Failure> {
        let Some(text) = self.filled(name) else {
            return Ok(None);
        };
        text.trim()
            .parse()
            .map(Some)
            .map_err(|_| invalid(format!("invalid value for {name}: {text:?} is not a number")))
    }

    /// A value written in JSON; the default if it is not there, empty or `null`.
    pub(crate) fn json<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T, Failure> {
        let Some(text) = self.filled(name) else {
            return Ok(T::default());
        };
        serde_json::from_str::<Option<T>>(text)
            .map(Option::unwrap_or_default)
            .map_err(|error| invalid(format!("invalid value for {name}: {error}")))
    }
}

/// Everything is yes but these five.
pub(crate) fn truth(text: &str) -> bool {
    !matches!(
        text.trim().to_ascii_lowercase().as_str(),
        "" | "0" | "no" | "false" | "none"
    )
}

/// Takes percent-encoding off (RFC 3986, 2.1).
pub(crate) fn decode(text: &str) -> Result<String, Failure> {
    let malformed = || invalid(format!("invalid URL escape in {text:?}"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || {
            let digit = rest.next().and_then(|b| char::from(b).to_digit(16));
            digit.and_then(|digit| u8::try_from(digit).ok())
        };
        let (high, low) = digit().zip(digit()).ok_or_else(malformed)?;
        bytes.push(high << 4 | low);
    }
    String::from_utf8(bytes).map_err(|_| malformed())
}

fn invalid(message: String) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_and_values_are_decoded() {
        let query = Query::parse("t=a%2Fb%3A1&t=c&q=1&empty=&bare&x=a+b&&%74=d").unwrap();
        assert_eq!(query.all("t").collect::<Vec<_>>(), ["a/b:1", "c", "d"]);
        assert_eq!(query.get("empty"), Some(""));
        assert_eq!(query.filled("empty"), None);
        assert_eq!(query.get("bare"), Some(""));
        assert_eq!(query.get("x"), Some("a b"));
        assert_eq!(query.get("nope"), None);
        for bad in ["a=%", "a=%1", "a=%zz", "a=%ff", "%=1"] {
            assert!(Query::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn yes_and_no_are_docker_s() {
        for no in ["", "0", "no", "false", "none", "False", " NONE "] {
            assert!(!truth(no), "{no:?}");
        }
        for yes in ["1", "true", "True", "yes", "2", "x"] {
            assert!(truth(yes), "{yes:?}");
        }
        let query = Query::parse("rm=0&force=True").unwrap();
        assert!(!query.flag("rm", true) && query.flag("force", false) && query.flag("absent", true));
    }

    #[test]
    fn numbers_and_json_are_checked() {
        let query = Query::parse("n=12&bad=x&j=%5B%22a%22%5D&null=null&worse=%7B").unwrap();
        assert_eq!(query.number("n").unwrap(), Some(12));
        assert_eq!(query.number("absent").unwrap(), None);
        assert!(query.number("bad").is_err());
        assert_eq!(query.json::<Vec<String>>("j").unwrap(), ["a"]);
        assert!(query.json::<Vec<String>>("null").unwrap().is_empty());
        assert!(query.json::<Vec<String>>("worse").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
            let _ = Query::parse(&text);
            let _ = decode(&text);
        }
    }
}
