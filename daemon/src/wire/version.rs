//! The version of the API a request asks for.

use std::fmt;

use hyper::StatusCode;
use mica_api::{API_VERSION, MIN_API_VERSION};

use crate::wire::reply::Failure;

/// A version of the API, compared number by number: 1.9 is below 1.10.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ApiVersion {
    major: u32,
    minor: u32,
}

impl ApiVersion {
    /// `1.minor`
    pub(crate) const fn v1(minor: u32) -> Self {
        Self { major: 1, minor }
    }

    /// The highest version, which unprefixed paths mean.
    pub(crate) fn highest() -> Self {
        Self::read(API_VERSION).expect("the constant is a version")
    }

    /// Reads `digits.digits`; anything else is no version.
    fn read(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            // what does not fit is above every version there is
            digits.then(|| text.parse().unwrap_or(u32::MAX))
        };
        Some(Self {
            major: number(major)?,
            minor: number(minor)?,
        })
    }

    /// Takes `/v1.41` off a path, if it begins with such a thing.
    pub(crate) fn strip(path: &str) -> (Option<Self>, &str) {
        let prefixed = path.strip_prefix("/v").and_then(|rest| {
            let end = rest.find('/').unwrap_or(rest.len());
            Some((Self::read(&rest[..end])?, &rest[end..]))
        });
        match prefixed {
            Some((version, rest)) => (Some(version), rest),
            None => (None, path),
        }
    }

    /// Whether clients of this version know failures in JSON.
    pub(crate) fn has_json_failures(self) -> bool {
        self >= Self::v1(24)
    }

    /// Refuses what is not spoken here, in the words clients expect.
    pub(crate) fn check(self) -> Result<Self, Failure> {
        let lowest = Self::read(MIN_API_VERSION).expect("the constant is a version");
        let reason = if self > Self::highest() {
            format!("client version {self} is too new. Maximum supported API version is {API_VERSION}")
        } else if self < lowest {
            format!(
                "client version {self} is too old. Minimum supported API version is {MIN_API_VERSION}, \
                 please upgrade your client to a newer version"
            )
        } else {
            return Ok(self);
        };
        Err(Failure::new(StatusCode::BAD_REQUEST, reason))
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_come_off() {
        for (path, version, rest) in [
            ("/v1.41/_ping", Some(ApiVersion::v1(41)), "/_ping"),
            ("/_ping", None, "/_ping"),
            ("/version", None, "/version"),
            ("/v1/x", None, "/v1/x"),
            ("/v1.x/y", None, "/v1.x/y"),
            ("/v1.41", Some(ApiVersion::v1(41)), ""),
            ("/volumes", None, "/volumes"),
            ("/v1.99999999999999999999/x", Some(ApiVersion::v1(u32::MAX)), "/x"),
        ] {
            assert_eq!(ApiVersion::strip(path), (version, rest), "{path}");
        }
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(ApiVersion::v1(9) < ApiVersion::v1(10));
        assert!(ApiVersion::v1(9).check().is_err());
        assert!(ApiVersion::v1(22).check().is_ok());
        assert!(ApiVersion::v1(51).check().is_ok());
        let newer = ApiVersion::v1(52).check().unwrap_err();
        assert_eq!(
            newer.message(),
            "client version 1.52 is too new. Maximum supported API version is 1.51"
        );
        let older = ApiVersion::v1(21).check().unwrap_err();
        assert_eq!(
            older.message(),
            "client version 1.21 is too old. Minimum supported API version is 1.22, \
             please upgrade your client to a newer version"
        );
    }
}
