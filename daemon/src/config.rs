//! The settings: command line over settings file over defaults.

mod manual;
mod options;

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use mica_engine::{Engine, Folders, Keeping, Proxies, RegistrySettings, Space};
use serde::Deserialize;

use crate::error::Error;
use crate::log;
use crate::rights::{Rights, RightsFile};

pub(crate) use crate::config::manual::write as write_manual;

/// The command line, with dockerd's names for what dockerd has too.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "micad",
    version,
    about = "Builds and keeps container images behind the Docker Engine API"
)]
pub(crate) struct Arguments {
    /// Listen here: unix://PATH, or fd:// for sockets handed over by the service manager; may be repeated
    #[arg(short = 'H', long = "host", value_name = "ADDRESS")]
    hosts: Vec<String>,

    /// Keep images, layers and the build cache here
    #[arg(long, value_name = "DIR")]
    data_root: Option<PathBuf>,

    /// Read settings from this JSON file
    #[arg(long, value_name = "FILE")]
    config_file: Option<PathBuf>,

    /// Keep no more than this of the build cache: bytes, 20GB or 10% of the disk [default: 80%, at most 100 GB]
    #[arg(long, value_name = "SPACE")]
    gc_max_used_space: Option<Space>,

    /// Remove build cache until so much of the disk is free [default: 20%, at most 20 GB]
    #[arg(long, value_name = "SPACE")]
    gc_min_free_space: Option<Space>,

    /// Keep so much of the build cache in any case [default: 10%, at most 10 GB]
    #[arg(long, value_name = "SPACE")]
    gc_reserved_space: Option<Space>,

    /// Never remove build cache without being asked
    #[arg(long)]
    no_gc: bool,

    /// Leave after so many seconds without connections and work; 0 stays
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    idle_timeout: u64,

    /// Let builds and transfers go on for so many seconds after micad was told to leave [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = options::number("shutdown-timeout"))]
    shutdown_timeout: Option<u64>,

    /// Log so much [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<log::Level>,

    /// Write lines of the log like this [default: text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<log::Format>,

    /// Look whether the settings can be used, and leave
    #[arg(long, visible_alias = "validate")]
    pub(crate) check_config: bool,

    /// Make the database of images again from the files, where it is lost or damaged, and leave
    #[arg(long, conflicts_with = "check_config")]
    pub(crate) rebuild: bool,

    /// Write the manual into this folder, and leave
    #[arg(long, value_name = "DIR", hide = true)]
    pub(crate) write_manual: Option<PathBuf>,
}

/// How long builds and transfers may go on after the daemon was told to leave, if nothing is said, in seconds.
const SHUTDOWN_SECONDS: u64 = 10;
/// Where the rights of a daemon are named whose user has no place for settings.
const NO_FILE: &str = "daemon.json";

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// What the service manager hands over.
    Activation,
}

/// What is known of registries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Registries {
    /// Where Docker Hub's images may come from too.
    pub(crate) mirrors: Vec<String>,
    /// Hosts and networks whose registries need no TLS.
    pub(crate) insecure: Vec<String>,
}

impl Registries {
    /// All that is known of registries: these settings, the proxies of the environment, and the files where they usually lie.
    pub(crate) fn into_settings(self) -> Result<RegistrySettings, Error> {
        let proxies = Proxies::from_environment(|name| env::var(name).ok())
            .map_err(|error| setting(&error.to_string()))?;
        Ok(RegistrySettings {
            mirrors: self.mirrors,
            insecure: self.insecure,
            proxies,
            folders: Folders::default(),
        })
    }
}

/// The settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Where to listen; empty means the default address, or only the handed-over sockets if there are any.
    pub(crate) addresses: Vec<Address>,
    /// Where to listen if nothing else is said.
    pub(crate) default_address: Option<PathBuf>,
    /// Where the store is.
    pub(crate) root: PathBuf,
    /// How long to stay without anything to do; for ever if `None`.
    pub(crate) idle: Option<Duration>,
    /// What is known of registries.
    pub(crate) registries: Registries,
    /// Whether builds may ask for `RUN --security=insecure`.
    pub(crate) insecure_allowed: bool,
    /// What the build cache is kept within.
    pub(crate) keeping: Keeping,
    /// The settings file, whether it is there or not.
    pub(crate) file: PathBuf,
    /// Who may do what.
    pub(crate) rights: Rights,
    /// How much is logged.
    pub(crate) log_level: log::Level,
    /// How lines of the log look.
    pub(crate) log_format: log::Format,
    /// How long builds and transfers may go on after the daemon was told to leave.
    pub(crate) shutdown: Duration,
}

