//! Archives of images to be loaded.

use std::io::Cursor;

use mica_oci::media::{OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST};
use mica_oci::{Descriptor, DiffId, Digest, ImageId, Manifest, Raw};
use mica_store::archive::{LoadEvent, Loaded, load, save};
use mica_store::{Error, Store};

use super::{Entry, config, descriptor, gzip, index, layer, name, store, tar};

/// Loads all of an archive.
pub(crate) fn load_all(store: &Store, bytes: &[u8]) -> Result<(Vec<Loaded>, Vec<LoadEvent>), Error> {
    let mut events = Vec::new();
    let input = Box::new(Cursor::new(bytes.to_vec()));
    let loaded = load(store, &store.lease(), input, &mut |event| events.push(event))?;
    Ok((loaded, events))
}

/// An archive of an image that is called `a`, of one layer with this tar.
pub(crate) fn saved(plain: &[u8]) -> Vec<u8> {
    let (_folder, store) = store();
    let lease = store.lease();
    let diff_id = layer(&store, &lease, plain);
    let image = store
        .commit_image(&lease, &config("a", &[diff_id]), None, &[name("a")])
        .unwrap()
        .image;
    let mut archive = Vec::new();
    save(&store, &lease, &[(image, vec![name("a")])], &mut archive).unwrap();
    archive
}

/// A tar with one file.
pub(crate) fn small_layer(text: &str) -> Vec<u8> {
    tar(&[Entry::File("file", text.as_bytes())])
}

/// What a layer with this tar is called.
pub(crate) fn diff_id(tar: &[u8]) -> DiffId {
    DiffId(Digest::of(tar))
}

/// An OCI layout with one image of one gzip layer, its manifest and its index.
pub(crate) fn layout(annotations: &[(&str, &str)], nested: bool) -> (Vec<u8>, ImageId, Digest) {
    let plain = small_layer("one");
    let packed = gzip(&plain);
    let config = config("oci", &[diff_id(&plain)]);
    let own = Descriptor::new(OCI_CONFIG, config.digest(), config.bytes().len() as u64);
    let layer = Descriptor::new(OCI_LAYER_GZIP, Digest::of(&packed), packed.len() as u64);
    let manifest = Raw::of(Manifest::new(own, vec![layer])).unwrap();
    let mut top = descriptor(&manifest);
    let mut other = Descriptor::new(OCI_MANIFEST, Digest::of(b"not here"), 8);
    other.platform = Some("linux/s390x".parse().unwrap());
    let inner = index(vec![other, top.clone()]);
    if nested {
        top = Descriptor::new(OCI_INDEX, inner.digest(), inner.bytes().len() as u64);
    }
    top.annotations = annotations
        .iter()
        .map(|(k, v)| ((*k).into(), (*v).into()))
        .collect();
    let outer = index(vec![top]);
    let path = |digest: Digest| format!("blobs/sha256/{}", digest.hex());
    let bytes = tar(&[
        Entry::File("index.json", outer.bytes()),
        Entry::File(&path(inner.digest()), inner.bytes()),
        Entry::File(&path(manifest.digest()), manifest.bytes()),
        Entry::File(&path(config.digest()), config.bytes()),
        Entry::File(&path(Digest::of(&packed)), &packed),
        Entry::File("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
    ]);
    (bytes, ImageId(config.digest()), manifest.digest())
}
