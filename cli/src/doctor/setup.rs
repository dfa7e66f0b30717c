//! What this user has set up: docker's configuration, credential helpers, proxies.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::credentials::Places;
use crate::doctor::{Finding, has_program};

const PROXIES: [&str; 8] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
];

/// Looks at files and variables; no secret is told.
pub(crate) fn setup(places: &Places) -> Vec<Finding> {
    let mut findings = Vec::new();
    match places.docker_file() {
        Some(path) => findings.extend(config(&path, &has_program)),
        None => findings.push(Finding::ok(
            "docker config",
            "neither HOME nor DOCKER_CONFIG is set: there is none",
        )),
    }
    findings.push(proxies(|name| std::env::var(name).ok()));
    findings.push(git(has_program("git")));
    findings
}

fn config(path: &Path, has_program: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let about = "docker config";
    let place = path.display();
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return vec![Finding::ok(
                about,
                format!("{place} is not there: registries are asked without credentials"),
            )];
        }
        Err(error) => {
            return vec![Finding::fail(
                about,
                format!("{place}: {error}"),
                "make it readable for this user",
            )];
        }
    };
    let Ok(config) = serde_json::from_slice::<Value>(&bytes) else {
        return vec![Finding::fail(
            about,
            format!("{place} is no JSON"),
            "repair it, or log in again",
        )];
    };
    let entries = config["auths"].as_object().map_or(0, |auths| auths.len());
    let found = format!("{place}, entries for {entries} registries");
    let mode = std::fs::metadata(path).map_or(0, |data| data.permissions().mode());
    let holds_secrets = config["auths"].as_object().is_some_and(|auths| {
        auths
            .values()
            .any(|entry| entry["auth"].is_string() || entry["identitytoken"].is_string())
    });
    let mut findings = vec![match holds_secrets && mode & 0o077 != 0 {
        true => Finding::warn(
            about,
            format!("{found}; others may read it"),
            format!("chmod 600 {place}"),
        ),
        false => Finding::ok(about, found),
    }];
    let stores = config["credHelpers"]
        .as_object()
        .into_iter()
        .flat_map(|all| all.values());
    let names: BTreeSet<&str> = stores
        .chain([&config["credsStore"]])
        .filter_map(Value::as_str)
        .collect();
    for name in names.into_iter().filter(|name| !name.is_empty()) {
        let program = format!("docker-credential-{name}");
        findings.push(match has_program(&program) {
            true => Finding::ok("credential helper", program),
            false => Finding::fail(
                "credential helper",
                format!("{program} is named in {place} and is not in PATH"),
                "install it, or take credsStore and credHelpers out of the file and log in again",
            ),
        });
    }
    findings
}

fn proxies(variable: impl Fn(&str) -> Option<String>) -> Finding {
    let set: Vec<String> = PROXIES
        .iter()
        .filter_map(|name| Some((name, variable(name).filter(|value| !value.is_empty())?)))
        .map(|(name, value)| format!("{name}={}", without_user(&value)))
        .collect();
    match set.is_empty() {
        true => Finding::ok("proxies", "none here; a daemon goes by its own environment"),
        false => Finding::ok(
            "proxies",
            format!(
                "{}; a daemon that mica starts has them, another goes by its own environment",
                set.join(" ")
            ),
        ),
    }
}

/// An address without the name and password in it.
fn without_user(address: &str) -> String {
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), address),
    };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}…@{host}"),
        None => address.to_owned(),
    }
}

fn git(is_there: bool) -> Finding {
    match is_there {
        true => Finding::ok("git", "repositories can be contexts and sources of ADD"),
        false => Finding::warn(
            "git",
            "it is not in PATH",
            "install git to build from repositories",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Grade;

    #[test]
    fn files_and_helpers_are_graded_without_telling_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let here = |name: &str| name == "docker-credential-here";
        assert_eq!(config(&path, &here)[0].grade, Grade::Ok);
        std::fs::write(
            &path,
            r#"{"auths":{"r":{"auth":"c2VjcmV0"}},"credsStore":"here","credHelpers":{"x":"gone","y":"here"}}"#,
        )
        .unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let found = config(&path, &here);
        let grades: Vec<Grade> = found.iter().map(|finding| finding.grade).collect();
        assert_eq!(grades, [Grade::Warn, Grade::Fail, Grade::Ok], "{found:?}");
        assert!(!format!("{found:?}").contains("c2VjcmV0"));
        std::fs::write(&path, "{").unwrap();
        assert_eq!(config(&path, &here)[0].grade, Grade::Fail);
    }

    #[test]
    fn proxies_are_told_without_passwords() {
        let found = proxies(|name| (name == "HTTPS_PROXY").then(|| "http://u:p@ss@proxy:1".to_owned()));
        assert!(
            found.found.starts_with("HTTPS_PROXY=http://…@proxy:1"),
            "{found:?}"
        );
        assert_eq!(without_user("proxy:1"), "proxy:1");
    }
}
