//! Reads images from a tar.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::{self, Read};

use mica_layer::{Format, decompress};
use mica_oci::config::ImageConfig;
use mica_oci::document::{DOCUMENT_LIMIT, Document};
use mica_oci::{Compression, Descriptor, DiffId, Digest, ImageId, Index, Manifest, Platform, Raw, Reference};

use super::spool::Spool;
use super::{BLOBS, INDEX, Item, MANIFEST};
use crate::catalogue::{IMAGE_NAME, REF_NAME};
use crate::error::Error;
use crate::layers::Layer;
use crate::layers::forms::copy_while;
use crate::lease::Lease;
use crate::store::Store;

/// How deep indexes may lie in indexes.
const DEPTH: usize = 4;
/// The most descriptors of indexes and manifests that are looked at.
const VISITS: usize = 10_000;
/// The most bytes of indexes and manifests that are read to find the images; what is read twice counts twice.
const VISITED_BYTES: usize = 256 << 20;
/// Annotation of what docker's builder puts beside an image, such as attestations.
const DOCKER_REFERENCE: &str = "vnd.docker.reference.type";

/// What happens while an archive is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadEvent {
    /// A layer that was not in the store is on its way in.
    Layer {
        /// Which.
        diff_id: DiffId,
        /// Bytes of it that are in, as they stand in the archive.
        current: u64,
        /// Bytes it has in the archive.
        total: u64,
    },
    /// A tag led to another image before.
    Moved {
        /// The tag.
        reference: Reference,
        /// The other image.
        previous: ImageId,
    },
    /// This image is in the store, with its tags.
    Image(ImageId),
}

/// One image that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Which.
    pub image: ImageId,
    /// What leads to it now because the archive says so.
    pub references: Vec<Reference>,
}

pub(super) fn refuse(reason: impl Into<String>) -> Error {
    Error::Archive {
        reason: reason.into(),
    }
}

/// Loads all images of a tar in docker's format, an OCI image layout, or both, compressed in any way. Images before one that
/// fails stay loaded. At its end `input` is read again and again: an error that it gives then ends the work as well, so that
/// a caller that is gone need not be worked for.
pub fn load<'a>(
    store: &Store,
    lease: &Lease,
    mut input: Box<dyn Read + 'a>,
    on: &mut dyn FnMut(LoadEvent),
) -> Result<Vec<Loaded>, Error> {
    let spool = Spool::read(store, lease, Box::new(&mut input))?;
    let caller = Caller::of(&mut input)?;
    let mut loading = Loading {
        store,
        lease,
        spool,
        on,
        caller: &caller,
        visits: 0,
        visited_bytes: 0,
    };
    let index = loading.document::<Index>(INDEX)?;
    if let Some(bytes) = loading.spool.document(MANIFEST, DOCUMENT_LIMIT)? {
        let items: Vec<Item> = serde_json::from_slice(&bytes)
            .map_err(|error| refuse(format!("{MANIFEST} cannot be read: {error}")))?;
        let manifests = loading.manifests(index.as_ref())?;
        return items.iter().map(|item| loading.item(item, &manifests)).collect();
    }
    let index = index.ok_or_else(|| refuse("does not contain a manifest.json"))?;
    loading.layout(&index)
}

struct Loading<'a> {
    store: &'a Store,
    lease: &'a Lease,
    spool: Spool,
    on: &'a mut dyn FnMut(LoadEvent),
    caller: &'a Caller<'a>,
    visits: usize,
    visited_bytes: usize,
}

/// Whoever sent the archive, all of which was read.
struct Caller<'a>(RefCell<&'a mut dyn Read>);

impl<'a> Caller<'a> {
    /// Reads what follows the archive, which means nothing.
    fn of(input: &'a mut dyn Read) -> Result<Self, Error> {
        copy_while(input, &mut io::sink(), &|| Ok(())).map_err(Error::io("read the archive"))?;
        Ok(Self(RefCell::new(input)))
    }

    /// Fails when the work is not wanted any more.
    fn check(&self) -> io::Result<()> {
        match self.0.borrow_mut().read(&mut [0]) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }
}

/// The image manifests below some descriptors.
#[derive(Default)]
struct Manifests {
    found: Vec<(Option<Platform>, Raw<Manifest>)>,
    /// The indexes that were looked into, which need not be again.
    indexes: HashSet<Digest>,
}

/// Where an image's parts lie in the archive.
struct Parts {
    config: Raw<ImageConfig>,
    /// Paths of the layers, lowest first.
    layers: Vec<String>,
    /// What came with the image and fits it.
    manifest: Option<Raw<Manifest>>,
    references: Vec<Reference>,
}

