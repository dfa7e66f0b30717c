//! Which daemon is spoken to: flag, `MICA_HOST`, `DOCKER_HOST` or the default socket.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// A daemon's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    /// Its socket, absolute.
    pub(crate) socket: PathBuf,
    /// Whether a daemon may be started there; not at an address meant for docker.
    pub(crate) may_start: bool,
}

impl Host {
    /// The address as an URL.
    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.socket.display())
    }
}

/// What decides about the host.
#[derive(Debug, Default)]
pub(crate) struct Choice {
    /// `--host`
    pub(crate) flag: Option<String>,
    /// `MICA_HOST`
    pub(crate) mica: Option<OsString>,
    /// `DOCKER_HOST`
    pub(crate) docker: Option<OsString>,
    /// `--context`
    pub(crate) context_flag: Option<String>,
    /// `DOCKER_CONTEXT`
    pub(crate) context: Option<OsString>,
    /// `XDG_RUNTIME_DIR`
    pub(crate) runtime_dir: Option<OsString>,
    /// Whether this is root.
    pub(crate) is_root: bool,
}

impl Choice {
    /// Reads the environment; empty variables count as unset.
    pub(crate) fn from_environment(flag: Option<String>, context: Option<String>) -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            flag,
            mica: variable("MICA_HOST"),
            docker: variable("DOCKER_HOST"),
            context_flag: context,
            context: variable("DOCKER_CONTEXT"),
            runtime_dir: variable("XDG_RUNTIME_DIR"),
            is_root: rustix::process::geteuid().is_root(),
        }
    }

    /// Decides.
    ///
    /// # Errors
    /// An address of a kind that is not spoken, a context that is not there, or nothing to make the default of.
    pub(crate) fn host(self) -> Result<Host, Error> {
        if let Some(context) = self.context_flag.filter(|context| !is_default(context)) {
            return Err(no_context("--context", &context));
        }
        if let Some(flag) = self.flag.filter(|flag| !flag.is_empty()) {
            return address("--host", flag.into(), true);
        }
        if let Some(value) = self.mica {
            return address("MICA_HOST", value, true);
        }
        if let Some(value) = self.docker {
            return address("DOCKER_HOST", value, false);
        }
        // A daemon elsewhere was meant; doing it here would surprise.
        if let Some(context) = self.context
            && !is_default(&context.to_string_lossy())
        {
            return Err(no_context("DOCKER_CONTEXT", &context.to_string_lossy()));
        }
        let socket = match self.runtime_dir {
            _ if self.is_root => PathBuf::from("/run/mica/mica.sock"),
            Some(dir) => Path::new(&dir).join("mica/mica.sock"),
            None => {
                let message = "XDG_RUNTIME_DIR is not set, so there is no place for the daemon's socket: set it, or \
                               MICA_HOST=unix:///path/of/socket";
                return Err(Error::Host {
                    message: message.to_owned(),
                });
            }
        };
        Ok(Host {
            socket,
            may_start: true,
        })
    }
}

/// Whether a context's name is that of the only one.
pub(crate) fn is_default(context: &str) -> bool {
    matches!(context, "" | "default")
}

fn no_context(origin: &str, name: &str) -> Error {
    Error::Host {
        message: format!(
            "{origin}={name}: context {name:?}: context not found: there is only the context default; \
             MICA_HOST=unix:///path/of/socket names another daemon"
        ),
    }
}

fn address(origin: &str, value: OsString, may_start: bool) -> Result<Host, Error> {
    let text = value.to_string_lossy().into_owned();
    let refuse = |why: &str| {
        Err(Error::Host {
            message: format!("{origin}={text}: {why}"),
        })
    };
    let path = match text.split_once("://") {
        Some(("unix", _)) => {
            use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
            PathBuf::from(OsString::from_vec(value.as_bytes()["unix://".len()..].to_vec()))
        }
        Some(("tcp" | "http" | "https", _)) => {
            return refuse("the daemon listens on Unix sockets only, not on TCP");
        }
        Some(("ssh", _)) => return refuse("hosts behind ssh are not supported yet"),
        Some((scheme, _)) => {
            return refuse(&format!("unknown kind of address \"{scheme}\", use unix:///path"));
        }
        None if text.starts_with(['/', '.']) => PathBuf::from(value),
        None => return refuse("not an address, use unix:///path/of/socket"),
    };
    if path.as_os_str().is_empty() {
        return refuse("the socket's path is missing");
    }
    let socket = std::path::absolute(&path).map_err(|source| Error::File {
        action: "cannot make absolute",
        path,
        source,
    })?;
    Ok(Host { socket, may_start })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(flag: &str, mica: &str, docker: &str, runtime: &str, is_root: bool) -> Choice {
        let some = |text: &str| (!text.is_empty()).then(|| OsString::from(text));
        Choice {
            flag: (!flag.is_empty()).then(|| flag.to_owned()),
            mica: some(mica),
            docker: some(docker),
            runtime_dir: some(runtime),
            is_root,
            ..Choice::default()
        }
    }

    #[test]
    fn the_nearest_choice_wins() {
        for (flag, mica, docker, runtime, is_root, socket, may_start) in [
            ("unix:///f", "unix:///m", "unix:///d", "/r", false, "/f", true),
            ("/plain", "", "", "", false, "/plain", true),
            ("", "unix:///m", "unix:///d", "/r", false, "/m", true),
            ("", "", "unix:///d", "/r", true, "/d", false),
            ("", "", "", "/r", false, "/r/mica/mica.sock", true),
            ("", "", "", "/r", true, "/run/mica/mica.sock", true),
            ("", "", "", "", true, "/run/mica/mica.sock", true),
        ] {
            let host = choice(flag, mica, docker, runtime, is_root).host().unwrap();
            assert_eq!(
                host,
                Host {
                    socket: socket.into(),
                    may_start
                }
            );
        }
    }

    #[test]
    fn other_contexts_are_refused_where_they_would_count() {
        let chosen = |flag: &str, variable: &str, docker: &str| {
            let mut choice = choice("", "", docker, "/r", true);
            choice.context_flag = Some(flag.to_owned());
            choice.context = (!variable.is_empty()).then(|| variable.into());
            choice.host().map_err(|error| error.to_string())
        };
        assert!(chosen("default", "default", "").is_ok());
        assert!(chosen("", "far", "unix:///d").is_ok(), "DOCKER_HOST comes first");
        for (flag, variable, docker, words) in [
            (
                "far",
                "",
                "unix:///d",
                "--context=far: context \"far\": context not found",
            ),
            (
                "",
                "far",
                "",
                "DOCKER_CONTEXT=far: context \"far\": context not found",
            ),
        ] {
            let told = chosen(flag, variable, docker).unwrap_err();
            assert!(told.starts_with(words), "{told}");
        }
    }

    #[test]
    fn what_is_no_socket_is_refused_by_name() {
        for (docker, runtime, words) in [
            (
                "tcp://1.2.3.4:2375",
                "",
                "DOCKER_HOST=tcp://1.2.3.4:2375: the daemon listens on Unix sockets only",
            ),
            ("ssh://me@there", "", "ssh are not supported yet"),
            ("npipe:////x", "", "unknown kind of address \"npipe\""),
            ("unix://", "", "the socket's path is missing"),
            ("localhost", "", "not an address"),
            ("", "", "XDG_RUNTIME_DIR is not set"),
        ] {
            let error = choice("", "", docker, runtime, false)
                .host()
                .unwrap_err()
                .to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
