//! What is told of a database that was made again.

use std::path::PathBuf;

use mica_oci::{DiffId, ImageId, Reference};

/// Which list of images was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Origin {
    /// `mica/refs.json`, which has all images and names.
    #[default]
    Refs,
    /// `index.json`, which has the tags of images that can be read in place.
    Index,
    /// None: only what the blobs themselves say is known.
    Blobs,
}

/// How far it has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RebuildProgress {
    /// Blobs are hashed.
    Blobs {
        /// Bytes so far.
        bytes: u64,
        /// Bytes of all.
        total: u64,
    },
    /// Unpacked layers are packed again.
    Trees {
        /// How many so far.
        done: u64,
        /// How many there are.
        total: u64,
    },
    /// Layers that nothing leads to are looked for in blobs that nothing names.
    Search {
        /// How many blobs so far.
        done: u64,
        /// How many there are.
        total: u64,
    },
}

/// An image that was listed and cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostImage {
    /// Which, if that is known.
    pub image: Option<ImageId>,
    /// Its names.
    pub names: Vec<Reference>,
    /// Why.
    pub reason: String,
    /// What its manifest names, if there is one that is whole.
    pub(crate) parts: Vec<mica_oci::Digest>,
}

/// An image that was kept although a layer of it is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Harm {
    /// Which.
    pub image: ImageId,
    /// Its names.
    pub names: Vec<Reference>,
    /// The layer of which nothing that is whole is there.
    pub layer: DiffId,
}

/// What came of making a database again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Where the images and names are from.
    pub origin: Origin,
    /// Images that are in the new database.
    pub images: u64,
    /// Names that are.
    pub names: u64,
    /// Layers that are.
    pub layers: u64,
    /// Images that no list named and that the blobs have whole; they have no names.
    pub found: Vec<ImageId>,
    /// Images that got another manifest, theirs being lost.
    pub renewed: Vec<ImageId>,
    /// Images that are lost.
    pub lost: Vec<LostImage>,
    /// Images that are not whole.
    pub harmed: Vec<Harm>,
    /// Names that cannot be read, as they are written.
    pub unread: Vec<String>,
    /// Where the old database lies, if there was one.
    pub aside: Option<PathBuf>,
    /// Where that lies which is not what its name says.
    pub bad: Vec<PathBuf>,
    /// How many cache mounts there are; they are removed when the store is opened.
    pub mounts: u64,
    /// Bytes of blobs that no image needs; they are removed when the store is opened.
    pub leftovers: u64,
    /// How often images and names had changed, by the list.
    pub(crate) generation: u64,
}
