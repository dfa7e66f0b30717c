//! Whether the daemon can be spoken to, and what keeps this user from it.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::Method;
use serde_json::Value;
use tokio::net::UnixStream;

use crate::client::{Body, Client};
use crate::doctor::{Finding, text};
use crate::error::Error;
use crate::host::Host;

/// The group that may use root's daemon.
const GROUP: &str = "mica";
/// How long the daemon may take to answer.
const LIMIT: Duration = Duration::from_secs(10);

/// Looks at the group, the socket and the daemon behind it; gives the store's folder too, if the daemon tells.
pub(crate) async fn access(host: &Host) -> (Vec<Finding>, Option<PathBuf>) {
    let is_root = rustix::process::geteuid().is_root();
    let own: Vec<u32> = own_groups();
    let mut findings = vec![group(&text("/etc/group"), &own, is_root)];
    let socket = &host.socket;
    match UnixStream::connect(socket).await {
        Ok(_) => findings.push(Finding::ok(
            "socket",
            format!("{} takes connections", socket.display()),
        )),
        Err(error) => {
            findings.push(unreachable(socket, &error));
            return (findings, None);
        }
    }
    // somebody listens, so none is started
    let asked = tokio::time::timeout(LIMIT, ask(&Client::new(host.clone()))).await;
    let (finding, root) = match asked {
        Ok(Ok(info)) => {
            let version = info["ServerVersion"].as_str().unwrap_or("?");
            let root = info["DockerRootDir"].as_str().map(PathBuf::from);
            (troubles(version, &info), root)
        }
        Ok(Err(Error::Daemon { status: 403, message })) => (denied(message), None),
        Ok(Err(error)) => (
            Finding::fail(
                "daemon",
                error.chain(),
                "see its log: journalctl -u micad, or the file beside its socket",
            ),
            None,
        ),
        Err(_) => (
            Finding::fail("daemon", "it does not answer", "see its log: journalctl -u micad"),
            None,
        ),
    };
    findings.push(finding);
    (findings, root)
}

/// The daemon wants a right that this user has not; it says which, and where to give it.
pub(super) fn denied(message: String) -> Finding {
    Finding::fail(
        "rights",
        message,
        "then systemctl reload micad, or a HUP signal to micad",
    )
}

async fn ask(client: &Client) -> Result<Value, Error> {
    client.send(Method::GET, "/info", Body::Empty).await?.json().await
}

fn troubles(version: &str, info: &Value) -> Finding {
    let warnings = info["Warnings"].as_array();
    let warnings: Vec<&str> = warnings.into_iter().flatten().filter_map(Value::as_str).collect();
    match warnings.is_empty() {
        true => Finding::ok(
            "daemon",
            format!("micad {version} answers, and this user may look"),
        ),
        false => Finding::warn(
            "daemon",
            warnings.join("; "),
            "see its log, and how full its disk is",
        ),
    }
}

fn own_groups() -> Vec<u32> {
    let others = rustix::process::getgroups().unwrap_or_default();
    let first = rustix::process::getegid();
    others
        .into_iter()
        .chain([first])
        .map(rustix::process::Gid::as_raw)
        .collect()
}

/// By group(5).
fn group(groups: &str, own: &[u32], is_root: bool) -> Finding {
    let line = groups
        .lines()
        .find_map(|line| line.strip_prefix(GROUP)?.strip_prefix(':'));
    let number = line.and_then(|rest| rest.split(':').nth(1)?.parse::<u32>().ok());
    match number {
        None => Finding::ok(
            "group",
            format!("there is no group {GROUP}: only root may use root's daemon"),
        ),
        Some(_) if is_root => Finding::ok("group", "root needs none"),
        Some(number) if own.contains(&number) => {
            Finding::ok("group", format!("this user is in {GROUP} and may do everything"))
        }
        Some(_) => Finding::warn(
            "group",
            format!("this user is not in {GROUP}"),
            format!(
                "adduser USER {GROUP} and a new login give all rights, which is as much as being root; the setting \"rights\" of \
                 /etc/mica/daemon.json gives less"
            ),
        ),
    }
}

fn unreachable(socket: &Path, error: &io::Error) -> Finding {
    let place = socket.display();
    match error.kind() {
        io::ErrorKind::NotFound => Finding::warn(
            "socket",
            format!("{place} is not there: no daemon is running"),
            "mica starts one when it needs it; for the system: systemctl enable --now micad.socket",
        ),
        io::ErrorKind::ConnectionRefused => Finding::warn(
            "socket",
            format!("{place} is left from a daemon that is gone"),
            "mica starts one when it needs it; for the system: systemctl restart micad.socket",
        ),
        io::ErrorKind::PermissionDenied => {
            let mode = std::fs::symlink_metadata(socket).map_or_else(
                |_| "its folder cannot be entered".to_owned(),
                |data| {
                    format!(
                        "mode {:o}, user {}, group {}",
                        data.mode() & 0o777,
                        data.uid(),
                        data.gid()
                    )
                },
            );
            Finding::fail(
                "socket",
                format!("{place} may not be opened by this user ({mode})"),
                format!(
                    "become a member of the group {GROUP}, or be named in the setting \"rights\" of daemon.json"
                ),
            )
        }
        _ => Finding::fail(
            "socket",
            format!("{place}: {error}"),
            "MICA_HOST or --host names the socket",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Grade;

    #[test]
    fn groups_let_in_or_not() {
        let groups = "root:x:0:\nmicado:x:5:\nmica:x:991:me\n";
        assert_eq!(group(groups, &[991], false).grade, Grade::Ok);
        assert_eq!(group(groups, &[5], false).grade, Grade::Warn);
        assert_eq!(group(groups, &[5], true).grade, Grade::Ok);
        assert_eq!(group("root:x:0:\n", &[5], false).grade, Grade::Ok);
    }

    #[tokio::test]
    async fn sockets_that_nobody_answers_at_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let host = |name: &str| Host {
            socket: folder.path().join(name),
            may_start: true,
        };
        let (findings, root) = access(&host("none")).await;
        assert_eq!(root, None);
        assert!(findings[1].found.contains("is not there"), "{findings:?}");
        drop(std::os::unix::net::UnixListener::bind(folder.path().join("stale")).unwrap());
        let (findings, _) = access(&host("stale")).await;
        assert!(findings[1].found.contains("is left from"), "{findings:?}");
        std::fs::write(folder.path().join("file"), "").unwrap();
        let denied = unreachable(Path::new("/x"), &io::ErrorKind::PermissionDenied.into());
        assert_eq!(denied.grade, Grade::Fail);
    }
}
