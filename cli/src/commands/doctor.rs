//! `mica doctor`: whether this machine, this user and a registry are ready, and what to do where they are not.

use std::path::PathBuf;

use clap::Args;
use mica_oci::Reference;

use crate::credentials::Places;
use crate::doctor::{self, Finding, Grade};
use crate::error::Error;
use crate::session::Session;
use crate::ui;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Format the findings: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json"])]
    format: String,
    /// Look whether this user may push here too
    #[arg(value_name = "REGISTRY/REPOSITORY")]
    repository: Option<Reference>,
}

pub(super) async fn run(options: Options, session: &Session) -> Result<(), Error> {
    let host = session.host()?;
    let mut findings = doctor::kernel();
    let (access, root) = doctor::access(&host).await;
    findings.extend(access);
    findings.extend(doctor::disk(&root.unwrap_or_else(default_root)));
    findings.extend(doctor::groups());
    findings.extend(doctor::emulators());
    findings.extend(doctor::setup(&Places::from_environment(session.config.clone())));
    if let Some(reference) = &options.repository {
        let (client, credentials) = (session.client()?, session.credentials());
        findings.extend(doctor::registry(&reference.repository, &client, &credentials).await);
    }
    ui::result(match options.format.as_str() {
        "json" => json(&findings)?,
        _ => text(&findings),
    })?;
    match findings.iter().any(|finding| finding.grade == Grade::Fail) {
        true => Err(Error::Found),
        false => Ok(()),
    }
}

/// Where a daemon of this user would keep its store, as micad decides it.
fn default_root() -> PathBuf {
    let path = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    match path("MICA_DATA_ROOT") {
        Some(root) => root,
        None if rustix::process::geteuid().is_root() => PathBuf::from("/var/lib/mica"),
        None => path("XDG_DATA_HOME")
            .or_else(|| Some(path("HOME")?.join(".local/share")))
            .unwrap_or_default()
            .join("mica"),
    }
}

fn text(findings: &[Finding]) -> String {
    let width = findings
        .iter()
        .map(|finding| finding.about.len())
        .max()
        .unwrap_or(0);
    let mut out = String::new();
    for finding in findings {
        // Part of it may be a registry's or a file's, which have no business moving cursors.
        let found = ui::printable(&finding.found);
        out.push_str(&format!(
            "{:4}  {:width$}  {found}\n",
            finding.grade.word(),
            finding.about
        ));
        if let Some(remedy) = &finding.remedy {
            out.push_str(&format!("{:4}  {:width$}  → {remedy}\n", "", ""));
        }
    }
    let count = |grade| findings.iter().filter(|finding| finding.grade == grade).count();
    out.push_str(&format!(
        "{} ok, {} to be warned of, {} that fail\n",
        count(Grade::Ok),
        count(Grade::Warn),
        count(Grade::Fail)
    ));
    out
}

fn json(findings: &[Finding]) -> Result<String, Error> {
    let text = serde_json::to_string_pretty(findings).map_err(|source| Error::Transport {
        action: "writing the findings",
        source: source.into(),
    })?;
    Ok(text + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_what_to_do() {
        let findings = [
            Finding::ok("kernel", "6.1"),
            Finding::fail("disk space", "1B free\u{1b}[2J", "make room"),
        ];
        assert_eq!(
            text(&findings),
            format!(
                "ok    kernel      6.1\nfail  disk space  {}\n                  → make room\n1 ok, 0 to be warned of, 1 that fail\n",
                ui::printable("1B free\u{1b}[2J")
            )
        );
        let read: serde_json::Value = serde_json::from_str(&json(&findings).unwrap()).unwrap();
        assert_eq!(
            read[0],
            serde_json::json!({"about": "kernel", "grade": "ok", "found": "6.1"})
        );
        assert_eq!(read[1]["remedy"], "make room");
    }
}
