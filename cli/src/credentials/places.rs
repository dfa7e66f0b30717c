//! Where credentials are kept: docker's folder, podman's files and `DOCKER_AUTH_CONFIG`.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::secret::Secret;

/// The variables and flags that decide where credentials are looked for; empty ones count as unset.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// `--config`
    pub(crate) flag: Option<PathBuf>,
    /// `--authfile`: the only file that is read.
    pub(crate) only: Option<PathBuf>,
    /// `DOCKER_CONFIG`: the folder of `config.json`.
    pub(crate) docker: Option<OsString>,
    /// `DOCKER_AUTH_CONFIG`: not a place but the text itself.
    pub(crate) text: Option<Secret>,
    /// `REGISTRY_AUTH_FILE`
    pub(crate) podman: Option<OsString>,
    /// `XDG_RUNTIME_DIR`
    pub(crate) runtime_dir: Option<OsString>,
    /// `XDG_CONFIG_HOME`
    pub(crate) config_home: Option<OsString>,
    /// `HOME`
    pub(crate) home: Option<OsString>,
}

impl Places {
    /// Reads the environment.
    pub(crate) fn from_environment(flag: Option<PathBuf>) -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            flag: flag.filter(|path| !path.as_os_str().is_empty()),
            only: None,
            docker: variable("DOCKER_CONFIG"),
            text: variable("DOCKER_AUTH_CONFIG").map(|text| text.to_string_lossy().into_owned().into()),
            podman: variable("REGISTRY_AUTH_FILE"),
            runtime_dir: variable("XDG_RUNTIME_DIR"),
            config_home: variable("XDG_CONFIG_HOME"),
            home: variable("HOME"),
        }
    }

    /// Docker's `config.json`, the only file that is written; `None` if nothing says where it is.
    pub(crate) fn docker_file(&self) -> Option<PathBuf> {
        let home = || Some(PathBuf::from(self.home.as_ref()?).join(".docker"));
        let set = self
            .flag
            .clone()
            .or_else(|| self.docker.as_ref().map(PathBuf::from));
        Some(set.or_else(home)?.join("config.json"))
    }

    /// Podman's files, in the order they are asked (containers-auth.json(5)).
    pub(super) fn podman_files(&self) -> Vec<PathBuf> {
        let below =
            |folder: &Option<OsString>, path: &str| folder.as_ref().map(|dir| PathBuf::from(dir).join(path));
        let config = below(&self.config_home, "containers/auth.json");
        [
            self.podman.as_ref().map(PathBuf::from),
            below(&self.runtime_dir, "containers/auth.json"),
            config.or_else(|| below(&self.home, ".config/containers/auth.json")),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(set: &[(&str, &str)]) -> Places {
        let variable = |name: &str| {
            let found = set.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| OsString::from(value))
        };
        Places {
            flag: variable("flag").map(PathBuf::from),
            only: None,
            docker: variable("docker"),
            text: None,
            podman: variable("podman"),
            runtime_dir: variable("runtime"),
            config_home: variable("config"),
            home: variable("home"),
        }
    }

    #[test]
    fn the_nearest_place_wins() {
        for (set, docker, podman) in [
            (
                &[("flag", "/f"), ("docker", "/d"), ("home", "/h")][..],
                Some("/f/config.json"),
                &["/h/.config/containers/auth.json"][..],
            ),
            (&[("docker", "/d")], Some("/d/config.json"), &[]),
            (
                &[
                    ("podman", "/p.json"),
                    ("runtime", "/r"),
                    ("config", "/c"),
                    ("home", "/h"),
                ],
                Some("/h/.docker/config.json"),
                &["/p.json", "/r/containers/auth.json", "/c/containers/auth.json"],
            ),
            (&[], None, &[]),
        ] {
            let places = places(set);
            assert_eq!(places.docker_file(), docker.map(PathBuf::from), "{set:?}");
            let podman: Vec<PathBuf> = podman.iter().map(PathBuf::from).collect();
            assert_eq!(places.podman_files(), podman, "{set:?}");
        }
    }
}
