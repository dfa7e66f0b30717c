//! `--check` and `--call` of `mica build`: what is asked of a Dockerfile instead of building it.

use mica_dockerfile::answer::Question;

use crate::error::Error;

/// `--check` or `--call`, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) question: Question,
    /// Whether the answer is to be JSON.
    pub(super) as_json: bool,
}

impl Call {
    /// What `--check` and the last `--call` ask for; `None` for a build.
    pub(super) fn parse(check: bool, call: Option<&str>) -> Result<Option<Self>, Error> {
        let mut question = check.then_some(Question::Check);
        let mut as_json = false;
        for part in call
            .unwrap_or_default()
            .split(',')
            .filter(|part| !part.is_empty())
        {
            match part {
                "build" => question = None,
                "check" | "lint" => question = Some(Question::Check),
                "outline" => question = Some(Question::Outline),
                "targets" => question = Some(Question::Targets),
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
        Ok(question.map(|question| Self { question, as_json }))
    }
}

#[cfg(test)]
mod tests {
    use super::{Call, Question};

    #[test]
    fn calls_are_read() {
        let call = |question, as_json| Some(Call { question, as_json });
        for (check, text, want) in [
            (false, None, None),
            (true, None, call(Question::Check, false)),
            (true, Some("format=json"), call(Question::Check, true)),
            (false, Some("check,format=json"), call(Question::Check, true)),
            (false, Some("outline"), call(Question::Outline, false)),
            (false, Some("targets,format=text"), call(Question::Targets, false)),
            (true, Some("build"), None),
        ] {
            assert_eq!(Call::parse(check, text).unwrap(), want, "{text:?}");
        }
        assert!(Call::parse(false, Some("bake")).is_err());
    }
}
