//! `--check` and `--call` of `mica build`: what is asked of a Dockerfile instead of building it.

use crate::error::Error;

/// What is asked of the Dockerfile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// What the checks find.
    Check,
    /// What a target can be given.
    Outline,
    /// Which targets there are.
    Targets,
}

/// `--check` or `--call`, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) method: Method,
    /// Whether the answer is to be JSON.
    pub(super) as_json: bool,
}

impl Call {
    /// What `--check` and the last `--call` ask for; `None` for a build.
    pub(super) fn parse(check: bool, call: Option<&str>) -> Result<Option<Self>, Error> {
        let mut method = check.then_some(Method::Check);
        let mut as_json = false;
        for part in call
            .unwrap_or_default()
            .split(',')
            .filter(|part| !part.is_empty())
        {
            match part {
                "build" => method = None,
                "check" | "lint" => method = Some(Method::Check),
                "outline" => method = Some(Method::Outline),
                "targets" => method = Some(Method::Targets),
                "format=json" => as_json = true,
                "format=text" => as_json = false,
                other => {
                    return Err(Error::Usage {
                        message: format!(
                            "invalid argument \"{other}\" for \"--call\" flag: expected build, check, outline or \
                             targets, and format=json"
                        ),
                    });
                }
            }
        }
        Ok(method.map(|method| Self { method, as_json }))
    }
}

#[cfg(test)]
mod tests {
    use super::{Call, Method};

    #[test]
    fn calls_are_read() {
        let call = |method, as_json| Some(Call { method, as_json });
        for (check, text, want) in [
            (false, None, None),
            (true, None, call(Method::Check, false)),
            (true, Some("format=json"), call(Method::Check, true)),
            (false, Some("check,format=json"), call(Method::Check, true)),
            (false, Some("outline"), call(Method::Outline, false)),
            (false, Some("targets,format=text"), call(Method::Targets, false)),
            (true, Some("build"), None),
        ] {
            assert_eq!(Call::parse(check, text).unwrap(), want, "{text:?}");
        }
        assert!(Call::parse(false, Some("bake")).is_err());
    }
}