impl Loading<'_> {
    /// A small file of a known kind, if it is there.
    fn document<T: Document>(&self, path: &str) -> Result<Option<Raw<T>>, Error> {
        match self.spool.document(path, T::LIMIT)? {
            Some(bytes) => Raw::parse(&bytes).map(Some).map_err(|source| Error::Document {
                what: format!("{path} in the archive"),
                source,
            }),
            None => Ok(None),
        }
    }

    /// A document under its digest, if it is there.
    fn blob<T: Document>(&self, digest: &Digest) -> Result<Option<Raw<T>>, Error> {
        let document = self.document::<T>(&blob_path(digest))?;
        match document {
            Some(document) if document.digest() != *digest => Err(Error::Digest {
                expected: *digest,
                actual: document.digest(),
            }),
            document => Ok(document),
        }
    }

    /// One image of `manifest.json`.
    fn item(&mut self, item: &Item, manifests: &[Raw<Manifest>]) -> Result<Loaded, Error> {
        self.check()?;
        let config = self
            .document::<ImageConfig>(&item.config)?
            .ok_or_else(|| refuse(format!("{} is not in it", item.config)))?;
        let layers = item.layers.clone().unwrap_or_default();
        let references = item
            .repo_tags
            .iter()
            .flatten()
            .map(|text| match text.parse::<Reference>() {
                Ok(reference) if reference.digest.is_none() => Ok(reference.or_latest()),
                _ => Err(refuse(format!("invalid tag {text:?}"))),
            })
            .collect::<Result<_, _>>()?;
        let manifest = manifests
            .iter()
            .find(|manifest| manifest.config.digest == config.digest())
            .cloned();
        self.image(Parts {
            config,
            layers,
            manifest,
            references,
        })
    }

    /// All images of an OCI image layout.
    fn layout(&mut self, index: &Index) -> Result<Vec<Loaded>, Error> {
        let mut loaded: Vec<Loaded> = Vec::new();
        for top in &index.manifests {
            let Some(manifest) = self.choose(top)? else {
                continue;
            };
            let config = self
                .blob::<ImageConfig>(&manifest.config.digest)?
                .ok_or_else(|| refuse(format!("config {} is not in it", manifest.config.digest)))?;
            let parts = Parts {
                layers: manifest
                    .layers
                    .iter()
                    .map(|layer| blob_path(&layer.digest))
                    .collect(),
                config,
                manifest: Some(manifest),
                references: named(top).into_iter().collect(),
            };
            let image = self.image(parts)?;
            match loaded.iter_mut().find(|other| other.image == image.image) {
                Some(other) => other.references.extend(image.references),
                None => loaded.push(image),
            }
        }
        match loaded.is_empty() {
            true => Err(refuse("does not contain a manifest.json")),
            false => Ok(loaded),
        }
    }

    /// The manifest a descriptor of `index.json` means: its own, or in a nested index the one for this machine, else the first
    /// that is whole.
    fn choose(&mut self, top: &Descriptor) -> Result<Option<Raw<Manifest>>, Error> {
        let mut manifests = Manifests::default();
        self.walk(top, 0, &mut manifests)?;
        let host = Platform::host();
        let mut found = manifests.found;
        found.sort_by_key(|(platform, _)| platform.as_ref() != Some(&host));
        Ok(found.into_iter().next().map(|(_, manifest)| manifest))
    }

    /// Adds the image manifests below a descriptor whose config is in the archive.
    fn walk(&mut self, at: &Descriptor, depth: usize, into: &mut Manifests) -> Result<(), Error> {
        self.check()?;
        self.visits += 1;
        if depth > DEPTH || self.visits > VISITS {
            return Err(refuse("its indexes are too deep or too long"));
        }
        if at.annotations.contains_key(DOCKER_REFERENCE) {
            return Ok(());
        }
        if at.media_type.is_index() {
            if into.indexes.insert(at.digest)
                && let Some(index) = self.blob::<Index>(&at.digest)?
            {
                self.visited(index.bytes())?;
                for below in &index.manifests {
                    self.walk(below, depth + 1, into)?;
                }
            }
        } else if at.media_type.is_manifest()
            && let Some(manifest) = self.blob::<Manifest>(&at.digest)?
        {
            self.visited(manifest.bytes())?;
            if self.spool.get(&blob_path(&manifest.config.digest))?.is_some() {
                into.found.push((at.platform.clone(), manifest));
            }
        }
        Ok(())
    }

    fn visited(&mut self, document: &[u8]) -> Result<(), Error> {
        self.visited_bytes += document.len();
        match self.visited_bytes > VISITED_BYTES {
            true => Err(refuse("its indexes and manifests are too large")),
            false => Ok(()),
        }
    }

    fn check(&self) -> Result<(), Error> {
        self.caller.check().map_err(Error::io("read the archive"))
    }

    /// All image manifests of an index.
    fn manifests(&mut self, index: Option<&Raw<Index>>) -> Result<Vec<Raw<Manifest>>, Error> {
        let mut manifests = Manifests::default();
        for top in index.iter().flat_map(|index| &index.manifests) {
            self.walk(top, 0, &mut manifests)?;
        }
        Ok(manifests
            .found
            .into_iter()
            .map(|(_, manifest)| manifest)
            .collect())
    }

    fn image(&mut self, parts: Parts) -> Result<Loaded, Error> {
        let diff_ids = parts.config.rootfs.diff_ids.clone();
        if parts.layers.len() != diff_ids.len() {
            return Err(refuse(format!(
                "layers length mismatch: expected {}, got {}",
                diff_ids.len(),
                parts.layers.len()
            )));
        }
        let id = ImageId(parts.config.digest());
        let known = self.store.hold_image(self.lease, &id)?.is_some();
        // an image that is here keeps the manifest it has
        let manifest = parts
            .manifest
            .filter(|manifest| !known && self.serves(manifest, &parts.layers));
        for (position, (path, diff_id)) in parts.layers.iter().zip(&diff_ids).enumerate() {
            self.layer(position, path, diff_id, manifest.as_ref())?;
        }
        let committed =
            self.store
                .commit_image(self.lease, &parts.config, manifest.as_ref(), &parts.references)?;
        for (reference, previous) in committed.moved {
            (self.on)(LoadEvent::Moved { reference, previous });
        }
        (self.on)(LoadEvent::Image(id));
        Ok(Loaded {
            image: id,
            references: parts.references,
        })
    }

    /// Whether a manifest names the very layers of the archive.
    fn serves(&self, manifest: &Manifest, layers: &[String]) -> bool {
        let same = |(descriptor, path): (&Descriptor, &String)| {
            let staged = self.spool.get(path).ok().flatten();
            staged.is_some_and(|staged| staged.digest == descriptor.digest)
        };
        manifest.layers.len() == layers.len() && manifest.layers.iter().zip(layers).all(same)
    }

    /// Brings one layer in, unless it is there. A compressed one is kept as it is if the image's manifest names it.
    fn layer(
        &mut self,
        position: usize,
        path: &str,
        diff_id: &DiffId,
        manifest: Option<&Raw<Manifest>>,
    ) -> Result<(), Error> {
        self.check()?;
        let named = manifest.map(|manifest| manifest.layers[position].digest);
        if self.has(diff_id, named.as_ref())? {
            return Ok(());
        }
        let staged = self
            .spool
            .get(path)?
            .ok_or_else(|| refuse(format!("{path} is not in it")))?;
        let (digest, total) = (staged.digest, staged.size);
        let wrong = |actual: &Digest| {
            refuse(format!(
                "invalid diffID for layer {position}: expected {diff_id}, got {actual}"
            ))
        };
        let caller = self.caller;
        let mut tell = |current| {
            (self.on)(LoadEvent::Layer {
                diff_id: *diff_id,
                current,
                total,
            });
        };
        tell(0);
        let layer = Layer {
            diff_id: *diff_id,
            size: total,
            exact: true,
            content: None,
        };
        if digest == *diff_id.digest() {
            let staged = self.spool.take(path)?;
            self.store.add_staged_tar(self.lease, staged, &layer)?;
            tell(total);
            return Ok(());
        }
        let (mut plain, format) = decompress(staged.open()?).map_err(Error::layer("inflate", *diff_id))?;
        let compression = match format {
            Format::None => return Err(wrong(&digest)),
            Format::Gzip => Some(Compression::Gzip),
            Format::Zstd => Some(Compression::Zstd),
            _ => None,
        };
        if let (Some(compression), true) = (compression, named.is_some()) {
            let staged = self.spool.take(path)?;
            let blob = staged.commit(self.lease)?;
            self.store
                .add_layer_blob_while(self.lease, &blob, compression, diff_id, &|| caller.check())
                .map_err(|error| match error {
                    Error::Digest { actual, .. } => wrong(&actual),
                    error => error,
                })?;
        } else {
            let mut ingest = self.store.ingest(self.lease)?;
            copy_while(&mut plain, &mut ingest, &|| caller.check()).map_err(Error::io("inflate a layer"))?;
            let staged = ingest.stage()?;
            if staged.digest != *diff_id.digest() {
                return Err(wrong(&staged.digest));
            }
            self.store.add_staged_tar(self.lease, staged, &layer)?;
        }
        tell(total);
        Ok(())
    }

    /// Whether the layer is there, with the blob that the manifest names if there is one.
    fn has(&self, diff_id: &DiffId, named: Option<&Digest>) -> Result<bool, Error> {
        // what is only claimed to be the layer is no reason to leave the archive's out
        if !self
            .store
            .layer(self.lease, diff_id)?
            .is_some_and(|layer| layer.exact)
        {
            return Ok(false);
        }
        match named {
            Some(digest) => Ok(self.store.blob(self.lease, digest)?.is_some()),
            None => Ok(true),
        }
    }
}

fn blob_path(digest: &Digest) -> String {
    format!("{BLOBS}/{}", digest.hex())
}

/// The name a descriptor of `index.json` gives its image. A mere tag is none.
fn named(descriptor: &Descriptor) -> Option<Reference> {
    let whole = descriptor.annotations.get(IMAGE_NAME);
    let short = descriptor
        .annotations
        .get(REF_NAME)
        .filter(|text| text.contains(['/', ':']));
    let text = whole.or(short)?;
    // a name nobody can use is no reason to lose the image
    text.parse::<Reference>().ok().map(Reference::or_latest)
}
