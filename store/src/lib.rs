//! Everything on disk and what may be deleted: blobs, layers, images, names and the build cache, in one owner's directory.

pub mod archive;
mod blobs;
mod cache;
mod catalogue;
mod check;
mod commit;
mod configs;
mod contexts;
mod database;
mod disk;
mod documents;
mod doubt;
pub mod error;
mod flights;
mod format;
mod gc;
mod growth;
mod images;
mod ingest;
mod inputs;
mod layers;
mod lease;
mod locks;
mod logs;
mod mounts;
mod overview;
mod partial;
mod paths;
mod rows;
mod sources;
mod store;
mod tags;
mod trash;
mod work;

pub use blobs::{Blob, CheckedBlob};
pub use cache::{CacheEntry, CacheRecord, Pruned};
pub use check::finding::{Fault, Finding, Harmed, Level, Remedy, Thing};
pub use check::{CheckEvent, Checked, Watch};
pub use commit::Committed;
pub use contexts::OpenFolder;
#[cfg(debug_assertions)]
#[doc(hidden)]
pub use disk::FAILPOINTS;
pub use error::Error;
pub use gc::{Removed, Usage};
pub use growth::{Growth, GrowthReader};
pub use images::Image;
pub use ingest::Ingest;
pub use layers::Layer;
pub use lease::Lease;
pub use logs::LogEntry;
pub use mounts::{CacheMount, HeldMount, MountEntry, Seed, Sharing};
pub use overview::{ImageEntry, LayerUsage};
pub use partial::Partial;
pub use store::Store;
pub use work::WorkDir;
