//! What this program is called: `mica`, or `docker` where a link of that name is run.

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// The name that texts use: `docker` if it was run as that, else `mica`.
pub(crate) fn name() -> &'static str {
    named(std::env::args_os().next())
}

/// What `--version` says. Scripts look for docker's form of it.
pub(crate) fn version() -> String {
    let version = env!("CARGO_PKG_VERSION");
    match name() {
        "docker" => format!("Docker version {version}, build mica\n"),
        name => format!("{name} version {version}\n"),
    }
}

/// What is said when nobody listens at a socket.
pub(crate) fn absence(socket: &Path) -> String {
    let socket = socket.display();
    match name() {
        "docker" => {
            format!("Cannot connect to the Docker daemon at unix://{socket}. Is the docker daemon running?")
        }
        _ => format!("Cannot connect to the mica daemon at unix://{socket}. Is micad running?"),
    }
}

fn named(program: Option<OsString>) -> &'static str {
    let program = program.unwrap_or_default();
    match Path::new(&program).file_name().and_then(OsStr::to_str) {
        Some("docker") => "docker",
        _ => "mica",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_docker_is_another_name() {
        for (program, name) in [
            (Some("docker"), "docker"),
            (Some("/usr/local/bin/docker"), "docker"),
            (Some("./x/docker"), "docker"),
            (Some("/opt/docker/mica"), "mica"),
            (Some("docker-copy"), "mica"),
            (Some(".."), "mica"),
            (Some(""), "mica"),
            (None, "mica"),
        ] {
            assert_eq!(named(program.map(OsString::from)), name, "{program:?}");
        }
    }
}
