//! Why a verb failed, in docker's words.

mod kind;
mod telling;

use std::io;

use mica_oci::{PlatformError, ReferenceError};
use mica_task::Cancelled;
use thiserror::Error;

use crate::room::{Bytes, Free, NEXT_STEP, fullness};

pub use kind::Kind;

/// Why a verb failed. Texts that clients look for are docker's, to the letter.
#[derive(Debug, Error)]
pub enum Error {
    /// Nothing has this name.
    #[error("No such image: {name}")]
    NoSuchImage {
        /// The familiar reference, or the ID as it was given.
        name: String,
    },
    /// No log of this build is kept.
    #[error("No such build log: {build}: `mica logs` lists those that are kept")]
    NoSuchLog {
        /// The build.
        build: mica_oci::BuildId,
    },
    /// The failed step of this build is not kept.
    #[error(
        "there is no failed RUN of the build {build} to enter: only the last few are kept, for an hour, while micad runs; build it again"
    )]
    NoFailedStep {
        /// The build.
        build: mica_oci::BuildId,
    },
    /// Somebody else is in the failed step.
    #[error("somebody else is in the failed RUN of the build {build}: wait until they have left")]
    StepOccupied {
        /// The build.
        build: mica_oci::BuildId,
    },
    /// What was handed over is no terminal.
    #[error("the descriptor that came with the request is no terminal")]
    NoTerminal,
    /// The command could not be run in the failed step.
    #[error("cannot enter the failed RUN")]
    Enter {
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The name is empty.
    #[error("image name cannot be blank")]
    BlankName,
    /// The name does not follow the grammar.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The platform is not one.
    #[error(transparent)]
    Platform(#[from] PlatformError),
    /// Tags do not hold digests.
    #[error("refusing to create a tag with a digest reference")]
    TagWithDigest,
    /// A repository called `sha256` would read as a digest.
    #[error("refusing to create an ambiguous tag using digest algorithm as name")]
    AmbiguousTag,
    /// The image has several names and was called by its ID.
    #[error(
        "conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
    )]
    ManyNames {
        /// Twelve digits of the ID.
        short: String,
    },
    /// Other images are built on this one.
    #[error("conflict: unable to delete {short} (cannot be forced) - image has dependent child images")]
    HasChildren {
        /// Twelve digits of the ID.
        short: String,
    },
    /// Only one prune goes on at a time.
    #[error("a prune operation is already running")]
    PruneRunning,
    /// The image is there, but for another platform.
    #[error(
        "image with reference {reference} was found but its platform ({actual}) does not match the specified platform ({wanted})"
    )]
    OtherPlatform {
        /// What was asked for.
        reference: String,
        /// The image's platform.
        actual: String,
        /// The platform that was asked for.
        wanted: String,
    },
    /// The pattern of a filter is not a shell pattern.
    #[error("invalid filter: syntax error in pattern {pattern:?}")]
    Pattern {
        /// The pattern.
        pattern: String,
    },
    /// It cannot be done here.
    #[error("{what} is not supported yet")]
    Unsupported {
        /// What.
        what: String,
    },
    /// The image could not be built.
    #[error(transparent)]
    Build(Box<mica_builder::Error>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] mica_store::Error),
    /// Bytes from or to the client, or a file, failed.
    #[error("cannot {action}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What was fetched cannot be made a layer.
    #[error("cannot keep what was fetched from {address}")]
    Keep {
        /// Where it lies.
        address: String,
        /// Why.
        #[source]
        source: mica_layer::Error,
    },
    /// What lies at an address is not what it was said to be.
    #[error("digest mismatch for {address}: expected {expected}, got {actual}")]
    OtherContent {
        /// Where it lies.
        address: String,
        /// What was asked for.
        expected: String,
        /// What is there.
        actual: String,
    },
    /// The program that fetches repositories is not there.
    #[error(
        "git is needed to fetch {address}, and there is none on this machine: install it (Debian: apt-get install git)"
    )]
    NoGit {
        /// The repository.
        address: String,
    },
    /// Git could not do what it was asked for.
    #[error("cannot {action} {address}: {said}")]
    Git {
        /// What was being done.
        action: &'static str,
        /// The repository.
        address: String,
        /// The end of what it said.
        said: String,
    },
    /// A repository has no such branch, tag or commit.
    #[error("repository {address} does not contain ref {reference}")]
    NoReference {
        /// The repository.
        address: String,
        /// What was asked for.
        reference: String,
    },
    /// A folder is no OCI layout, or does not have the image.
    #[error("cannot use the OCI layout: {reason}")]
    Layout {
        /// What is wrong.
        reason: String,
    },
    /// What was to be imported is no archive.
    #[error("cannot import the archive")]
    Import(#[source] mica_layer::Error),
    /// `scratch` means nothing, and nothing cannot be pulled.
    #[error("'scratch' is a reserved name")]
    Scratch,
    /// The registry does not have it, or does not say whether it has.
    #[error(
        "pull access denied for {repository}, repository does not exist or may require 'docker login': {said}"
    )]
    PullDenied {
        /// The familiar name.
        repository: String,
        /// What the registry said, and what can be done about it.
        said: String,
    },
    /// The repository has no such tag or digest.
    #[error("manifest for {reference} not found: {said}")]
    NoSuchManifest {
        /// The familiar reference.
        reference: String,
        /// What the registry said.
        said: String,
    },
    /// The registry does not let this user write there.
    #[error("push access denied for {repository}: {said}")]
    PushDenied {
        /// The familiar name.
        repository: String,
        /// What the registry said, and what can be done about it.
        said: String,
    },
    /// The registry does not know the user.
    #[error("login failed: {said}")]
    LoginRefused {
        /// What the registry said, and what can be done about it.
        said: String,
    },
    /// The registry was not searched, or not with success.
    #[error("cannot search {registry}")]
    Search {
        /// The registry.
        registry: String,
        /// Why.
        #[source]
        source: Box<mica_registry::Error>,
    },
    /// A registry that answers, and has no search.
    #[error("cannot search {registry}: it has no search, as most registries have none: {said}")]
    NoSearch {
        /// The registry.
        registry: String,
        /// What the registry said.
        said: String,
    },
    /// What is searched for is an address.
    #[error("invalid repository name: repository name ({term}) should not have a scheme")]
    SearchScheme {
        /// What was asked for.
        term: String,
    },
    /// Not a registry's name.
    #[error("{server:?} is no registry: say a host, such as ghcr.io")]
    Server {
        /// What was given.
        server: String,
    },
    /// Nothing that was said of an image is known.
    #[error(
        "no attestations of {image} are known: build it again with --provenance or --sbom, and push it then"
    )]
    NoAttestations {
        /// The image.
        image: mica_oci::ImageId,
    },
    /// What is said of an image cannot be written.
    #[error("cannot write what is said of the image")]
    Attestation(#[source] mica_oci::DocumentError),
    /// A file that goes beside those of an image is one of it already.
    #[error("the image has a file {name} of its own: give the attestation another with filename=NAME")]
    Beside {
        /// Its name.
        name: String,
    },
    /// Nothing here is called so.
    #[error("An image does not exist locally with the tag: {reference}")]
    NothingToPush {
        /// The repository, in its familiar form.
        reference: String,
    },
    /// The repository has other tags here.
    #[error("tag does not exist: {reference}")]
    NoSuchTag {
        /// The familiar reference.
        reference: String,
    },
    /// Images of before 2017.
    #[error("{words}: {reference} has to be pushed again by a newer client")]
    Schema1 {
        /// The familiar reference.
        reference: String,
        /// Docker's words.
        words: &'static str,
    },
    /// What the registry sent is no manifest.
    #[error("the manifest of {reference} cannot be used")]
    Manifest {
        /// The familiar reference.
        reference: String,
        /// Why.
        #[source]
        source: mica_oci::ReceivedError,
    },
    /// What the registry sent is no image config.
    #[error("the config of {reference} cannot be used")]
    Config {
        /// The familiar reference.
        reference: String,
        /// Why.
        #[source]
        source: mica_oci::DocumentError,
    },
    /// It is something else than an image.
    #[error("{reference} is no container image: its config is of type {media_type}")]
    NoImage {
        /// The familiar reference.
        reference: String,
        /// What it says it is.
        media_type: String,
    },
    /// Manifest and config contradict each other.
    #[error(
        "{reference} cannot be used: its manifest has {manifest} layers, its config {config} (at most 500 are taken)"
    )]
    LayerCount {
        /// The familiar reference.
        reference: String,
        /// Layers of the manifest.
        manifest: usize,
        /// Layers of the config.
        config: usize,
    },
    /// What the registry sent is a cache that makes no sense.
    #[error("the cache {reference} cannot be used")]
    Cache {
        /// The familiar reference.
        reference: String,
        /// Why.
        #[source]
        source: mica_oci::CacheError,
    },
    /// What is known of the steps is more than anybody reads.
    #[error(
        "the document of the cache {reference} has {size} bytes, and at most {limit} are read: use mode=min, or several caches"
    )]
    CacheTooLarge {
        /// The familiar reference.
        reference: String,
        /// Its length in bytes.
        size: usize,
        /// The longest that is read.
        limit: usize,
    },
    /// Nothing in the index is for this platform.
    #[error("no matching manifest for {platform} in the manifest list entries: it has {offered}")]
    NoPlatform {
        /// What was asked for.
        platform: String,
        /// What there is.
        offered: String,
    },
    /// Indexes within indexes.
    #[error("{reference} is an index of more than {limit} levels")]
    Nested {
        /// The familiar reference.
        reference: String,
        /// The most that are followed.
        limit: usize,
    },
    /// Something is not as long as it was said to be.
    #[error("{what} has {actual} bytes, expected {expected}")]
    WrongSize {
        /// What.
        what: String,
        /// The promised length in bytes.
        expected: u64,
        /// What came.
        actual: u64,
    },
    /// Something does not have the digest it was asked for by.
    #[error("{what} is not what it should be and was thrown away")]
    WrongContent {
        /// What.
        what: String,
        /// The digests.
        #[source]
        source: mica_store::Error,
    },
    /// The registry, or the way to it, failed.
    #[error(transparent)]
    Registry(Box<mica_registry::Error>),
    /// Something that several waited for failed.
    #[error(transparent)]
    Shared(std::sync::Arc<Error>),
    /// The disk became full.
    #[error("{}{}", error.chain(), fullness(free))]
    FullDisk {
        /// What could not be done; not told as a cause, as the text has it already.
        error: Box<Error>,
        /// What is free now.
        free: Free,
    },
    /// The disk would become full.
    #[error("{what} needs {} on the disk of {}, with {free} there: {NEXT_STEP}", Bytes(*needed), free.root.display())]
    NoRoom {
        /// What is to be brought in.
        what: String,
        /// How many bytes it needs.
        needed: u64,
        /// What is free for it.
        free: Free,
    },
    /// Nobody wants the answer any more.
    #[error("the request was cancelled")]
    Cancelled,
    /// The file system of an image cannot be read.
    #[error("cannot read the image's files")]
    Root(#[source] mica_layer::Error),
    /// Two images that are put together have a file in common; in BuildKit's words.
    #[error("cannot overwrite {path} from {first} with {second} when split option is disabled")]
    Overlap {
        /// The file.
        path: mica_layer::ImagePath,
        /// The platform whose file it is.
        first: String,
        /// The platform that has it too.
        second: String,
    },
    /// An image has no such file.
    #[error("{path}: no such file in the image")]
    NoSuchFile {
        /// The path.
        path: mica_layer::ImagePath,
    },
    /// The thread that worked on it ended without a result.
    #[error("internal error: the worker ended without a result")]
    Worker,
}

impl Error {
    /// The exit code of the RUN that failed, if one did.
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Build(error) => match **error {
                mica_builder::Error::Run { ended, .. } => Some(ended.code),
                _ => None,
            },
            Self::FullDisk { error, .. } => error.exit_code(),
            _ => None,
        }
    }

    /// A result could not be sent to whoever wanted it.
    pub fn sending(source: io::Error) -> Self {
        Self::Io {
            action: "send the result",
            source,
        }
    }

    /// The line of the Dockerfile that a build failed at, where it is one.
    pub fn line(&self) -> Option<u32> {
        match self {
            Self::Build(error) => error.line(),
            Self::FullDisk { error, .. } => error.line(),
            _ => None,
        }
    }
}

impl From<mica_builder::Error> for Error {
    fn from(error: mica_builder::Error) -> Self {
        Self::Build(Box::new(error))
    }
}

impl From<Cancelled> for Error {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}
