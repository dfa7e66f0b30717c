//! `--platform` and its default.

use serde_json::Value;

/// The variable that stands in for the flag.
const DEFAULT: &str = "DOCKER_DEFAULT_PLATFORM";

/// What the flag says, else what `DOCKER_DEFAULT_PLATFORM` says; neither if empty.
pub(crate) fn or_default(flag: Option<String>) -> Option<String> {
    flag.or_else(|| std::env::var(DEFAULT).ok())
        .filter(|text| !text.is_empty())
}

/// `os[/arch[/variant]]` as the JSON object that inspections, save and load take.
pub(crate) fn to_json(platform: &str) -> String {
    let keys = ["os", "architecture", "variant"];
    let parts = platform.splitn(3, '/').filter(|part| !part.is_empty());
    let fields = keys
        .iter()
        .zip(parts)
        .map(|(key, part)| ((*key).to_owned(), Value::from(part)));
    Value::Object(fields.collect()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_become_json() {
        assert_eq!(to_json("linux"), r#"{"os":"linux"}"#);
        assert_eq!(
            to_json("linux/arm/v7"),
            r#"{"os":"linux","architecture":"arm","variant":"v7"}"#
        );
    }
}
