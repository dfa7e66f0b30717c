//! What a client hands over with a build: contexts, a Dockerfile of its own, secrets and agents.

use std::fmt;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use mica_layer::Meta;
use mica_oci::Digest;

/// Where files to copy from come from.
pub enum Source {
    /// Nowhere: there are none.
    Empty,
    /// A tar in any compression.
    Tar(Box<dyn Read + Send>),
    /// A folder of this machine, open for reading.
    Folder(OwnedFd),
    /// A folder of a client's that sends its files as they are wanted.
    Synced(ClientFolder),
    /// A repository or an archive at an address, as `ADD` takes them; a text that is no archive is the Dockerfile.
    Address(String),
    /// The file system of an image.
    Image(String),
    /// The file system of an image in a folder of this machine that is an OCI layout.
    Layout {
        /// The folder, open for reading.
        folder: OwnedFd,
        /// Which of its images: a tag or a digest; the only one if `None`.
        image: Option<String>,
    },
    /// The file system of an image whose blobs lie elsewhere.
    Blobs {
        /// Who has them.
        blobs: Box<dyn Blobs>,
        /// The digest of its manifest, or of an index that has it.
        image: Digest,
    },
}

/// Gives blobs by their digests. Nothing that it gives is believed: who asks checks the bytes.
pub trait Blobs: Send + Sync {
    /// The bytes of a blob. They may be others than asked for, and any number of them.
    ///
    /// # Errors
    /// If there is no such blob, or nobody answers. Reading fails in the same cases.
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send>>;
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Tar(_) => "Tar",
            Self::Folder(_) => "Folder",
            Self::Synced(_) => "Synced",
            Self::Address(_) => "Address",
            Self::Image(_) => "Image",
            Self::Layout { .. } => "Layout",
            Self::Blobs { .. } => "Blobs",
        })
    }
}

/// A folder of a client's, which tells of its files first and sends those that are wanted.
pub struct ClientFolder {
    /// What it is called from build to build: files that look the same under the same name are the same.
    pub key: String,
    /// Its files, directories before what is in them.
    pub files: Vec<ClientFile>,
    /// Name and text of the ignore file that the client was told to go by.
    pub ignore: Option<(String, Vec<u8>)>,
    /// Who sends them.
    pub sender: Box<dyn FileSender>,
}

/// A file of a client's folder.
#[derive(Debug, Clone)]
pub struct ClientFile {
    /// Its number, to ask for it.
    pub number: u32,
    /// Where it is in the folder.
    pub path: Vec<u8>,
    /// All else that is told of it.
    pub meta: Meta,
    /// The path of a file told before, of which this is another name.
    pub link: Option<Vec<u8>>,
}

/// Sends files of a client's folder.
pub trait FileSender: Send {
    /// Gets the files of these numbers and hands their bytes to `take`, files in any order or mixed; no bytes are the end
    /// of a file. Returns when all of them have ended.
    ///
    /// # Errors
    /// If they cannot be had, or `take` fails.
    fn send(&mut self, numbers: &[u32], take: &mut dyn FnMut(u32, &[u8]) -> io::Result<()>)
    -> io::Result<()>;
}

/// A value that reaches single RUN steps and no layer, key, log or file. Its `Debug` does not show it.
#[derive(Clone)]
pub struct Secret {
    /// What `--mount=type=secret,id=` calls it.
    pub id: String,
    /// The value.
    pub value: Arc<[u8]>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// An agent that holds the client's SSH keys.
#[derive(Debug, Clone)]
pub struct Agent {
    /// What `--mount=type=ssh,id=` calls it.
    pub id: String,
    /// Its socket, open as a path (`O_PATH`), so that it can be connected to any number of times.
    pub socket: Arc<OwnedFd>,
}

/// Lends what reaches single RUN steps. It is asked on the builder's threads, and may make them wait for the client.
pub trait Lender: Send + Sync {
    /// The secret of this ID, if the client has it.
    ///
    /// # Errors
    /// Why the client cannot be asked.
    fn secret(&self, id: &str) -> Result<Option<Secret>, String>;

    /// The agent of this ID, if the client has it.
    ///
    /// # Errors
    /// Why the client cannot be asked.
    fn agent(&self, id: &str) -> Result<Option<Agent>, String>;
}

/// What came with the request itself.
#[derive(Debug, Clone, Default)]
pub struct Handed {
    /// Secrets for RUN.
    pub secrets: Vec<Secret>,
    /// Agents for RUN.
    pub agents: Vec<Agent>,
}

impl Lender for Handed {
    fn secret(&self, id: &str) -> Result<Option<Secret>, String> {
        Ok(self.secrets.iter().find(|secret| secret.id == id).cloned())
    }

    fn agent(&self, id: &str) -> Result<Option<Agent>, String> {
        Ok(self.agents.iter().find(|agent| agent.id == id).cloned())
    }
}

/// All that a client hands over with a build.
pub struct Input {
    /// The Dockerfile itself, where it is no file of the context.
    pub dockerfile: Option<Vec<u8>>,
    /// The build context.
    pub context: Source,
    /// `--build-context`: what takes the place of stages and images of that name.
    pub named: Vec<(String, Source)>,
    /// Who lends secrets and agents to RUN.
    pub lender: Box<dyn Lender>,
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input")
            .field("context", &self.context)
            .field("named", &self.named)
            .finish_non_exhaustive()
    }
}

impl Input {
    /// A context and nothing else.
    #[must_use]
    pub fn of(context: Source) -> Self {
        Self {
            dockerfile: None,
            context,
            named: Vec::new(),
            lender: Box::new(Handed::default()),
        }
    }
}
