//! What must be so of a store after a cut, whatever was being done: all that was promised, and nothing half made.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use mica_oci::{DiffId, Digest, Index, Manifest, Raw};
use mica_store::{CheckEvent, Error, Lease, Level, Store, Thing, Watch};

use crate::promise::Promised;
use crate::support::{blob_files, names, scratch_files};

/// How long the trash may take to be emptied.
const PATIENCE: Duration = Duration::from_secs(60);

/// Opens the store twice and looks at all of it; what is wrong is told in words.
pub(crate) fn check(root: &Path, promised: &Promised) -> Result<(), String> {
    let store = Store::open(root).map_err(|error| format!("it cannot be opened: {}", whole(&error)))?;
    whole_store(root, &store, promised)?;
    let before = listed(&store)?;
    store
        .collect()
        .map_err(|error| format!("collecting: {}", whole(&error)))?;
    whole_store(root, &store, promised).map_err(|error| format!("once collected, {error}"))?;
    if !store.wait_for_room(PATIENCE) {
        return Err("the trash is not emptied".into());
    }
    quiet(&store)?;
    drop(store);
    let left: Vec<String> = scratch_files(root)
        .into_iter()
        .chain(names(&root.join("mica/trash")))
        .collect();
    if !left.is_empty() {
        return Err(format!("{left:?} lie around"));
    }
    let store = Store::open(root).map_err(|error| format!("it cannot be opened again: {}", whole(&error)))?;
    quiet(&store)?;
    match listed(&store)? == before {
        true => Ok(()),
        false => Err("a second open shows other images".into()),
    }
}

/// An error with all its causes.
pub(crate) fn whole(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

fn quiet(store: &Store) -> Result<(), String> {
    match store.troubles().is_empty() {
        true => Ok(()),
        false => Err(format!("it has troubles: {:?}", store.troubles())),
    }
}

fn listed(store: &Store) -> Result<BTreeSet<String>, String> {
    let images = store.images().map_err(|error| whole(&error))?;
    Ok(images
        .iter()
        .map(|image| format!("{} {:?} {:?}", image.id, image.references, image.manifest))
        .collect())
}

/// Looks at all of an open store.
pub(crate) fn whole_store(root: &Path, store: &Store, promised: &Promised) -> Result<(), String> {
    let wrong = |error: Error| whole(&error);
    for (name, choices) in &promised.names {
        let found = store.resolve(name).map_err(wrong)?;
        if !choices.contains(&found) {
            return Err(format!("{name} leads to {found:?}, promised is {choices:?}"));
        }
    }
    let mut found = None;
    let checked = store.check(
        Level::Quick,
        &mut Watch {
            go_on: &|| Ok(()),
            tell: &mut |event| {
                if let CheckEvent::Found(finding) = event {
                    // a list that could not be written is told as a trouble until it is
                    let is_told = finding.thing == Thing::Derived && !store.troubles().is_empty();
                    if !is_told {
                        found.get_or_insert(finding);
                    }
                }
            },
        },
    );
    checked.map_err(wrong)?;
    if let Some(finding) = found {
        return Err(format!("the check finds {finding:?}"));
    }
    let images = store.images().map_err(wrong)?;
    let ids: BTreeSet<_> = images.iter().map(|image| image.id).collect();
    if let Some(lost) = promised.there.iter().find(|id| !ids.contains(id)) {
        return Err(format!("image {lost} was promised and is gone"));
    }
    if let Some(back) = promised.gone.iter().find(|id| ids.contains(id)) {
        return Err(format!("image {back} was removed and is there"));
    }
    let mounts = store.mount_entries().map_err(wrong)?;
    for name in &promised.mounts {
        let found = mounts.iter().find(|mount| mount.name == *name);
        let place = found.map(|mount| root.join("mica/mounts").join(mount.id.digest().hex()).join("fs"));
        if !place.is_some_and(|place| place.is_dir()) {
            return Err(format!("cache mount {name} was promised and is gone"));
        }
    }
    let lease = store.lease();
    let mut layers: BTreeSet<DiffId> = BTreeSet::new();
    for image in &images {
        let manifest = blob(store, &lease, &image.manifest.digest)?;
        let manifest = Raw::<Manifest>::parse(&manifest).map_err(|error| error.to_string())?;
        blob(store, &lease, image.id.digest())?;
        for document in store.documents(&lease, &image.id).map_err(wrong)? {
            blob(store, &lease, &document)?;
        }
        if manifest.layers.len() != image.config.rootfs.diff_ids.len() {
            return Err(format!("the manifest of {} fits another image", image.id));
        }
        layers.extend(&image.config.rootfs.diff_ids);
    }
    layers.extend(
        store
            .cache_entries()
            .map_err(wrong)?
            .iter()
            .map(|entry| entry.record.layer),
    );
    for layer in &layers {
        let tar = store
            .tar(&lease, layer)
            .map_err(|error| format!("layer {layer} is not whole: {}", whole(&error)))?;
        digest(tar.path(), layer.digest())?;
    }
    for file in blob_files(root) {
        let named = Digest::from_hex(&file).map_err(|_| format!("blobs/sha256/{file} is no digest"))?;
        digest(&root.join("blobs/sha256").join(file), &named)?;
    }
    match index(root) {
        // it may name what is gone as long as it is told that it could not be written
        Err(error) if store.troubles().is_empty() => Err(error),
        _ => Ok(()),
    }
}

fn digest(path: &Path, expected: &Digest) -> Result<Vec<u8>, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("blob {expected}: {error}"))?;
    match Digest::of(&bytes) == *expected {
        true => Ok(bytes),
        false => Err(format!(
            "blob {expected} has other bytes ({} of them)",
            bytes.len()
        )),
    }
}

fn blob(store: &Store, lease: &Lease, named: &Digest) -> Result<Vec<u8>, String> {
    let blob = store.blob(lease, named).map_err(|error| whole(&error))?;
    digest(blob.ok_or_else(|| format!("blob {named} is gone"))?.path(), named)
}

/// Whatever `index.json` names can be read in place.
fn index(root: &Path) -> Result<(), String> {
    let bytes = std::fs::read(root.join("index.json")).map_err(|error| format!("index.json: {error}"))?;
    let index = Raw::<Index>::parse(&bytes).map_err(|error| format!("index.json: {error}"))?;
    let place = |digest: &Digest| root.join("blobs/sha256").join(digest.hex());
    for image in &index.manifests {
        let manifest = digest(&place(&image.digest), &image.digest)?;
        let manifest = Raw::<Manifest>::parse(&manifest).map_err(|error| error.to_string())?;
        for part in manifest.layers.iter().chain([&manifest.config]) {
            digest(&place(&part.digest), &part.digest)?;
        }
    }
    Ok(())
}
