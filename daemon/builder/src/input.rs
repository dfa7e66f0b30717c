//! What a client hands over with a build: contexts, a Dockerfile of its own, secrets and agents.

use std::fmt;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Where files to copy from come from.
pub enum Source {
    /// Nowhere: there are none.
    Empty,
    /// A tar in any compression.
    Tar(Box<dyn Read + Send>),
    /// A folder of this machine, open for reading.
    Folder(OwnedFd),
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
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Tar(_) => "Tar",
            Self::Folder(_) => "Folder",
            Self::Address(_) => "Address",
            Self::Image(_) => "Image",
            Self::Layout { .. } => "Layout",
        })
    }
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

/// All that a client hands over with a build.
#[derive(Debug)]
pub struct Input {
    /// The Dockerfile itself, where it is no file of the context.
    pub dockerfile: Option<Vec<u8>>,
    /// The build context.
    pub context: Source,
    /// `--build-context`: what takes the place of stages and images of that name.
    pub named: Vec<(String, Source)>,
    /// Secrets for RUN.
    pub secrets: Vec<Secret>,
    /// Agents for RUN.
    pub agents: Vec<Agent>,
}

impl Input {
    /// A context and nothing else.
    #[must_use]
    pub fn of(context: Source) -> Self {
        Self {
            dockerfile: None,
            context,
            named: Vec::new(),
            secrets: Vec::new(),
            agents: Vec::new(),
        }
    }
}
