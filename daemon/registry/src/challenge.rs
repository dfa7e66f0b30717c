//! What a registry wants to see before it answers: the `WWW-Authenticate` headers of a 401 (RFC 9110, section 11.6.1).

/// One challenge of a registry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Challenge {
    /// The scheme in lower case: `bearer`, `basic`, …
    pub(crate) scheme: String,
    /// Names in lower case, with their values.
    parameters: Vec<(String, String)>,
}

/// The most challenges that are read of one answer.
const CHALLENGES: usize = 16;
/// The most parameters of one challenge.
const PARAMETERS: usize = 32;

impl Challenge {
    /// The first value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }

    /// All challenges of some header values: each may hold several, with commas between them and between their parameters.
    pub(crate) fn all<'a>(values: impl IntoIterator<Item = &'a str>) -> Vec<Self> {
        let mut challenges = Vec::new();
        for value in values {
            Reader { rest: value }.read(&mut challenges);
        }
        challenges
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn read(&mut self, into: &mut Vec<Challenge>) {
        loop {
            self.skip(|c| c == ',' || c.is_ascii_whitespace());
            if self.rest.is_empty() || into.len() >= CHALLENGES {
                return;
            }
            let word = self.token();
            if word.is_empty() {
                // no token and no separator: whatever it is, it is passed over
                let mut chars = self.rest.chars();
                chars.next();
                self.rest = chars.as_str();
                continue;
            }
            let is_parameter = self.rest.trim_start().starts_with('=');
            match into.last_mut() {
                Some(challenge) if is_parameter => {
                    let value = self.value();
                    if challenge.parameters.len() < PARAMETERS {
                        challenge.parameters.push((word.to_ascii_lowercase(), value));
                    }
                }
                // a parameter of nothing
                None if is_parameter => {
                    self.value();
                }
                _ => into.push(Challenge {
                    scheme: word.to_ascii_lowercase(),
                    parameters: Vec::new(),
                }),
            }
        }
    }

    fn skip(&mut self, skipped: impl Fn(char) -> bool) {
        self.rest = self.rest.trim_start_matches(skipped);
    }

    /// Letters, digits and the marks a token may have (RFC 9110, section 5.6.2).
    fn token(&mut self) -> &'a str {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/".contains(c);
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        token
    }

    /// What stands behind a name: `=` and a token or a quoted text.
    fn value(&mut self) -> String {
        self.skip(|c| c.is_ascii_whitespace());
        self.rest = self.rest.strip_prefix('=').unwrap_or(self.rest);
        self.skip(|c| c.is_ascii_whitespace());
        let Some(quoted) = self.rest.strip_prefix('"') else {
            let end = self
                .rest
                .find(|c: char| c == ',' || c.is_ascii_whitespace())
                .unwrap_or(self.rest.len());
            let (value, rest) = self.rest.split_at(end);
            self.rest = rest;
            return value.to_owned();
        };
        let mut value = String::new();
        let mut chars = quoted.chars();
        loop {
            match chars.next() {
                None | Some('"') => break,
                Some('\\') => value.extend(chars.next()),
                Some(c) => value.push(c),
            }
        }
        self.rest = chars.as_str();
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let all = Challenge::all([
            r#"Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:o/n:pull,push""#,
        ]);
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].scheme, "bearer");
        assert_eq!(all[0].get("realm"), Some("https://ghcr.io/token"));
        assert_eq!(all[0].get("scope"), Some("repository:o/n:pull,push"));
        assert_eq!(all[0].get("error"), None);
    }

    #[test]
    fn several_headers_and_several_challenges_in_one() {
        let all = Challenge::all([
            r#"Basic realm="a, \"b\"", BEARER Realm = "r" , service=s,error="insufficient_scope""#,
            "Negotiate",
        ]);
        let schemes: Vec<&str> = all.iter().map(|c| c.scheme.as_str()).collect();
        assert_eq!(schemes, ["basic", "bearer", "negotiate"]);
        assert_eq!(all[0].get("realm"), Some(r#"a, "b""#));
        assert_eq!(all[1].get("realm"), Some("r"));
        assert_eq!(all[1].get("service"), Some("s"));
        assert_eq!(all[1].get("error"), Some("insufficient_scope"));
    }

    #[test]
    fn nonsense_is_no_challenge() {
        for text in ["", ",,,", "=x", "\"", "é"] {
            assert!(
                Challenge::all([text]).iter().all(|c| c.get("realm").is_none()),
                "{text}"
            );
        }
        assert_eq!(
            Challenge::all(["Bearer realm=\"open"])[0].get("realm"),
            Some("open")
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "\\PC{0,200}") {
            let all = Challenge::all([text.as_str()]);
            prop_assert!(all.len() <= CHALLENGES);
        }
    }
}
