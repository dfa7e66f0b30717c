//! Images: those of a list, and those that only the blobs have.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;

use fs_err as fs;
use jiff::Timestamp;
use mica_oci::config::ImageConfig;
use mica_oci::media::OCI_CONFIG;
use mica_oci::{Descriptor, DiffId, Digest, ImageId, Manifest, Raw, Reference};

use crate::commit::describe;
use crate::disk;
use crate::error::Error;
use crate::overview::Summary;
use crate::paths::Paths;
use crate::rebuild::inventory::{Inventory, SeenManifest};
use crate::rebuild::layers::Layers;
use crate::rebuild::lists::Listed;
use crate::rebuild::report::{Harm, LostImage, Origin, Rebuilt};

/// An image whose config is whole.
pub(super) struct Known {
    pub(super) id: ImageId,
    pub(super) diff_ids: Vec<DiffId>,
    pub(super) summary: Summary,
    pub(super) names: Vec<Reference>,
    pub(super) parent: Option<ImageId>,
    pub(super) tagged_at: Option<Timestamp>,
    documents: Vec<Digest>,
    /// The manifest that a list says is its own.
    manifest: Option<Digest>,
    pub(super) is_listed: bool,
}

/// An image that gets a row.
pub(super) struct Kept {
    pub(super) known: Known,
    pub(super) manifest: Descriptor,
    /// The blob that its manifest names for each layer.
    pub(super) blobs: Vec<Digest>,
    /// Those of its documents that are whole.
    pub(super) documents: Vec<Digest>,
}

/// Reads the configs of all images.
pub(super) fn gather(
    paths: &Paths,
    inventory: &Inventory,
    listed: Vec<Listed>,
    report: &mut Rebuilt,
) -> Result<Vec<Known>, Error> {
    let mut images: BTreeMap<ImageId, Known> = BTreeMap::new();
    let mut lost = HashSet::new();
    for line in listed {
        let Some(config) = config(paths, inventory, line.image.digest())? else {
            lost.insert(line.image);
            report.lost.push(LostImage {
                image: Some(line.image),
                names: line.names,
                reason: "its config is gone or damaged".to_owned(),
                parts: parts(inventory, line.image.digest(), &line.manifest.digest),
            });
            continue;
        };
        let documents = line
            .documents
            .unwrap_or_else(|| inventory.documents_of(line.image.digest()));
        let known = Known {
            id: line.image,
            diff_ids: config.rootfs.diff_ids.clone(),
            summary: Summary::of(&config),
            names: line.names,
            parent: line.parent,
            tagged_at: line.tagged_at,
            documents,
            manifest: Some(line.manifest.digest),
            is_listed: true,
        };
        images.insert(line.image, known);
    }
    for manifest in inventory.manifests.values() {
        let id = ImageId(manifest.config.digest);
        if images.contains_key(&id) || lost.contains(&id) || !is_image(manifest) {
            continue;
        }
        let Some(config) = config(paths, inventory, id.digest())? else {
            continue;
        };
        let known = Known {
            id,
            diff_ids: config.rootfs.diff_ids.clone(),
            summary: Summary::of(&config),
            names: Vec::new(),
            parent: None,
            tagged_at: None,
            documents: inventory.documents_of(id.digest()),
            manifest: None,
            is_listed: false,
        };
        images.insert(id, known);
    }
    Ok(images.into_values().collect())
}

/// The config of an image, if it is whole.
fn config(paths: &Paths, inventory: &Inventory, digest: &Digest) -> Result<Option<Raw<ImageConfig>>, Error> {
    if !inventory.blobs.contains_key(digest) {
        return Ok(None);
    }
    let bytes = fs::read(paths.blob(digest)).map_err(Error::io("read an image config"))?;
    Ok(Raw::<ImageConfig>::parse(&bytes).ok())
}

/// All that the manifests of an image name, and they themselves.
fn parts(inventory: &Inventory, config: &Digest, manifest: &Digest) -> Vec<Digest> {
    let mut parts = vec![*config, *manifest];
    let listed = inventory.manifests.get(manifest);
    for manifest in inventory.manifests_of(config).chain(listed) {
        parts.push(manifest.descriptor.digest);
        parts.extend(manifest.layers.iter().map(|layer| layer.digest));
    }
    parts
}

