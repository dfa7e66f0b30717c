//! What users can do about a refusal, where a registry is known to say no without a reason.

use crate::refusal::Refusal;

/// Lines that say what the cause may be; nothing where the registry's own words are enough.
pub(crate) fn hints(registry: &str, refusal: &Refusal, anonymous: bool, pushes: bool) -> Vec<String> {
    // a repository that may not be seen often looks like one that is not there
    if !refusal.is_about_rights() && !refusal.has_code("NAME_UNKNOWN") {
        return Vec::new();
    }
    let mut hints: Vec<String> = Vec::new();
    if anonymous {
        hints.push(format!(
            "no credentials were given for {registry}: mica login {registry}"
        ));
    }
    if is_ghcr(registry) && refusal.is_about_rights() {
        hints.extend(ghcr(refusal, pushes).into_iter().map(str::to_owned));
    } else if refusal.is_about_rights() && !anonymous {
        hints.push(format!(
            "the credentials given for {registry} do not allow this, or are wrong: mica login {registry}"
        ));
    }
    hints
}

fn is_ghcr(registry: &str) -> bool {
    matches!(registry, "ghcr.io" | "docker.pkg.github.com") || registry.ends_with(".ghcr.io")
}

/// GitHub answers "denied" for all of these (GitHub's documentation, "Working with the Container registry" and "Configuring
/// a package's access control").
fn ghcr(refusal: &Refusal, pushes: bool) -> Vec<&'static str> {
    let installation = refusal.message.contains("installation not allowed");
    let mut causes = Vec::new();
    if pushes {
        causes.push("a personal access token (classic) needs the scope write:packages; fine-grained tokens do not work here");
        causes.push("in GitHub Actions the job needs \"permissions: packages: write\" for GITHUB_TOKEN");
        causes.push(
            "a package that was first pushed by hand is not linked to the repository: package settings, \"Manage Actions \
             access\", add the repository with role Write",
        );
    } else {
        causes.push("a personal access token (classic) needs the scope read:packages; fine-grained tokens do not work here");
        causes.push("in GitHub Actions the job needs \"permissions: packages: read\", and the package must allow the repository");
        causes.push("the package may be private, or not exist: new packages are private until their settings say otherwise");
    }
    if installation {
        causes.push(
            "a GitHub App or GITHUB_TOKEN cannot create packages of an organization that does not allow it",
        );
    }
    causes.push("an organization with SAML single sign-on wants the token authorized for it: token settings, \"Configure SSO\"");
    causes
        .push("the owner in the name must be the user or organization that owns the package, in lower case");
    causes
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderMap;
    use reqwest::{Method, StatusCode, Url};

    fn refusal(status: u16) -> Refusal {
        let url = Url::parse("https://ghcr.io/v2/o/n/blobs/uploads/").unwrap();
        let body = br#"{"errors":[{"code":"DENIED","message":"denied"}]}"#;
        let status = StatusCode::from_u16(status).unwrap();
        Refusal::read(&Method::POST, &url, status, &HeaderMap::new(), body)
    }

    #[test]
    fn ghcr_s_denied_gets_its_causes() {
        let hints = hints("ghcr.io", &refusal(403), false, true).join("\n");
        for word in [
            "write:packages",
            "packages: write",
            "Manage Actions access",
            "SSO",
        ] {
            assert!(hints.contains(word), "{word}: {hints}");
        }
        assert!(!hints.contains("mica login"), "{hints}");
        let hints = super::hints("ghcr.io", &refusal(401), true, false).join("\n");
        assert!(
            hints.contains("read:packages") && hints.contains("mica login ghcr.io"),
            "{hints}"
        );
    }

    #[test]
    fn other_registries_are_not_told_of_github() {
        let hints = hints("r.example", &refusal(403), false, true).join("\n");
        assert!(
            hints.contains("mica login r.example") && !hints.contains("packages"),
            "{hints}"
        );
    }
}
