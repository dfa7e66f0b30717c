//! The vocabulary of images: digests, references, platforms, media types, manifests, configs; no I/O.

pub mod attestation;
mod build_id;
pub mod cache;
mod choice;
pub mod config;
pub mod digest;
pub mod document;
pub mod error;
mod index;
pub mod manifest;
pub mod media;
pub mod platform;
pub mod received;
pub mod reference;

pub use attestation::{Attestation, AttestationManifest, Attested, Subject};
pub use build_id::{BuildId, BuildIdError};
pub use cache::{CacheConfig, CacheError, CachedStep};
pub use config::{ContainerConfig, Healthcheck, History, ImageConfig, RootFs};
pub use digest::{CacheKey, ChainId, ContentDigest, DiffId, Digest, Hasher, Hashing, ImageId};
pub use document::Raw;
pub use error::{DigestError, DocumentError, PlatformError, ReferenceError};
pub use index::PlatformImage;
pub use manifest::{Descriptor, Index, Manifest};
pub use media::{Compression, MediaType};
pub use platform::Platform;
pub use received::{Received, ReceivedError};
pub use reference::{Reference, Repository, Tag};
