//! What the builder needs of others: base images, what lies at addresses, and someone to run a process.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use mica_layer::ImagePath;
use mica_oci::{CacheKey, DiffId, Digest, ImageConfig, ImageId, Platform};
use mica_store::{CacheRecord, Lease};
use mica_task::{Cancel, Stream};

use crate::input::{Agent, Blobs, Secret};

pub use crate::address::{Commit, GitAddress, shown as shown_address};
pub use crate::limits::Limits;

/// The error of a port, to be shown as it is.
pub type PortError = Box<dyn std::error::Error + Send + Sync>;

/// An image to build on or to copy from.
#[derive(Debug, Clone)]
pub struct BaseImage {
    /// Its identity.
    pub id: ImageId,
    /// The digest it has in the registry that it is from: of its manifest or its index. `None` for what was made here.
    pub manifest: Option<Digest>,
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

/// A step that a cache elsewhere knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownStep {
    /// Its inputs.
    pub key: CacheKey,
    /// What it gave; the layer need not be here.
    pub record: CacheRecord,
}

/// A step that this build did or found done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeStep {
    /// Inputs that lead to it; at least one.
    pub keys: Vec<CacheKey>,
    /// What it gave.
    pub record: CacheRecord,
    /// Whether its layer is in the image.
    pub in_image: bool,
}

/// Build caches that lie elsewhere.
pub trait Caches: Send + Sync {
    /// The steps that the cache of this name knows; `None` if an image is called so. No layer is fetched.
    fn known(&self, name: &str, lease: &Lease, cancel: &Cancel) -> Result<Option<Vec<KnownStep>>, PortError>;

    /// Brings layers here that the cache of this name knows; they are held by `lease`. Each was looked into and holds what
    /// its name says.
    fn bring(&self, name: &str, layers: &[DiffId], lease: &Lease, cancel: &Cancel) -> Result<(), PortError>;

    /// Takes what a build did, for those caches that are to be written. Layers that are here are held by `lease`.
    fn keep(&self, made: Vec<MadeStep>, lease: &Lease);
}

/// What every fetch is told.
pub struct Errand<'a> {
    /// Holds what comes of it.
    pub lease: &'a Lease,
    /// When to stop.
    pub cancel: &'a Cancel,
    /// Hears now and then how many bytes came, and of how many where that is known.
    pub tell: &'a (dyn Fn(u64, Option<u64>) + Sync),
}

/// A file that was fetched, in a layer of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// The layer.
    pub layer: DiffId,
    /// Where it is in the layer.
    pub path: ImagePath,
    /// The digest of its bytes.
    pub digest: Digest,
    /// When the server says that it changed last, in seconds since 1970.
    pub modified: Option<i64>,
}

/// Fetches what is not in the context. Nothing of it is unpacked or carried out.
pub trait Fetch: Send + Sync {
    /// The file at an http or https address, asked for again only as far as the server says that it changed, and not at
    /// all where a file with the digest `expected` came from there before. A file with another digest is an error.
    fn file(&self, url: &str, expected: Option<Digest>, errand: &Errand<'_>)
    -> Result<RemoteFile, PortError>;

    /// The commit that an address means now. One that does not begin with the address's checksum is an error.
    fn commit(&self, git: &GitAddress, errand: &Errand<'_>) -> Result<Commit, PortError>;

    /// All files of a commit as a layer, those of its submodules included if the address asks for them.
    fn checkout(&self, git: &GitAddress, commit: &Commit, errand: &Errand<'_>) -> Result<DiffId, PortError>;

    /// An image of an OCI layout, taken into the store without a name: `image` is its tag or digest, the only one if `None`.
    fn layout(
        &self,
        folder: &OwnedFd,
        image: Option<&str>,
        platform: &Platform,
        errand: &Errand<'_>,
    ) -> Result<BaseImage, PortError>;

    /// An image whose blobs lie elsewhere, taken into the store without a name: `image` is the digest of its manifest, or of
    /// an index that has one for the platform. Blobs that are here are not asked for.
    fn image(
        &self,
        blobs: &dyn Blobs,
        image: &Digest,
        platform: &Platform,
        errand: &Errand<'_>,
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

/// How much a process may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Security {
    /// What any RUN may.
    #[default]
    Sandbox,
    /// Everything the daemon may.
    Insecure,
}

/// Something a process sees at a path of its own.
#[derive(Debug, Clone)]
pub struct Mount {
    /// Where it is seen: an absolute path.
    pub target: PathBuf,
    /// What is seen.
    pub source: MountSource,
}

/// What a mount shows.
#[derive(Debug, Clone)]
pub enum MountSource {
    /// A file or folder of the host.
    Host {
        /// Its path.
        path: PathBuf,
        /// Whether writing to it fails.
        read_only: bool,
    },
    /// A file or folder of the tree that layers make together.
    Layers {
        /// Their trees, lowest first; at least one.
        lowers: Vec<PathBuf>,
        /// The path in it, from its root and without symbolic links.
        path: PathBuf,
        /// Where writes go, which nobody keeps; without it writing fails.
        scratch: Option<Scratch>,
    },
    /// An empty file system in memory.
    Memory {
        /// The most it may hold, in bytes.
        size: Option<u64>,
        /// Permission bits of its root.
        mode: u32,
    },
    /// A read-only file that lies nowhere but in memory.
    Secret {
        /// What is in it.
        secret: Secret,
        /// Whose it is, and who may read it.
        access: Access,
    },
    /// A socket at which the client's agent answers as long as the process runs.
    Agent {
        /// The agent.
        agent: Agent,
        /// Whose it is, and who may use it.
        access: Access,
    },
}

/// Two empty folders on one file system.
#[derive(Debug, Clone)]
pub struct Scratch {
    /// Where what is written ends up.
    pub upper: PathBuf,
    /// For the overlay's own use.
    pub work: PathBuf,
}

/// Owner and permission bits of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
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
    /// How much of the machine it may use.
    pub limits: Limits,
    /// Size of /dev/shm in bytes.
    pub shm_size: Option<u64>,
    /// Variables whose values are secrets; they win over `env`.
    pub secret_env: Vec<(String, Secret)>,
    /// How much it may do.
    pub security: Security,
    /// What else is seen, mounted in this order.
    pub mounts: Vec<Mount>,
}

/// Whether programs for some platform can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Runs {
    /// They can.
    Always,
    /// They can if this file is in their image.
    With {
        /// Its absolute path.
        interpreter: String,
        /// What is said where it is not.
        reason: String,
    },
    /// They cannot.
    Not {
        /// Why, and what to do.
        reason: String,
    },
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code, 128 + N for signal N.
    pub code: i32,
    /// Whether something of it was killed because the memory that it may use was full.
    pub out_of_memory: bool,
    /// Whether the disk that it wrote to was full, at its end or when it said so.
    pub disk_full: bool,
}

/// Runs processes.
pub trait Executor: Send + Sync {
    /// Says why no process can be run at all, if that is known before anything is done.
    fn ready(&self) -> Result<(), PortError>;

    /// Whether programs for `platform` can be run.
    fn runs(&self, platform: &Platform) -> Runs;

    /// Runs to the end, or kills all of it once `cancel` says so.
    fn run(
        &self,
        process: &Process,
        output: &mut dyn FnMut(Stream, &[u8]),
        cancel: &Cancel,
    ) -> Result<Ended, PortError>;
}
