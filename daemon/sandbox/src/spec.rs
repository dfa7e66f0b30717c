//! What is to be run, and on what.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::hidden::Hidden;
use crate::limits::Limits;

/// The first argument that makes a program call [`init_main`](crate::init_main).
pub const HELPER_ARGUMENT: &str = "sandbox-init";

/// The most layers below the writable one: overlayfs' own limit (`OVL_MAX_STACK`).
pub const MAX_LOWERS: usize = 500;

/// The longest host name, `HOST_NAME_MAX` of `sethostname(2)`.
const MAX_HOSTNAME: usize = 64;

/// The most bytes of all secrets of a process together: they travel in one message, and live in memory.
pub const MAX_HIDDEN: usize = 2 << 20;

/// One process and everything around it.
///
/// All paths of the host are absolute. `upper` and `work` lie on one file system and are two empty
/// directories of this run alone: `work` cannot be used a second time, and what is in `upper`
/// afterwards is what the process changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The trees of the layers, the topmost first; none for an empty image.
    pub lowers: Vec<PathBuf>,
    /// Where the changes go.
    pub upper: PathBuf,
    /// Scratch space of overlayfs.
    pub work: PathBuf,
    /// The program and its arguments; no shell is added.
    pub argv: Vec<String>,
    /// `NAME=value`, given to the process in this order. `PATH` and `HOME` are added if missing.
    pub env: Vec<String>,
    /// Names and values that are secrets. They come after `env` and win over it.
    pub hidden_env: Vec<(String, Hidden)>,
    /// The working directory inside the root; made, owned by the user, if missing.
    pub cwd: PathBuf,
    /// `user`, `uid`, `user:group`, `uid:gid`, … as in `USER`; empty is root.
    pub user: String,
    /// The host name inside.
    pub hostname: String,
    /// Which network it sees.
    pub network: Network,
    /// A file of the host to be seen as `/etc/resolv.conf`, read-only.
    pub resolv_conf: Option<PathBuf>,
    /// A file of the host to be seen as `/etc/hosts`, read-only.
    pub hosts: Option<PathBuf>,
    /// Further mounts, made in this order.
    pub mounts: Vec<MountSpec>,
    /// Limits to set; those not named stay the daemon's own.
    pub rlimits: Vec<Rlimit>,
    /// How much of the machine it may use, all it starts included.
    #[serde(default)]
    pub limits: Limits,
    /// The most processes and threads at once; where control groups cannot be written, there is no such limit.
    #[serde(default)]
    pub processes: Option<u64>,
    /// The size of `/dev/shm` in bytes.
    pub shm_size: u64,
    /// How much the process may do.
    pub security: Security,
    /// Whether its standard streams are a terminal that it controls, see [`run_on`](crate::run_on).
    #[serde(default)]
    pub terminal: bool,
}

/// Which network the process sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// The host's.
    Host,
    /// One of its own with nothing but the loopback device.
    None,
}

/// How much the process may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// Docker's default rights; system calls that reach through to the host's kernel are refused by a
    /// seccomp filter. Device nodes may be made anywhere, but only docker's usual ones, at their
    /// places in `/dev`, can be opened.
    Sandbox,
    /// All capabilities the daemon has, no filter, nothing masked, a writable `/sys`, every device.
    Insecure,
}

/// One more mount. A target that does not exist is made, and removed afterwards if it is still empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase", tag = "type")]
pub enum MountSpec {
    /// A file or directory of the host.
    Bind {
        /// The host's path; a symbolic link as its last part is not followed.
        source: PathBuf,
        /// Where it appears inside the root.
        target: PathBuf,
        /// Whether writing to it fails.
        read_only: bool,
        /// Whether it is mounted `nosuid,nodev,noexec`, as secrets and sockets are.
        inert: bool,
    },
    /// An empty file system in memory.
    Tmpfs {
        /// Where it appears inside the root.
        target: PathBuf,
        /// Its size in bytes; without it half the memory (`tmpfs(5)`).
        size: Option<u64>,
        /// The mode of its root directory.
        mode: u32,
    },
    /// A file or directory of the tree that layers make together.
    Layers {
        /// The trees, the topmost first; at least one.
        lowers: Vec<PathBuf>,
        /// The path in it, from its root and without symbolic links.
        path: PathBuf,
        /// Where it appears inside the root.
        target: PathBuf,
        /// Where writes go; without it writing fails.
        scratch: Option<Scratch>,
    },
    /// A file that lies nowhere but in memory, `nosuid,nodev,noexec` and read-only.
    File {
        /// What is in it.
        content: Hidden,
        /// Where it appears inside the root.
        target: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
    },
}

