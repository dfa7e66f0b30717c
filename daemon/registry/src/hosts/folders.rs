//! Where the settings of registries lie on this machine.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::hosts::error::HostError;
use crate::hosts::file;

/// The file of hosts in a folder of certs.d.
pub(crate) const HOSTS_FILE: &str = "hosts.toml";

/// Folders and files that say something of registries. None has to exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    /// `certs.d` folders, each with a folder per registry. The certificates of all count, `hosts.toml` of the first
    /// that has one.
    pub certificates: Vec<PathBuf>,
    /// Places of `registries.conf`; the first that exists is read and the others are not.
    pub registries: Vec<PathBuf>,
    /// `registries.conf.d` folders: their `*.conf` in the order of the names, a later folder after an earlier one.
    pub registries_more: Vec<PathBuf>,
}

impl Default for Folders {
    /// The folders of docker, containerd and podman: in /etc and for the user we run as.
    fn default() -> Self {
        Self::of_this_machine(|name| env::var_os(name))
    }
}

impl Folders {
    /// No folder at all.
    pub fn none() -> Self {
        Self {
            certificates: Vec::new(),
            registries: Vec::new(),
            registries_more: Vec::new(),
        }
    }

    /// What [`Folders::default`] is for an environment: XDG_CONFIG_HOME (else `$HOME/.config`) is where the user's own
    /// are, CONTAINERS_REGISTRIES_CONF is read in place of any registries.conf.
    pub fn of_this_machine(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let path = |name| lookup(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let user = path("XDG_CONFIG_HOME").or_else(|| path("HOME").map(|home| home.join(".config")));
        let below_user = |name: &str| user.iter().map(|user| user.join(name)).collect::<Vec<_>>();
        let etc = Path::new("/etc");
        Self {
            certificates: [
                below_user("docker/certs.d"),
                below_user("containers/certs.d"),
                vec![
                    etc.join("docker/certs.d"),
                    etc.join("containers/certs.d"),
                    etc.join("containerd/certs.d"),
                ],
            ]
            .concat(),
            registries: match path("CONTAINERS_REGISTRIES_CONF") {
                Some(path) => vec![path],
                None => {
                    let mut places = below_user("containers/registries.conf");
                    places.push(etc.join("containers/registries.conf"));
                    places
                }
            },
            registries_more: {
                let mut places = vec![etc.join("containers/registries.conf.d")];
                places.extend(below_user("containers/registries.conf.d"));
                places
            },
        }
    }

    /// The folders that are about a host, those named after it before those for any (`_default`). A certs.d that has
    /// a folder for the host says nothing about it in `_default`.
    pub(crate) fn about(&self, names: &[String]) -> Result<Vec<PathBuf>, HostError> {
        let (mut own, mut any) = (Vec::new(), Vec::new());
        for certificates in &self.certificates {
            let mut found = false;
            for name in names.iter().flat_map(|name| spellings(name)) {
                let folder = certificates.join(name);
                if folder.is_dir() {
                    found = true;
                    own.push(folder);
                }
            }
            let default = certificates.join("_default");
            if !found && default.is_dir() {
                any.push(default);
            }
        }
        own.append(&mut any);
        Ok(own)
    }

    /// The files of registries.conf that count, in the order they are to be read.
    pub(crate) fn registry_files(&self) -> Result<Vec<PathBuf>, HostError> {
        let mut files: Vec<_> = self
            .registries
            .iter()
            .find(|path| path.exists())
            .cloned()
            .into_iter()
            .collect();
        for folder in &self.registries_more {
            let is_conf = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "conf");
            files.extend(file::list(folder)?.into_iter().filter(is_conf));
        }
        Ok(files)
    }
}

/// The names a folder for a host may have: containerd's way of writing a port where no `:` can be, then docker's.
fn spellings(name: &str) -> Vec<String> {
    let port = name.rfind(':').filter(|_| !name.ends_with(']'));
    match port {
        Some(at) => vec![format!("{}_{}_", &name[..at], &name[at + 1..]), name.to_owned()],
        None => vec![name.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_real_places() {
        let folders = Folders::of_this_machine(|name| (name == "HOME").then(|| "/home/u".into()));
        let paths = |paths: &[PathBuf]| paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>();
        assert_eq!(
            paths(&folders.certificates),
            [
                "/home/u/.config/docker/certs.d",
                "/home/u/.config/containers/certs.d",
                "/etc/docker/certs.d",
                "/etc/containers/certs.d",
                "/etc/containerd/certs.d",
            ]
        );
        assert_eq!(
            paths(&folders.registries),
            [
                "/home/u/.config/containers/registries.conf",
                "/etc/containers/registries.conf"
            ]
        );
        assert_eq!(
            paths(&folders.registries_more),
            [
                "/etc/containers/registries.conf.d",
                "/home/u/.config/containers/registries.conf.d"
            ]
        );
        let named = Folders::of_this_machine(|name| match name {
            "CONTAINERS_REGISTRIES_CONF" => Some("/r.conf".into()),
            "XDG_CONFIG_HOME" => Some("/x".into()),
            _ => None,
        });
        assert_eq!(paths(&named.registries), ["/r.conf"]);
        assert_eq!(paths(&named.certificates)[0], "/x/docker/certs.d");
        assert_eq!(Folders::of_this_machine(|_| None).certificates.len(), 3);
    }

    #[test]
    fn folders_about_a_host() {
        let root = tempfile::tempdir().unwrap();
        for name in [
            "a/r.example:5000",
            "a/r.example_5000_",
            "a/_default",
            "b/_default",
            "c/r.example",
            "d/[::1]_80_",
        ] {
            fs_err::create_dir_all(root.path().join(name)).unwrap();
        }
        let folders = Folders {
            certificates: ["b", "a", "c", "d", "e"]
                .map(|name| root.path().join(name))
                .to_vec(),
            ..Folders::none()
        };
        let about = |name: &str| {
            let found = folders.about(&[name.to_owned()]).unwrap();
            let name = |path: &PathBuf| path.strip_prefix(root.path()).unwrap().display().to_string();
            found.iter().map(name).collect::<Vec<_>>()
        };
        assert_eq!(
            about("r.example:5000"),
            ["a/r.example_5000_", "a/r.example:5000", "b/_default"]
        );
        assert_eq!(about("r.example"), ["c/r.example", "b/_default", "a/_default"]);
        assert_eq!(about("[::1]:80"), ["d/[::1]_80_", "b/_default", "a/_default"]);
        assert_eq!(about("other"), ["b/_default", "a/_default"]);
    }
}