/// The settings file. A key that is not known is an error: it would otherwise be a setting without effect.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct File {
    hosts: Vec<String>,
    data_root: Option<PathBuf>,
    registry_mirrors: Vec<String>,
    insecure_registries: Vec<String>,
    builder: BuilderFile,
    rights: RightsFile,
    log_level: Option<log::Level>,
    log_format: Option<log::Format>,
    shutdown_timeout: Option<u64>,
}

/// What the settings file says of builds, as dockerd's does.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct BuilderFile {
    entitlements: Entitlements,
    gc: GcFile,
}

/// What the build cache is kept within. The keys are dockerd's.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct GcFile {
    enabled: Option<bool>,
    default_keep_storage: Option<String>,
    default_reserved_space: Option<String>,
    default_max_used_space: Option<String>,
    default_min_free_space: Option<String>,
}

impl GcFile {
    fn keeping(&self, arguments: &Arguments) -> Result<Keeping, String> {
        let read = |key: &str, said: &Option<String>| {
            let space = said.as_deref().map(str::parse).transpose();
            space.map_err(|reason: String| format!("`builder.gc.{key}`: {reason}"))
        };
        let reserved = read("defaultReservedSpace", &self.default_reserved_space)?;
        let older = read("defaultKeepStorage", &self.default_keep_storage)?;
        let most = read("defaultMaxUsedSpace", &self.default_max_used_space)?;
        let free = read("defaultMinFreeSpace", &self.default_min_free_space)?;
        Ok(Keeping {
            enabled: !arguments.no_gc && self.enabled.unwrap_or(true),
            reserved: arguments.gc_reserved_space.or(reserved).or(older),
            most: arguments.gc_max_used_space.or(most),
            free: arguments.gc_min_free_space.or(free),
        })
    }
}

/// Rights that a build gets if its client allows them too.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Entitlements {
    security_insecure: bool,
}

/// The places this user's files are in.
#[derive(Debug, Clone)]
struct Places {
    root: bool,
    home: Option<PathBuf>,
    runtime: Option<PathBuf>,
    data: Option<PathBuf>,
    config: Option<PathBuf>,
}

impl Settings {
    /// Puts the settings together.
    pub(crate) fn read(arguments: Arguments) -> Result<Self, Error> {
        Self::combine(arguments, &Places::of_this_user())
    }

    /// Looks at what the daemon would only find out later.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let registries = self.registries.clone().into_settings()?;
        Engine::check_registries(registries)
            .map_err(|error| setting(&format!("{}: {}", self.file.display(), error.describe())))
    }

    /// The settings that differ and take effect only after a restart, by their keys.
    pub(crate) fn needs_restart(&self, new: &Self) -> Vec<&'static str> {
        [
            ("hosts", self.addresses != new.addresses),
            ("data-root", self.root != new.root),
        ]
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect()
    }

    fn combine(arguments: Arguments, places: &Places) -> Result<Self, Error> {
        let is_named = arguments.config_file.is_some();
        let path = arguments.config_file.clone().or_else(|| places.config_file());
        let file = match &path {
            Some(path) => read_file(path, is_named)?,
            None => File::default(),
        };
        let path = path.unwrap_or_else(|| PathBuf::from(NO_FILE));
        let in_file = |reason: &str| setting(&format!("{}: {reason}", path.display()));
        let keeping = file
            .builder
            .gc
            .keeping(&arguments)
            .map_err(|reason| in_file(&reason))?;
        let rights = Rights::resolve(&file.rights, &path).map_err(|reason| in_file(&reason))?;
        let hosts = match arguments.hosts.is_empty() {
            true => file.hosts,
            false => arguments.hosts,
        };
        let root = arguments
            .data_root
            .or(file.data_root)
            .or_else(|| places.data_root());
        let Some(root) = root else {
            return Err(setting(
                "neither XDG_DATA_HOME nor HOME is set: say --data-root DIR",
            ));
        };
        let root = std::path::absolute(&root).map_err(|source| Error::System {
            action: "find out the working directory",
            source,
        })?;
        if let Some(twice) = (1..hosts.len()).find(|at| hosts[..*at].contains(&hosts[*at])) {
            return Err(setting(&format!(
                "{} is to be listened on twice: name it once",
                hosts[twice]
            )));
        }
        let seconds = arguments.shutdown_timeout.or(file.shutdown_timeout);
        Ok(Self {
            rights,
            keeping,
            log_level: arguments.log_level.or(file.log_level).unwrap_or(log::Level::Info),
            log_format: arguments
                .log_format
                .or(file.log_format)
                .unwrap_or(log::Format::Text),
            shutdown: Duration::from_secs(seconds.unwrap_or(SHUTDOWN_SECONDS)),
            file: path,
            addresses: hosts.iter().map(|host| address(host)).collect::<Result<_, _>>()?,
            default_address: places.socket(),
            root,
            idle: Some(arguments.idle_timeout)
                .filter(|seconds| *seconds > 0)
                .map(Duration::from_secs),
            registries: Registries {
                mirrors: file.registry_mirrors,
                insecure: file.insecure_registries,
            },
            insecure_allowed: file.builder.entitlements.security_insecure,
        })
    }
}

