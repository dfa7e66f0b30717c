//! What the builder needs of others: base images, and someone to run a process.

use std::path::PathBuf;

use mica_oci::{DiffId, ImageConfig, ImageId, Platform};
use mica_store::Lease;
use mica_task::{Cancel, Stream};

/// The error of a port, to be shown as it is.
pub type PortError = Box<dyn std::error::Error + Send + Sync>;

/// An image to build on or to copy from.
#[derive(Debug, Clone)]
pub struct BaseImage {
    /// Its identity.
    pub id: ImageId,
    /// Its config.
    pub config: ImageConfig,
    /// Its layers, lowest first.
    pub layers: Vec<DiffId>,
}

/// Finds images by the names people write.
pub trait Images: Send + Sync {
    /// The image called `name`, by name, tag, short or full ID. Its layers are held by `lease`.
    fn resolve(
        &self,
        name: &str,
        platform: Option<&Platform>,
        lease: &Lease,
        cancel: &Cancel,
    ) -> Result<BaseImage, PortError>;
}

/// Which network a process sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// The host's.
    #[default]
    Host,
    /// Loopback only.
    None,
}

/// A limit of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ulimit {
    /// Docker's name for it: `nofile`, `nproc`, …
    pub name: String,
    /// What the process gets; -1 for no limit.
    pub soft: i64,
    /// What it may raise it to; -1 for no limit.
    pub hard: i64,
}

/// Something of the host a process sees at a path of its own.
#[derive(Debug, Clone)]
pub struct Bind {
    /// A file or folder of the host.
    pub source: PathBuf,
    /// Where it is seen.
    pub target: PathBuf,
}

/// All a RUN may see and be.
#[derive(Debug, Clone)]
pub struct Process {
    /// The trees below, lowest first.
    pub lowers: Vec<PathBuf>,
    /// Where changes go: an empty folder.
    pub upper: PathBuf,
    /// An empty folder on the same file system as `upper`.
    pub work: PathBuf,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// `NAME=value`
    pub env: Vec<String>,
    /// Working directory in the image.
    pub cwd: String,
    /// USER, verbatim.
    pub user: String,
    /// What the host is called inside.
    pub hostname: String,
    /// Which network is seen.
    pub network: Network,
    /// `(name, address)` for /etc/hosts.
    pub extra_hosts: Vec<(String, String)>,
    /// Limits.
    pub ulimits: Vec<Ulimit>,
    /// Size of /dev/shm in bytes.
    pub shm_size: Option<u64>,
    /// What else is seen, read-only.
    pub binds: Vec<Bind>,
}

/// Runs processes.
pub trait Executor: Send + Sync {
    /// Says why no process can be run at all, if that is known before anything is done.
    fn ready(&self) -> Result<(), PortError>;

    /// Runs to the end, or kills all of it once `cancel` says so. Gives the exit code, 128 + N for signal N.
    fn run(
        &self,
        process: &Process,
        output: &mut dyn FnMut(Stream, &[u8]),
        cancel: &Cancel,
    ) -> Result<i32, PortError>;
}
