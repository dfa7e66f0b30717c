//! Platforms as queries carry them: an object of OCI's in JSON.

use mica_oci::Platform;
use serde::Deserialize;

use crate::wire::query::Query;
use crate::wire::reply::Failure;
use crate::wire::version::ApiVersion;

#[derive(Deserialize)]
struct Wanted {
    os: String,
    architecture: String,
    #[serde(default)]
    variant: String,
}

fn of(query: &Query) -> Result<Option<Platform>, Failure> {
    query.filled("platform").map(read).transpose()
}

/// The `platform` of a query, where the version has such a parameter: from 1.`minor` on.
pub(crate) fn since(minor: u32, version: ApiVersion, query: &Query) -> Result<Option<Platform>, Failure> {
    match version >= ApiVersion::v1(minor) {
        true => of(query),
        false => Ok(None),
    }
}

/// All `platforms` of a query, which version 1.50 brought.
pub(crate) fn all(query: &Query, version: ApiVersion) -> Result<Vec<Platform>, Failure> {
    let texts = query.all("platforms").filter(|_| version >= ApiVersion::v1(50));
    texts.map(read).collect()
}

fn read(text: &str) -> Result<Platform, Failure> {
    let malformed =
        |reason: &dyn std::fmt::Display| Failure::invalid(format!("failed to parse platform: {reason}"));
    let wanted: Wanted = serde_json::from_str(text).map_err(|error| malformed(&error))?;
    let mut text = format!("{}/{}", wanted.os, wanted.architecture);
    if !wanted.variant.is_empty() {
        text.push('/');
        text.push_str(&wanted.variant);
    }
    text.parse().map_err(|error| malformed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_read_from_json() {
        let read = |text: &str| of(&Query::parse(&format!("platform={text}")).unwrap());
        assert_eq!(read("").unwrap(), None);
        let json = "%7B%22os%22:%22linux%22,%22architecture%22:%22arm%22,%22variant%22:%22v6%22%7D";
        assert_eq!(read(json).unwrap().unwrap().to_string(), "linux/arm/v6");
        for bad in [
            "linux/amd64",
            "%7B%7D",
            "%7B%22os%22:%22x%22,%22architecture%22:%22y%22%7D",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let query = Query::parse(&format!("platforms={json}&platforms={json}")).unwrap();
        let since = |query: &Query, minor: u32| all(query, ApiVersion::v1(minor));
        assert_eq!(since(&query, 50).unwrap().len(), 2);
        assert!(since(&query, 49).unwrap().is_empty());
        assert!(since(&Query::parse("platforms=").unwrap(), 50).is_err());
        assert!(since(&Query::default(), 50).unwrap().is_empty());
    }
}
