//! Names of variables that say that the value is a secret.

/// Words that name secrets.
const SECRETS: [&str; 10] = [
    "apikey",
    "auth",
    "credential",
    "credentials",
    "key",
    "password",
    "pword",
    "passwd",
    "secret",
    "token",
];
/// Words beside which the value is none: a public key, the path of a key, the version of a token.
const HARMLESS: [&str; 3] = ["public", "file", "version"];

/// Whether a variable called `name` seems to hold a secret: one of its words, parted by `_`, names one.
pub(crate) fn is_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let has = |words: &[&str]| lower.split('_').any(|part| words.contains(&part));
    has(&SECRETS) && !has(&HARMLESS)
}

#[cfg(test)]
mod tests {
    use super::is_secret;

    #[test]
    fn secrets_are_known_by_whole_words() {
        for name in [
            "PASSWORD",
            "db_passwd",
            "GITHUB_TOKEN",
            "secret_x",
            "AUTH",
            "MY_API_KEY",
            "apikey",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "PUBLIC_KEY",
            "KEY_FILE",
            "TOKEN_VERSION",
            "MONKEY",
            "TOKENS",
            "authority",
            "",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
