//! Configs, manifests and indexes: small, so that each is read and hashed whatever the level.

use mica_oci::config::ImageConfig;
use mica_oci::document::CONFIG_LIMIT;
use mica_oci::{DiffId, Digest, ImageId, Manifest, Raw};
use rusqlite::Connection;

use super::{Check, PAGE, harm};
use crate::check::finding::{Fault, Finding, Remedy, Thing};
use crate::error::Error;
use crate::locks::share;
use crate::rows;

/// What the database says of one image.
struct Row {
    image: ImageId,
    manifest: Digest,
    manifest_size: u64,
    layers: Vec<(DiffId, Digest)>,
}

impl Check<'_, '_> {
    /// Every image: its config, its manifest, and whether the database says of its layers what they say.
    pub(super) fn images(&mut self) -> Result<(), Error> {
        let store = self.store.clone();
        let mut last = Vec::new();
        loop {
            self.go_on()?;
            let _gate = share(&store.inner.gate);
            let page = store.inner.database.read(|db| {
                let page = digests(
                    db,
                    "SELECT id FROM images WHERE id > ?1 ORDER BY id LIMIT ?2",
                    &last,
                )?;
                page.iter()
                    .map(|id| row(db, &ImageId(*id)))
                    .collect::<Result<Vec<_>, _>>()
            })?;
            let Some(end) = page.last() else { return Ok(()) };
            last = end.image.digest().as_raw().to_vec();
            for row in &page {
                self.checked.images += 1;
                self.image(row)?;
            }
        }
    }

    fn image(&mut self, row: &Row) -> Result<(), Error> {
        let config = self.document(row.image.digest(), None, &|| Thing::Config(row.image))?;
        let manifest = self.document(&row.manifest, Some(row.manifest_size), &|| {
            Thing::Manifest(row.image, row.manifest)
        })?;
        // what is damaged was told of; what cannot be parsed has been so from the start
        let (Some(config), Some(manifest)) = (config, manifest) else {
            return Ok(());
        };
        let thing = || Thing::LayerList(row.image);
        let Ok(config) = Raw::<ImageConfig>::parse(&config) else {
            return self.contradicts(row, thing(), "has a config that is none".to_owned());
        };
        let Ok(manifest) = Raw::<Manifest>::parse(&manifest) else {
            return self.contradicts(row, thing(), "has a manifest that is none".to_owned());
        };
        let named = manifest.layers.iter().map(|layer| layer.digest);
        let said: Vec<(DiffId, Digest)> = config.rootfs.diff_ids.iter().copied().zip(named).collect();
        if said != row.layers || manifest.layers.len() != config.rootfs.diff_ids.len() {
            let reason = "is another than its config and its manifest have".to_owned();
            return self.contradicts(row, thing(), reason);
        }
        Ok(())
    }

    fn contradicts(&mut self, row: &Row, thing: Thing, reason: String) -> Result<(), Error> {
        let harms = self.store.inner.database.read(|db| harm::one(db, &row.image))?;
        self.found(Finding {
            thing,
            fault: Fault::Contradiction { reason },
            place: self.store.inner.paths.database(),
            harms: vec![harms],
            remedy: Remedy::MakeAgain,
        });
        Ok(())
    }

    /// The documents that are no image's current manifest.
    pub(super) fn other_documents(&mut self) -> Result<(), Error> {
        let store = self.store.clone();
        let mut last = Vec::new();
        loop {
            self.go_on()?;
            let _gate = share(&store.inner.gate);
            let page = store.inner.database.read(|db| {
                digests(
                    db,
                    "SELECT DISTINCT digest FROM documents WHERE digest > ?1
                     AND digest NOT IN (SELECT manifest FROM images) ORDER BY digest LIMIT ?2",
                    &last,
                )
            })?;
            let Some(end) = page.last() else { return Ok(()) };
            last = end.as_raw().to_vec();
            for digest in &page {
                self.document(digest, None, &|| Thing::Document(*digest))?;
            }
        }
    }

    /// The bytes of a document; nothing if something is wrong with it, which is told.
    fn document(
        &mut self,
        digest: &Digest,
        size: Option<u64>,
        thing: &dyn Fn() -> Thing,
    ) -> Result<Option<Vec<u8>>, Error> {
        let path = self.store.inner.paths.blob(digest);
        let mut fault = self.look(&path, size)?;
        let mut bytes = Vec::new();
        if fault.is_none() {
            match read(&path) {
                Ok(read) => bytes = read,
                Err(error) => fault = Some(super::files::unreadable(&error)),
            }
            self.checked.bytes += bytes.len() as u64;
            let actual = Digest::of(&bytes);
            if fault.is_none() && actual != *digest {
                fault = Some(Fault::Content { actual });
            }
        }
        let Some(fault) = fault else {
            return Ok(Some(bytes));
        };
        let remembered = self.store.inner.configs.get(&ImageId(*digest)).is_some();
        let (harms, remedy) = self.store.inner.database.read(|db| {
            let harms = harm::of_document(db, digest)?;
            let remedy = match harm::origins(db, digest, &harms)?.is_empty() {
                _ if remembered => Remedy::MakeAgain,
                false => Remedy::Fetch,
                true => match thing() {
                    Thing::Document(_) => Remedy::Drop,
                    Thing::Manifest(..) => Remedy::MakeAgain,
                    _ => Remedy::Renew,
                },
            };
            Ok((harms, remedy))
        })?;
        self.found(Finding {
            thing: thing(),
            fault,
            place: path,
            harms,
            remedy,
        });
        Ok(None)
    }
}

/// Reads a document, of which none is longer than the longest config.
pub(crate) fn read(path: &std::path::Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    fs_err::File::open(path)?
        .take(CONFIG_LIMIT as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn row(db: &Connection, image: &ImageId) -> Result<Row, Error> {
    let own = [image.digest().as_raw()];
    let (manifest, manifest_size) = db
        .prepare_cached("SELECT manifest, manifest_size FROM images WHERE id = ?1")?
        .query_row(own, |row| Ok((rows::digest(row, 0)?, rows::bytes(row, 1)?)))?;
    let mut query =
        db.prepare_cached("SELECT diff_id, blob FROM image_layers WHERE image = ?1 ORDER BY position")?;
    let layers = query.query_map(own, |row| {
        Ok((DiffId(rows::digest(row, 0)?), rows::digest(row, 1)?))
    })?;
    Ok(Row {
        image: *image,
        manifest,
        manifest_size,
        layers: layers.collect::<Result<_, _>>()?,
    })
}

/// A page of digests; the query wants what comes before it, and how many.
pub(super) fn digests(db: &Connection, query: &str, last: &[u8]) -> Result<Vec<Digest>, Error> {
    let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
    let mut query = db.prepare_cached(query)?;
    let found = query.query_map((last, limit), |row| rows::digest(row, 0))?;
    Ok(found.collect::<Result<_, _>>()?)
}