/// Whether a manifest that no list leads to is that of an image: not that of an attestation, or of a registry's cache.
fn is_image(manifest: &SeenManifest) -> bool {
    let is_layer = |layer: &Descriptor| layer.media_type.layer_compression().is_some();
    manifest.config.media_type.is_image_config() && manifest.layers.iter().all(is_layer)
}

/// Finds each image's manifest, and says which images are not whole.
pub(super) fn settle(
    paths: &Paths,
    inventory: &Inventory,
    images: Vec<Known>,
    layers: &Layers<'_>,
    report: &mut Rebuilt,
) -> Result<Vec<Kept>, Error> {
    let mut all = Vec::new();
    for known in images {
        let missing: Vec<DiffId> = known
            .diff_ids
            .iter()
            .filter(|diff_id| !layers.of(diff_id).is_there())
            .copied()
            .collect();
        if !known.is_listed && !missing.is_empty() {
            // with all images listed, it is what was left of something else
            if report.origin != Origin::Refs {
                report.lost.push(LostImage {
                    image: Some(known.id),
                    names: Vec::new(),
                    reason: format!("its layer {} is gone or damaged", missing[0]),
                    parts: parts(inventory, known.id.digest(), known.id.digest()),
                });
            }
            continue;
        }
        let (manifest, blobs) = match manifest_of(&known, inventory) {
            Some(manifest) => (manifest.descriptor.clone(), blobs_of(&manifest.layers)),
            None => match make_manifest(paths, inventory, &known, layers)? {
                Some((manifest, blobs)) => {
                    report.renewed.push(known.id);
                    (manifest, blobs)
                }
                None => {
                    report.lost.push(LostImage {
                        image: Some(known.id),
                        names: known.names,
                        reason: "its manifest and a layer are gone or damaged".to_owned(),
                        parts: vec![*known.id.digest()],
                    });
                    continue;
                }
            },
        };
        if !known.is_listed {
            report.found.push(known.id);
        }
        report.harmed.extend(missing.into_iter().map(|layer| Harm {
            image: known.id,
            names: known.names.clone(),
            layer,
        }));
        let is_here = |digest: &&Digest| inventory.blobs.contains_key(*digest);
        let documents = known.documents.iter().filter(is_here).copied().collect();
        all.push(Kept {
            known,
            manifest,
            blobs,
            documents,
        });
    }
    Ok(all)
}

fn blobs_of(layers: &[Descriptor]) -> Vec<Digest> {
    layers.iter().map(|layer| layer.digest).collect()
}

/// The manifest that a list says is the image's, or else one that fits: one it came with before one that was made here.
fn manifest_of<'a>(known: &Known, inventory: &'a Inventory) -> Option<&'a SeenManifest> {
    let fits = |manifest: &&SeenManifest| manifest.layers.len() == known.diff_ids.len();
    let mut all: Vec<&SeenManifest> = inventory.manifests_of(known.id.digest()).filter(fits).collect();
    all.sort_by_key(|manifest| {
        let digest = manifest.descriptor.digest;
        (Some(digest) != known.manifest, manifest.is_own, digest)
    });
    all.first().copied()
}

/// Writes a manifest for an image whose own is lost; nothing if a layer is lost too. Durable with the database.
fn make_manifest(
    paths: &Paths,
    inventory: &Inventory,
    known: &Known,
    layers: &Layers<'_>,
) -> Result<Option<(Descriptor, Vec<Digest>)>, Error> {
    let described = known
        .diff_ids
        .iter()
        .map(|diff_id| layers.of(diff_id).describe(diff_id));
    let Some(described) = described.collect::<Option<Vec<_>>>() else {
        return Ok(None);
    };
    let size = inventory
        .blobs
        .get(known.id.digest())
        .copied()
        .unwrap_or_default();
    let config = Descriptor::new(OCI_CONFIG, *known.id.digest(), size);
    let blobs = blobs_of(&described);
    let manifest = Raw::of(Manifest::new(config, described)).map_err(|source| Error::Document {
        what: format!("the manifest of image {}", known.id),
        source,
    })?;
    let failed = || Error::io("write a manifest");
    let draft = paths.ingest().join("manifest");
    let mut file = disk::overwrite(&draft).map_err(failed())?;
    file.write_all(manifest.bytes()).map_err(failed())?;
    file.sync().map_err(failed())?;
    disk::rename(&draft, &paths.blob(&manifest.digest())).map_err(failed())?;
    disk::sync_folder(&paths.blobs()).map_err(failed())?;
    Ok(Some((describe(&manifest), blobs)))
}
