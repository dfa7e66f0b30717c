//! What a push has to send: which of an image's layers are ready, and which have yet to be compressed.

use mica_oci::{Compression, Descriptor, DiffId, ImageId, Manifest, Raw};
use mica_store::{Blob, Lease, Store};

use crate::error::Error;

/// How a layer is to be sent.
#[derive(Clone)]
pub(super) enum Parcel {
    /// As the blob that is here, or is known to have been.
    Ready(Descriptor, Blob),
    /// To be compressed.
    Raw(DiffId, Compression),
    /// Not at all: only the places its manifest names have it.
    Left(Descriptor),
}

/// What is to be sent, and the manifest if it is not to be made anew.
pub(super) struct Plan {
    pub(super) parcels: Vec<(DiffId, Parcel)>,
    pub(super) manifest: Option<Raw<Manifest>>,
}

impl Plan {
    /// Looks at what is here of an image. `wanted` is how layers that were made here are to be compressed.
    pub(super) fn of(
        store: &Store,
        lease: &Lease,
        id: &ImageId,
        wanted: Option<Compression>,
    ) -> Result<Self, Error> {
        let image = store
            .hold_image(lease, id)?
            .ok_or(mica_store::Error::MissingImage { image: *id })?;
        let manifest = store.manifest(&image)?;
        let diff_ids = image.config.rootfs.diff_ids.clone();
        // what came from a registry, or went to one, goes as it is
        let is_known = image.references.iter().any(|name| name.digest.is_some());
        if wanted.is_none()
            && (is_known || manifest.layers.iter().all(is_compressed))
            && let Some(parcels) = as_it_is(store, lease, &manifest, &diff_ids)?
        {
            return Ok(Self {
                parcels,
                manifest: Some(manifest),
            });
        }
        let mut parcels = Vec::new();
        for (position, diff_id) in diff_ids.iter().enumerate() {
            let described = manifest.layers.get(position);
            parcels.push((*diff_id, parcel(store, lease, diff_id, described, wanted)?));
        }
        Ok(Self {
            parcels,
            manifest: None,
        })
    }
}

fn is_compressed(layer: &Descriptor) -> bool {
    layer
        .media_type
        .layer_compression()
        .is_none_or(|compression| compression != Compression::None)
}

/// The layers as the manifest names them, if all that is to be sent is here.
fn as_it_is(
    store: &Store,
    lease: &Lease,
    manifest: &Raw<Manifest>,
    diff_ids: &[DiffId],
) -> Result<Option<Vec<(DiffId, Parcel)>>, Error> {
    let mut parcels = Vec::new();
    for (layer, diff_id) in manifest.layers.iter().zip(diff_ids) {
        let parcel = match store.blob(lease, &layer.digest)? {
            _ if layer.media_type.is_nondistributable() => Parcel::Left(layer.clone()),
            Some(blob) => Parcel::Ready(layer.clone(), blob),
            None => return Ok(None),
        };
        parcels.push((*diff_id, parcel));
    }
    Ok(Some(parcels))
}

/// How one layer of a manifest that is made anew is sent.
pub(super) fn parcel(
    store: &Store,
    lease: &Lease,
    diff_id: &DiffId,
    described: Option<&Descriptor>,
    wanted: Option<Compression>,
) -> Result<Parcel, Error> {
    if let Some(layer) = described.filter(|layer| layer.media_type.is_nondistributable()) {
        return Ok(Parcel::Left(layer.clone()));
    }
    let first = wanted.unwrap_or(Compression::Gzip);
    let ready = |compression: Compression, blob: Blob| {
        let descriptor = Descriptor::new(compression.layer_media_type(), blob.digest, blob.size);
        Parcel::Ready(descriptor, blob)
    };
    if let Some(blob) = store.layer_blob(lease, diff_id, first)? {
        return Ok(ready(first, blob));
    }
    // a layer that came from elsewhere keeps the form it came in
    let made_here = store
        .layer(lease, diff_id)?
        .is_some_and(|layer| layer.content.is_some());
    if wanted.is_none() || !made_here {
        for other in [Compression::Gzip, Compression::Zstd] {
            if let Some(blob) = store.layer_blob(lease, diff_id, other)? {
                return Ok(ready(other, blob));
            }
        }
    }
    Ok(Parcel::Raw(*diff_id, first))
}
