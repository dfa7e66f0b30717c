//! What a check finds: the thing, what is wrong with it, where it lies, what it harms and what mends it.

use std::fmt;
use std::path::PathBuf;

use mica_oci::{CacheKey, DiffId, Digest, ImageId, Reference};

/// How closely the store is looked at; each level has all that is in those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// What the database says against what is there: names, kinds, lengths; manifests and configs are read and hashed.
    #[default]
    Quick,
    /// Every blob is read and hashed, and what is compressed is inflated: it must hold the layer it is said to hold.
    Full,
    /// Every unpacked layer is derived again and compared.
    Trees,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The thing.
    pub thing: Thing,
    /// What is wrong with it.
    pub fault: Fault,
    /// Where it lies, or where it should.
    pub place: PathBuf,
    /// The images that cannot be used whole because of it. Of a great many only the first are named.
    pub harms: Vec<Harmed>,
    /// What mends it, as far as can be told without trying.
    pub remedy: Remedy,
}

/// An image that something is wrong with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Harmed {
    /// Which.
    pub image: ImageId,
    /// All that leads to it, sorted.
    pub names: Vec<Reference>,
}

/// The kinds of things that are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Thing {
    /// The database itself.
    Database,
    /// The config of an image.
    Config(ImageId),
    /// The manifest of an image.
    Manifest(ImageId, Digest),
    /// Another manifest or index that images came with.
    Document(Digest),
    /// What the database says of an image's layers.
    LayerList(ImageId),
    /// A layer as a whole: no form of it is there.
    Layer(DiffId),
    /// A layer as a compressed blob, checked or claimed.
    Compressed(DiffId, Digest),
    /// A layer as its uncompressed tar.
    Tar(DiffId),
    /// A layer unpacked.
    Tree(DiffId),
    /// A name.
    Name(Reference),
    /// A record of the build cache and the layer it leads to.
    CacheRecord(CacheKey, DiffId),
    /// `index.json` or `refs.json`.
    Derived,
    /// A file or folder that nothing names.
    Stray,
}

/// What is wrong with a thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is not there.
    Missing,
    /// Something else is in its place.
    NotAFile,
    /// It has another length.
    Size {
        /// What the database says, in bytes.
        expected: u64,
        /// What is there.
        actual: u64,
    },
    /// It holds other bytes.
    Content {
        /// Their digest.
        actual: Digest,
    },
    /// It cannot be read, inflated, parsed or packed.
    Unreadable {
        /// Why.
        reason: String,
    },
    /// It says something else than what it belongs to.
    Contradiction {
        /// What.
        reason: String,
    },
    /// Nothing needs it.
    Unnamed,
}

/// What mends a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// It can be made again from what else is here.
    MakeAgain,
    /// A registry is known to have it.
    Fetch,
    /// Nothing: it can be dropped, and nothing is lost by that but time.
    Drop,
    /// The database would have to be made again from the rest.
    Rebuild,
    /// Nothing here: the image is to be pulled, loaded or built again.
    Renew,
}

impl Level {
    /// Its name, as it is asked for.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Full => "full",
            Self::Trees => "trees",
        }
    }

    /// The level with this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Quick, Self::Full, Self::Trees]
            .into_iter()
            .find(|level| level.name() == name)
    }
}

impl Thing {
    /// The kind of the thing, in one word for programs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Config(_) => "config",
            Self::Manifest(..) => "manifest",
            Self::Document(_) => "document",
            Self::LayerList(_) => "layer-list",
            Self::Layer(_) => "layer",
            Self::Compressed(..) => "compressed-layer",
            Self::Tar(_) => "layer-tar",
            Self::Tree(_) => "layer-tree",
            Self::Name(_) => "name",
            Self::CacheRecord(..) => "cache-record",
            Self::Derived => "derived-file",
            Self::Stray => "stray",
        }
    }

    /// The digest that names it, if one does.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::Config(image) | Self::LayerList(image) => Some(*image.digest()),
            Self::Manifest(_, digest) | Self::Document(digest) | Self::Compressed(_, digest) => Some(*digest),
            Self::Layer(layer) | Self::Tar(layer) | Self::Tree(layer) => Some(*layer.digest()),
            Self::CacheRecord(key, _) => Some(*key.digest()),
            Self::Database | Self::Name(_) | Self::Derived | Self::Stray => None,
        }
    }
}

impl Thing {
    /// The digest of the blob that it is, if it is one.
    pub(crate) fn blob(&self) -> Option<Digest> {
        match self {
            Self::Config(_)
            | Self::Manifest(..)
            | Self::Document(_)
            | Self::Compressed(..)
            | Self::Tar(_) => self.digest(),
            _ => None,
        }
    }
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database => f.write_str("the database"),
            Self::Config(image) => write!(f, "the config of image {image}"),
            Self::Manifest(image, digest) => write!(f, "the manifest {digest} of image {image}"),
            Self::Document(digest) => write!(f, "the manifest or index {digest}"),
            Self::LayerList(image) => write!(f, "the list of layers of image {image}"),
            Self::Layer(layer) => write!(f, "layer {layer}"),
            Self::Compressed(layer, blob) => write!(f, "the compressed blob {blob} of layer {layer}"),
            Self::Tar(layer) => write!(f, "the tar of layer {layer}"),
            Self::Tree(layer) => write!(f, "the unpacked layer {layer}"),
            Self::Name(name) => write!(f, "the name {}", name.familiar()),
            Self::CacheRecord(key, layer) => write!(f, "the cache record {key} of layer {layer}"),
            Self::Derived => f.write_str("a derived file"),
            Self::Stray => f.write_str("a stray file"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("is not there"),
            Self::NotAFile => {
                f.write_str("is not what it should be: something of another kind is in its place")
            }
            Self::Size { expected, actual } => write!(f, "has {actual} bytes instead of {expected}"),
            Self::Content { actual } => write!(f, "holds other bytes: they have the digest {actual}"),
            Self::Unreadable { reason } => write!(f, "cannot be read: {reason}"),
            Self::Contradiction { reason } => f.write_str(reason),
            Self::Unnamed => f.write_str("is needed by nothing"),
        }
    }
}

impl Remedy {
    /// In one word for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::MakeAgain => "make-again",
            Self::Fetch => "fetch",
            Self::Drop => "drop",
            Self::Rebuild => "rebuild",
            Self::Renew => "renew",
        }
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MakeAgain => {
                "it can be made again from what else is here: `mica system check --repair` does"
            }
            Self::Fetch => "a registry had it: `mica system check --repair` fetches it again",
            Self::Drop => "nothing is lost by it: `mica system check --repair` clears it away",
            Self::Rebuild => "stop micad and keep a copy of its folder; mica/refs.json lists the images",
            Self::Renew => "nothing here: pull, load or build the image again",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.thing, self.fault, self.place.display())
    }
}
