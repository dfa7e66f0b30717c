//! Why an image could not be built.

use mica_dockerfile::{BadPattern, ExpandError, MountError, ParseError};
use mica_store::is_full_disk;
use thiserror::Error;

use crate::ports::Ended;

/// A text that should have been an address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("cannot fetch from {address:?}: {reason}")]
pub struct BadAddress {
    /// The text, without what may be a password.
    pub address: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Why an image could not be built.
#[derive(Debug, Error)]
pub enum Error {
    /// The Dockerfile is not one.
    #[error(transparent)]
    Parse(ParseError),
    /// There is no such file in the context.
    #[error("Cannot locate specified Dockerfile: {0}")]
    NoDockerfile(String),
    /// The file has no instructions.
    #[error("the Dockerfile ({0}) cannot be empty")]
    EmptyDockerfile(String),
    /// The file is longer than any Dockerfile.
    #[error("the Dockerfile ({name}) is larger than {limit} bytes")]
    LargeDockerfile {
        /// Its path in the context.
        name: String,
        /// The most that is read.
        limit: u64,
    },
    /// The ignore file is not one.
    #[error("{file}: {reason}")]
    IgnoreFile {
        /// Its path in the context.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// `--target` names no stage.
    #[error("target stage \"{0}\" could not be found")]
    Target(String),
    /// The Dockerfile asks for another builder.
    #[error(
        "line {line}: syntax {name:?} is not built in: only docker/dockerfile frontends are, remove the line or name one of those"
    )]
    Syntax {
        /// Where.
        line: u32,
        /// The frontend image.
        name: String,
    },
    /// The Dockerfile uses what this program cannot do yet.
    #[error("line {line}: {what} is not supported yet")]
    Unsupported {
        /// Where.
        line: u32,
        /// The instruction and its flag.
        what: String,
    },
    /// An instruction is wrong or could not be carried out.
    #[error("line {line}: {instruction}")]
    Step {
        /// Where.
        line: u32,
        /// The instruction as written, shortened.
        instruction: String,
        /// What is wrong.
        #[source]
        problem: StepError,
    },
    /// A RUN ended with another code than 0.
    #[error("The command '{command}' returned a non-zero code: {}{}", ended.code, want_of_memory(*ended))]
    Run {
        /// Where.
        line: u32,
        /// What was run, words joined by blanks.
        command: String,
        /// How it ended.
        ended: Ended,
    },
    /// The uploaded context is no tar, or could not be kept.
    #[error("cannot read the build context")]
    Context(#[source] mica_layer::Error),
    /// The uploaded context broke off, or is in no known compression.
    #[error("cannot read the build context")]
    ContextIo(#[source] std::io::Error),
    /// A context of a kind that cannot be used in this place.
    #[error("a context of this kind cannot be the build context: {0}")]
    Source(String),
    /// The address of a context is none.
    #[error(transparent)]
    Address(#[from] BadAddress),
    /// What a context's address leads to could not be fetched or used.
    #[error("cannot use the context at {address}")]
    RemoteContext {
        /// The address, without what may be a password.
        address: String,
        /// What is wrong.
        #[source]
        problem: StepError,
    },
    /// A named context is called something that no stage or image can be called, or is of no use.
    #[error("--build-context {name}")]
    NamedContext {
        /// Its name.
        name: String,
        /// What is wrong.
        #[source]
        problem: StepError,
    },
    /// What is in the image could not be listed.
    #[error("cannot list what is in the image with {generator}")]
    Sbom {
        /// The image that should have done it.
        generator: String,
        /// What is wrong.
        #[source]
        problem: StepError,
    },
    /// The store failed.
    #[error("cannot use the store")]
    Store(#[from] mica_store::Error),
    /// A document could not be written.
    #[error("cannot write the image config")]
    Document(#[from] mica_oci::DocumentError),
    /// `# check=` is wrong, or asks for findings to be errors and there is one.
    #[error("check: {0}")]
    Check(String),
    /// SOURCE_DATE_EPOCH is no number.
    #[error("invalid SOURCE_DATE_EPOCH {0:?}: expected seconds since 1970")]
    Epoch(String),
    /// A second build of the same inputs came to another image.
    #[error("the build is not reproducible: a second one differs at {step}:\n{differences}")]
    NotReproducible {
        /// The history line of the first step that differs.
        step: String,
        /// A line for each file that differs, up to some number.
        differences: String,
    },
    /// Nobody wants the image any more.
    #[error("the build was cancelled")]
    Cancelled,
}

impl Error {
    /// Whether a full disk, or a quota that is used up, is at the bottom of it, as far as that is known here: see
    /// [`foreign`](Self::foreign).
    pub fn is_full_disk(&self) -> bool {
        match self {
            Self::Run { ended, .. } => ended.disk_full,
            Self::Context(error) => is_full_disk(error),
            Self::ContextIo(error) => is_full_disk(error),
            Self::Store(error) => error.is_full_disk(),
            _ => self.problem().is_some_and(StepError::is_full_disk),
        }
    }

    /// The error of a port that is at the bottom of it, if there is one.
    pub fn foreign(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.problem().and_then(StepError::foreign)
    }

    fn problem(&self) -> Option<&StepError> {
        match self {
            Self::Step { problem, .. }
            | Self::RemoteContext { problem, .. }
            | Self::NamedContext { problem, .. }
            | Self::Sbom { problem, .. } => Some(problem),
            _ => None,
        }
    }

    /// The first line of the instruction that it is about.
    pub fn line(&self) -> Option<u32> {
        match self {
            Self::Unsupported { line, .. } | Self::Step { line, .. } | Self::Run { line, .. } => Some(*line),
            _ => None,
        }
    }
}

impl From<mica_task::Cancelled> for Error {
    fn from(_: mica_task::Cancelled) -> Self {
        Self::Cancelled
    }
}

/// What is wrong with one instruction.
#[derive(Debug, Error)]
pub enum StepError {
    /// A word could not be expanded.
    #[error(transparent)]
    Expand(#[from] ExpandError),
    /// A pattern is not one.
    #[error("{pattern:?} is not a valid pattern")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What the matcher says.
        #[source]
        source: BadPattern,
    },
    /// The expanded value is not one this instruction takes.
    #[error("{0}")]
    Invalid(String),
    /// A source is not there. The text is one that clients look for.
    #[error("{verb} failed: file not found in {place}: stat {path}: file does not exist{hint}")]
    Missing {
        /// COPY or ADD.
        verb: &'static str,
        /// Where it was looked for: `build context or excluded by .dockerignore`, `stage "x"`, `image x`.
        place: String,
        /// The source as written.
        path: String,
        /// Why that may be, a colon in front; empty if nothing is known.
        hint: String,
    },
    /// It asks for what this program cannot do yet.
    #[error("{0} is not supported yet")]
    Unsupported(String),
    /// A mount is not one.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// A secret that is required was not handed over.
    #[error("secret {0}: not found: hand it over with --secret id={0},src=FILE")]
    NoSecret(String),
    /// An agent that is required was not handed over.
    #[error("ssh agent {0}: not found: hand it over with --ssh {0}")]
    NoAgent(String),
    /// Rights that somebody has to give first.
    #[error("{right} is not allowed: {remedy}")]
    NotAllowed {
        /// What is asked for.
        right: &'static str,
        /// What would allow it.
        remedy: &'static str,
    },
    /// An archive that ADD unpacks is damaged, or does not fit where it goes.
    #[error("cannot unpack {path}")]
    Archive {
        /// The archive as the instruction names it.
        path: String,
        /// What is wrong.
        #[source]
        source: Box<StepError>,
    },
    /// A stage that only a trigger names could not be built.
    #[error(transparent)]
    Stage(Box<Error>),
    /// The base image, or the one of `--from`, is not there.
    #[error(transparent)]
    Image(Box<dyn std::error::Error + Send + Sync>),
    /// A source that should have been an address is none.
    #[error(transparent)]
    Address(#[from] BadAddress),
    /// What lies at an address could not be fetched.
    #[error(transparent)]
    Fetch(Box<dyn std::error::Error + Send + Sync>),
    /// The process could not be started.
    #[error(transparent)]
    Execute(Box<dyn std::error::Error + Send + Sync>),
    /// A layer could not be read or written.
    #[error(transparent)]
    Layer(#[from] mica_layer::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] mica_store::Error),
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Nobody wants the image any more.
    #[error("cancelled")]
    Cancelled(#[from] mica_task::Cancelled),
    /// The process ended with another code than 0.
    #[error("exit code {}", ended.code)]
    Exit {
        /// What was run.
        command: String,
        /// How it ended.
        ended: Ended,
    },
}

/// BuildKit's words for a RUN that failed, which people look for: of one that was killed for want of memory it says that,
/// and no code.
pub fn unsuccessful(command: &str, ended: Ended) -> String {
    const KILLED: i32 = 137;
    let how = match ended {
        Ended {
            code: KILLED,
            out_of_memory: true,
            ..
        } => NO_MEMORY.to_owned(),
        _ => format!("exit code: {}{}", ended.code, want_of_memory(ended)),
    };
    format!("process \"{command}\" did not complete successfully: {how}")
}

/// The system's text for `ENOMEM`.
const NO_MEMORY: &str = "cannot allocate memory";

fn want_of_memory(ended: Ended) -> String {
    match ended.out_of_memory {
        true => format!(": {NO_MEMORY}"),
        false => String::new(),
    }
}

impl StepError {
    fn is_full_disk(&self) -> bool {
        match self {
            Self::Archive { source, .. } => source.is_full_disk(),
            Self::Stage(error) => error.is_full_disk(),
            Self::Layer(error) => is_full_disk(error),
            Self::Store(error) => error.is_full_disk(),
            Self::Io(error) => is_full_disk(error),
            Self::Exit { ended, .. } => ended.disk_full,
            _ => false,
        }
    }

    fn foreign(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Image(error) | Self::Fetch(error) | Self::Execute(error) => Some(&**error),
            Self::Archive { source, .. } => source.foreign(),
            Self::Stage(error) => error.foreign(),
            _ => None,
        }
    }

    /// Says where it happened.
    pub(crate) fn at(self, line: u32, instruction: &str) -> Error {
        match self {
            Self::Exit { command, ended } => Error::Run { line, command, ended },
            Self::Cancelled(_) => Error::Cancelled,
            Self::Unsupported(what) => Error::Unsupported { line, what },
            Self::Stage(error) => *error,
            problem => Error::Step {
                line,
                instruction: shorten(instruction),
                problem,
            },
        }
    }
}

fn shorten(text: &str) -> String {
    const MOST: usize = 120;
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}