impl Places {
    fn of_this_user() -> Self {
        // the base directory specification: paths that are not absolute are to be ignored
        let path = |name| {
            env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        Self {
            root: rustix::process::geteuid().is_root(),
            home: path("HOME"),
            runtime: path("XDG_RUNTIME_DIR"),
            data: path("XDG_DATA_HOME"),
            config: path("XDG_CONFIG_HOME"),
        }
    }

    fn config_file(&self) -> Option<PathBuf> {
        if self.root {
            return Some(PathBuf::from("/etc/mica/daemon.json"));
        }
        let folder = self
            .config
            .clone()
            .or_else(|| Some(self.home.as_ref()?.join(".config")))?;
        Some(folder.join("mica/daemon.json"))
    }

    fn data_root(&self) -> Option<PathBuf> {
        if self.root {
            return Some(PathBuf::from("/var/lib/mica"));
        }
        let folder = self
            .data
            .clone()
            .or_else(|| Some(self.home.as_ref()?.join(".local/share")))?;
        Some(folder.join("mica"))
    }

    fn socket(&self) -> Option<PathBuf> {
        if self.root {
            return Some(PathBuf::from("/run/mica/mica.sock"));
        }
        Some(self.runtime.as_ref()?.join("mica/mica.sock"))
    }
}

fn read_file(path: &Path, needed: bool) -> Result<File, Error> {
    let bytes = match fs_err::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !needed => return Ok(File::default()),
        Err(source) => return Err(Error::ReadConfig { source }),
    };
    let invalid = |source| Error::ParseConfig {
        path: path.to_owned(),
        source,
    };
    // this names what is wrong, the other one makes sure that nothing else is
    options::check(&serde_json::from_slice(&bytes).map_err(invalid)?).map_err(|wrong| Error::Option {
        path: path.to_owned(),
        line: options::line_of(&String::from_utf8_lossy(&bytes), &wrong.key),
        reason: wrong.reason,
    })?;
    serde_json::from_slice(&bytes).map_err(invalid)
}

fn address(host: &str) -> Result<Address, Error> {
    match host.split_once("://") {
        Some(("unix", path)) if path.starts_with('/') => Ok(Address::Unix(PathBuf::from(path))),
        Some(("unix", path)) => Err(setting(&format!(
            "the path of a socket must be absolute: unix:///{path}"
        ))),
        Some(("fd", _)) => Ok(Address::Activation),
        Some((scheme, _)) => Err(setting(&format!(
            "cannot listen on {host}: {scheme} is not supported, only unix:// and fd:// are"
        ))),
        None if host.starts_with('/') => Ok(Address::Unix(PathBuf::from(host))),
        None => Err(setting(&format!("cannot listen on {host:?}: say unix:///PATH"))),
    }
}

fn setting(reason: &str) -> Error {
    Error::Setting {
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests;
