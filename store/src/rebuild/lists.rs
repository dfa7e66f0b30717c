//! The lists of images that are there: `refs.json`, which has all, or else `index.json`.

use std::collections::BTreeMap;
use std::path::Path;

use fs_err as fs;
use jiff::Timestamp;
use mica_oci::{Descriptor, Digest, ImageId, Index, Reference};
use serde::de::DeserializeOwned;

use crate::catalogue::{IMAGE_NAME, REF_NAME, REFS_VERSION, Refs};
use crate::error::Error;
use crate::paths::Paths;
use crate::rebuild::aside::set_list_aside;
use crate::rebuild::inventory::Inventory;
use crate::rebuild::report::{LostImage, Origin, Rebuilt};

/// An image as a list has it.
pub(super) struct Listed {
    pub(super) image: ImageId,
    pub(super) manifest: Descriptor,
    pub(super) parent: Option<ImageId>,
    pub(super) tagged_at: Option<Timestamp>,
    pub(super) names: Vec<Reference>,
    /// `None` where the list does not say.
    pub(super) documents: Option<Vec<Digest>>,
}

/// All images of the list that is there. A list that cannot be read is set aside.
pub(super) fn read(
    paths: &Paths,
    inventory: &Inventory,
    aside: Option<&Path>,
    report: &mut Rebuilt,
) -> Result<Vec<Listed>, Error> {
    let is_known = |refs: &Refs| refs.schema_version == REFS_VERSION;
    if let Some(refs) = parsed(paths, &paths.refs(), aside, is_known)? {
        report.origin = Origin::Refs;
        report.generation = refs.generation;
        return Ok(of_refs(refs, report));
    }
    if let Some(index) = parsed(paths, &paths.index(), aside, |_: &Index| true)? {
        report.origin = Origin::Index;
        return Ok(of_index(&index, inventory, report));
    }
    report.origin = Origin::Blobs;
    Ok(Vec::new())
}

fn parsed<T: DeserializeOwned>(
    paths: &Paths,
    list: &Path,
    aside: Option<&Path>,
    is_known: impl Fn(&T) -> bool,
) -> Result<Option<T>, Error> {
    let read = match fs::read(list) {
        Ok(bytes) => serde_json::from_slice(&bytes).ok().filter(is_known),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        // a bad spot of the disk, or something else in its place: without the list there is less, but there is a store
        Err(_) => None,
    };
    if read.is_none() {
        set_list_aside(paths, list, aside)?;
    }
    Ok(read)
}

fn of_refs(refs: Refs, report: &mut Rebuilt) -> Vec<Listed> {
    let lines = refs.images.into_iter().map(|line| Listed {
        image: line.id,
        manifest: line.manifest,
        parent: line.parent,
        tagged_at: line.tagged_at.and_then(|text| text.parse().ok()),
        names: line
            .names
            .iter()
            .filter_map(|name| read_name(name, report))
            .collect(),
        documents: Some(line.documents),
    });
    lines.collect()
}

fn of_index(index: &Index, inventory: &Inventory, report: &mut Rebuilt) -> Vec<Listed> {
    let mut images: BTreeMap<ImageId, Listed> = BTreeMap::new();
    for entry in &index.manifests {
        let name = entry
            .annotations
            .get(IMAGE_NAME)
            .or(entry.annotations.get(REF_NAME));
        let name = name.and_then(|name| read_name(name, report));
        let Some(manifest) = inventory.manifests.get(&entry.digest) else {
            report.lost.push(LostImage {
                image: None,
                names: name.into_iter().collect(),
                reason: format!("its manifest {} is gone or damaged", entry.digest),
                parts: Vec::new(),
            });
            continue;
        };
        let image = ImageId(manifest.config.digest);
        let listed = images.entry(image).or_insert_with(|| Listed {
            image,
            manifest: manifest.descriptor.clone(),
            parent: None,
            tagged_at: None,
            names: Vec::new(),
            documents: None,
        });
        listed.names.extend(name);
    }
    images.into_values().collect()
}

fn read_name(text: &str, report: &mut Rebuilt) -> Option<Reference> {
    match text.parse() {
        Ok(name) => Some(name),
        Err(_) => {
            report.unread.push(text.to_owned());
            None
        }
    }
}
