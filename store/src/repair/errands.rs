//! What is to be fetched and where from.

use mica_oci::config::ImageConfig;
use mica_oci::media::OCI_LAYER_GZIP;
use mica_oci::{Descriptor, DiffId, Digest, ImageId, Manifest, MediaType, Raw};
use rusqlite::{Connection, OptionalExtension};

use crate::check::harm;
use crate::error::Error;
use crate::repair::{Errand, Goods};
use crate::rows;
use crate::store::Store;

impl Store {
    /// A manifest or index from wherever it is known to have been.
    pub(super) fn errand_for_document(&self, digest: &Digest) -> Result<Option<Errand>, Error> {
        let from = self.inner.database.read(|db| {
            let harms = harm::of_document(db, digest)?;
            harm::origins(db, digest, &harms)
        })?;
        Ok((!from.is_empty()).then_some(Errand {
            goods: Goods::Document(*digest),
            from,
        }))
    }

    /// A config. How long it is, only a manifest tells.
    pub(super) fn errand_for_config(&self, image: &ImageId) -> Result<Option<Errand>, Error> {
        let (from, manifests) = self.inner.database.read(|db| {
            let harms = harm::of_document(db, image.digest())?;
            let mut manifests = crate::documents::of(db, image)?;
            manifests.extend(current_manifest(db, image)?);
            Ok((harm::origins(db, image.digest(), &harms)?, manifests))
        })?;
        let mut manifests = manifests.iter().filter_map(|digest| self.read_manifest(digest));
        let config = manifests.find(|manifest| manifest.config.digest == *image.digest());
        Ok(config.filter(|_| !from.is_empty()).map(|manifest| Errand {
            goods: Goods::Config(manifest.config.clone()),
            from,
        }))
    }

    /// All blobs that hold a layer, or are said to, as far as it is known where they were; `first` before all others.
    pub(super) fn errands_for_layer(
        &self,
        diff_id: &DiffId,
        only: Option<&Digest>,
    ) -> Result<Vec<Errand>, Error> {
        let found = self.inner.database.read(|db| {
            let harms = harm::of_layer(db, diff_id)?;
            let mut found = Vec::new();
            for blob in harm::blobs_of(db, diff_id)? {
                // the tar itself is no more likely to be anywhere than its compressed blobs
                let from = harm::origins(db, &blob, &harms)?;
                if only.is_none_or(|only| *only == blob) && !from.is_empty() {
                    found.push((blob, from, images_naming(db, &blob)?, known_size(db, &blob)?));
                }
            }
            Ok(found)
        })?;
        let mut errands = Vec::new();
        for (blob, from, images, size) in found {
            let described = images
                .iter()
                .filter_map(|manifest| self.read_manifest(manifest))
                .find_map(|manifest| manifest.layers.iter().find(|layer| layer.digest == blob).cloned());
            if let Some(layer) =
                described.or_else(|| size.map(|(kind, size)| Descriptor::new(kind, blob, size)))
            {
                errands.push(Errand {
                    goods: Goods::Layer(layer, *diff_id),
                    from,
                });
            }
        }
        Ok(errands)
    }

    /// A manifest that is here and sound.
    fn read_manifest(&self, digest: &Digest) -> Option<Raw<Manifest>> {
        let bytes = self.read_document(digest)?;
        Raw::<Manifest>::parse(&bytes).ok()
    }

    /// The config of an image, if it is here and sound.
    pub(super) fn read_config(&self, image: &ImageId) -> Option<Raw<ImageConfig>> {
        if let Some(config) = self.inner.configs.get(image) {
            return Some((*config).clone());
        }
        Raw::<ImageConfig>::parse(&self.read_document(image.digest())?).ok()
    }
}

/// The manifest that an image has now.
pub(super) fn current_manifest(db: &Connection, image: &ImageId) -> Result<Option<Digest>, Error> {
    let raw: Option<[u8; 32]> = rows::first(
        db,
        "SELECT manifest FROM images WHERE id = ?1",
        [image.digest().as_raw()],
    )?;
    Ok(raw.map(Digest::from_raw))
}

/// The manifests of the images that name a blob for one of their layers.
fn images_naming(db: &Connection, blob: &Digest) -> Result<Vec<Digest>, Error> {
    let mut query = db.prepare_cached(
        "SELECT DISTINCT i.manifest FROM image_layers l JOIN images i ON i.id = l.image WHERE l.blob = ?1 LIMIT 16",
    )?;
    let found = query.query_map([blob.as_raw()], |row| rows::digest(row, 0))?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// What the rows say of a compressed blob: its media type and its length.
fn known_size(db: &Connection, blob: &Digest) -> Result<Option<(MediaType, u64)>, Error> {
    let mut query = db.prepare_cached(
        "SELECT compression, size FROM layer_blobs WHERE digest = ?1
         UNION ALL SELECT compression, size FROM layer_claims WHERE digest = ?1 LIMIT 1",
    )?;
    let found = query.query_row([blob.as_raw()], |row| {
        let kind: Option<String> = row.get(0)?;
        let kind = kind.unwrap_or_else(|| OCI_LAYER_GZIP.to_owned());
        Ok((MediaType::new(kind), rows::bytes(row, 1)?))
    });
    Ok(found.optional()?)
}