/// Two empty directories of the host on one file system, of one mount of one run alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scratch {
    /// Where what is written ends up.
    pub upper: PathBuf,
    /// Scratch space of overlayfs.
    pub work: PathBuf,
}

impl MountSpec {
    /// Where it appears inside the root.
    #[must_use]
    pub fn target(&self) -> &Path {
        match self {
            MountSpec::Bind { target, .. }
            | MountSpec::Tmpfs { target, .. }
            | MountSpec::Layers { target, .. }
            | MountSpec::File { target, .. } => target,
        }
    }

    /// The paths of the host it is made of, and the path in a tree.
    fn sources(&self) -> Vec<&Path> {
        match self {
            MountSpec::Bind { source, .. } => vec![source],
            MountSpec::Tmpfs { .. } | MountSpec::File { .. } => Vec::new(),
            MountSpec::Layers {
                lowers,
                path,
                scratch,
                ..
            } => {
                let scratch = scratch.iter().flat_map(|scratch| [&scratch.upper, &scratch.work]);
                let all = lowers.iter().chain([path]).chain(scratch);
                all.map(PathBuf::as_path).collect()
            }
        }
    }
}

/// One resource limit, see `setrlimit(2)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rlimit {
    /// What is limited.
    pub resource: Resource,
    /// The limit in force; none is unlimited.
    pub soft: Option<u64>,
    /// The limit up to which the process may raise it; none is unlimited.
    pub hard: Option<u64>,
}

/// A resource that `docker build --ulimit` can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names are those of setrlimit(2)")]
pub enum Resource {
    As,
    Core,
    Cpu,
    Data,
    Fsize,
    Locks,
    Memlock,
    Msgqueue,
    Nice,
    Nofile,
    Nproc,
    Rss,
    Rtprio,
    Rttime,
    Sigpending,
    Stack,
}

impl Resource {
    /// The resource of this name in `docker build --ulimit NAME=soft:hard`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        serde_json::from_value(serde_json::Value::String(name.to_owned())).ok()
    }
}

