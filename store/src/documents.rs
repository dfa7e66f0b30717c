//! Manifests and indexes that images came with, kept byte for byte as long as the images are.

use mica_oci::{Digest, ImageId, Manifest, Raw};
use rusqlite::Connection;

use crate::error::Error;
use crate::images::Image;
use crate::lease::Lease;
use crate::locks::share;
use crate::rows;
use crate::store::Store;

/// The documents of an image.
pub(crate) fn of(db: &Connection, image: &ImageId) -> Result<Vec<Digest>, Error> {
    let mut query = db.prepare_cached("SELECT digest FROM documents WHERE image = ?1 ORDER BY digest")?;
    let found = query.query_map([image.digest().as_raw()], |row| rows::digest(row, 0))?;
    Ok(found.collect::<Result<_, _>>()?)
}

impl Store {
    /// The image's manifest as it is kept.
    pub fn manifest(&self, image: &Image) -> Result<Raw<Manifest>, Error> {
        let digest = image.manifest.digest;
        let path = self.inner.paths.blob(&digest);
        let bytes = fs_err::read(path).map_err(Error::io("read a manifest"))?;
        let manifest = Raw::<Manifest>::parse(&bytes).map_err(|source| Error::Document {
            what: format!("the manifest of image {}", image.id),
            source,
        })?;
        match manifest.digest() == digest {
            true => Ok(manifest),
            false => Err(Error::corrupt(
                image.id,
                "its manifest has other bytes than it should",
            )),
        }
    }

    /// The manifests and indexes the image came with; kept by the lease.
    pub fn documents(&self, lease: &Lease, image: &ImageId) -> Result<Vec<Digest>, Error> {
        let _gate = share(&self.inner.gate);
        let documents = self.inner.database.read(|db| of(db, image))?;
        for digest in &documents {
            lease.pin_blob(digest);
        }
        Ok(documents)
    }
}