impl Spec {
    /// Looks for what can be known to be wrong before anything is started.
    ///
    /// # Errors
    /// [`Error::Spec`] names the field.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let wrong = |field, reason: String| Err(Error::Spec { field, reason });
        if self.argv.is_empty() {
            return wrong("argv", "no program is named".to_owned());
        }
        if self.lowers.len() > MAX_LOWERS {
            return wrong(
                "lowers",
                format!("{} layers, the most is {MAX_LOWERS}", self.lowers.len()),
            );
        }
        self.check_mounts()?;
        if self.hostname.len() > MAX_HOSTNAME {
            return wrong("hostname", format!("longer than {MAX_HOSTNAME} bytes"));
        }
        let words = [("argv", &self.argv), ("env", &self.env)];
        for (field, list) in words {
            if let Some(word) = list.iter().find(|word| word.contains('\0')) {
                return wrong(field, format!("{word:?} holds a zero byte"));
            }
        }
        for (field, path) in self.paths() {
            if !path.is_absolute() {
                return wrong(field, format!("{} is not absolute", path.display()));
            }
            let Some(text) = path.to_str() else {
                return wrong(field, format!("{} is not UTF-8", path.display()));
            };
            if text.contains('\0') {
                return wrong(field, format!("{text:?} holds a zero byte"));
            }
        }
        Ok(())
    }

    fn check_mounts(&self) -> Result<(), Error> {
        let wrong = |field, reason: String| Err(Error::Spec { field, reason });
        let mut hidden: usize = self
            .hidden_env
            .iter()
            .map(|(_, value)| value.expose().len())
            .sum();
        for mount in &self.mounts {
            match mount {
                MountSpec::File { content, .. } => hidden += content.expose().len(),
                MountSpec::Layers { lowers, .. } if lowers.is_empty() || lowers.len() > MAX_LOWERS => {
                    return wrong(
                        "mounts",
                        format!("{} layers, at least 1 and at most {MAX_LOWERS}", lowers.len()),
                    );
                }
                MountSpec::Layers { .. } | MountSpec::Bind { .. } | MountSpec::Tmpfs { .. } => {}
            }
        }
        if hidden > MAX_HIDDEN {
            return wrong(
                "secrets",
                format!("{hidden} bytes together, the most is {MAX_HIDDEN}"),
            );
        }
        for (name, value) in &self.hidden_env {
            if name.is_empty() || name.contains(['=', '\0']) {
                return wrong("hidden_env", format!("{name:?} cannot name a variable"));
            }
            if value.expose().contains(&0) {
                return wrong("hidden_env", format!("the value of {name} holds a zero byte"));
            }
        }
        Ok(())
    }

    fn paths(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let lowers = self.lowers.iter().map(|path| ("lowers", path.as_path()));
        let files = [("resolv_conf", &self.resolv_conf), ("hosts", &self.hosts)];
        let files = files
            .into_iter()
            .filter_map(|(field, path)| Some((field, path.as_deref()?)));
        let sources = self.mounts.iter().flat_map(MountSpec::sources);
        let sources = sources.map(|path| ("mounts", path));
        let targets = self.mounts.iter().map(|mount| ("mounts", mount.target()));
        let dirs = [
            ("upper", self.upper.as_path()),
            ("work", &self.work),
            ("cwd", &self.cwd),
        ];
        lowers.chain(dirs).chain(files).chain(sources).chain(targets)
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_HIDDEN, MountSpec, Network, Resource, Rlimit, Scratch, Security, Spec};
    use crate::error::Error;
    use crate::hidden::Hidden;
    use crate::limits::Limits;

    fn spec() -> Spec {
        Spec {
            lowers: vec!["/l/1".into(), "/l/0".into()],
            upper: "/u".into(),
            work: "/w".into(),
            argv: vec!["true".to_owned()],
            env: vec!["A=b".to_owned()],
            hidden_env: vec![("S".to_owned(), Hidden::from(b"s".to_vec()))],
            cwd: "/".into(),
            user: "0:0".to_owned(),
            hostname: "h".to_owned(),
            network: Network::None,
            resolv_conf: Some("/r".into()),
            hosts: None,
            mounts: vec![MountSpec::Tmpfs {
                target: "/t".into(),
                size: Some(4096),
                mode: 0o1777,
            }],
            rlimits: vec![Rlimit {
                resource: Resource::Nofile,
                soft: Some(10),
                hard: None,
            }],
            limits: Limits {
                memory: Some(1 << 26),
                ..Limits::default()
            },
            processes: Some(100),
            shm_size: 1 << 26,
            security: Security::Sandbox,
            terminal: false,
        }
    }

    fn layers(count: usize, path: &str) -> MountSpec {
        MountSpec::Layers {
            lowers: vec!["/l".into(); count],
            path: path.into(),
            target: "/t".into(),
            scratch: Some(Scratch {
                upper: "/u".into(),
                work: "/w".into(),
            }),
        }
    }

    #[test]
    fn survives_the_wire() {
        let text = serde_json::to_string(&spec()).unwrap();
        assert_eq!(serde_json::from_str::<Spec>(&text).unwrap(), spec());
        let unknown = text.replacen('{', "{\"surplus\":1,", 1);
        assert!(serde_json::from_str::<Spec>(&unknown).is_err());
    }

    #[test]
    fn names_the_wrong_field() {
        type Break = fn(&mut Spec);
        let table: [(&str, Break); 14] = [
            ("argv", |s| s.argv.clear()),
            ("argv", |s| s.argv.push("a\0b".to_owned())),
            ("env", |s| s.env.push("A=\0".to_owned())),
            ("upper", |s| s.upper = "u".into()),
            ("cwd", |s| s.cwd = "".into()),
            ("lowers", |s| s.lowers = vec!["/x".into(); 501]),
            ("hostname", |s| s.hostname = "h".repeat(65)),
            ("mounts", |s| {
                s.mounts = vec![MountSpec::Tmpfs {
                    target: "t".into(),
                    size: None,
                    mode: 0,
                }]
            }),
            ("mounts", |s| s.mounts = vec![layers(0, "/")]),
            ("mounts", |s| s.mounts = vec![layers(501, "/")]),
            ("mounts", |s| s.mounts = vec![layers(1, "a")]),
            ("secrets", |s| {
                s.hidden_env[0].1 = Hidden::from(vec![1; MAX_HIDDEN + 1])
            }),
            ("hidden_env", |s| s.hidden_env[0].1 = Hidden::from(vec![0])),
            ("hidden_env", |s| s.hidden_env[0].0 = "a=b".to_owned()),
        ];
        spec().check().unwrap();
        for (expected, break_it) in table {
            let mut spec = spec();
            break_it(&mut spec);
            match spec.check() {
                Err(Error::Spec { field, .. }) => assert_eq!(field, expected),
                other => panic!("{expected}: {other:?}"),
            }
        }
    }

    #[test]
    fn resources_have_dockers_names() {
        assert_eq!(Resource::from_name("nofile"), Some(Resource::Nofile));
        assert_eq!(Resource::from_name("rttime"), Some(Resource::Rttime));
        assert_eq!(Resource::from_name("NOFILE"), None);
        assert_eq!(Resource::from_name(""), None);
    }
}
