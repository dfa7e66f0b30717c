//! Mending configs, manifests, indexes, and what the database says of an image's layers.

use mica_oci::{DiffId, Digest, ImageId, Manifest, Raw};

use crate::commit::plain_manifest;
use crate::database::Durability;
use crate::error::Error;
use crate::lease::Lease;
use crate::locks::exclude;
use crate::repair::errands::current_manifest;
use crate::repair::{Cure, GivenUp, Mending};
use crate::rows;
use crate::store::Store;

impl Store {
    pub(super) fn mend_config(&self, lease: &Lease, image: &ImageId) -> Result<Mending, Error> {
        let digest = image.digest();
        if self.read_document(digest).is_some() || !self.is_image(image)? {
            return Ok(Mending::Done(Cure::ByItself));
        }
        if let Some(config) = self.inner.configs.get(image) {
            self.put_again(lease, digest, config.bytes())?;
            return Ok(Mending::Done(Cure::MadeAgain));
        }
        Ok(self.to_fetch(digest, self.errand_for_config(image)?))
    }

    pub(super) fn mend_manifest(
        &self,
        lease: &Lease,
        image: &ImageId,
        digest: &Digest,
    ) -> Result<Mending, Error> {
        let current = self.inner.database.read(|db| current_manifest(db, image))?;
        if current != Some(*digest) || self.read_document(digest).is_some() {
            return Ok(Mending::Done(Cure::ByItself));
        }
        if let Some(made) = self.make_manifest(lease, image)?
            && made.digest() == *digest
        {
            self.put_again(lease, digest, made.bytes())?;
            return Ok(Mending::Done(Cure::MadeAgain));
        }
        Ok(self.to_fetch(digest, self.errand_for_document(digest)?))
    }

    pub(super) fn mend_document(&self, digest: &Digest) -> Result<Mending, Error> {
        let named = self
            .inner
            .database
            .read(|db| rows::any(db, "SELECT 1 FROM documents WHERE digest = ?1", digest))?;
        if !named || self.read_document(digest).is_some() {
            return Ok(Mending::Done(Cure::ByItself));
        }
        Ok(self.to_fetch(digest, self.errand_for_document(digest)?))
    }

    /// It has to be fetched, if anybody is known to have it.
    fn to_fetch(&self, digest: &Digest, errand: Option<crate::repair::Errand>) -> Mending {
        // so that what comes takes its place
        self.inner.damaged.note(digest);
        Mending::Fetch(errand.into_iter().collect())
    }

    /// Writes a document anew in place of a damaged one.
    fn put_again(&self, lease: &Lease, digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
        self.inner.damaged.note(digest);
        self.put_blob(lease, bytes)?;
        self.inner.catalogue.changed();
        Ok(())
    }

    fn is_image(&self, image: &ImageId) -> Result<bool, Error> {
        self.inner
            .database
            .read(|db| rows::any(db, "SELECT 1 FROM images WHERE id = ?1", image.digest()))
    }

    /// A manifest for an image, of what is here of it; nothing where its config or a layer is not.
    fn make_manifest(&self, lease: &Lease, image: &ImageId) -> Result<Option<Raw<Manifest>>, Error> {
        let Some(config) = self.read_config(image) else {
            return Ok(None);
        };
        match self.pin_layers(lease, &config.rootfs.diff_ids) {
            Ok(layers) => plain_manifest(&config, &layers).map(Some),
            Err(Error::MissingLayer { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets a config aside: its image cannot be read any more.
    pub(super) fn give_up_document(&self, digest: &Digest) -> Result<GivenUp, Error> {
        let _gate = exclude(&self.inner.gate);
        if self.read_document(digest).is_some() {
            return Ok(GivenUp::Done(Cure::ByItself));
        }
        let aside = self
            .inner
            .set_aside(&self.inner.paths.blob(digest), &digest.hex())?;
        Ok(GivenUp::Lost { aside })
    }

    /// Gives an image another manifest.
    pub(super) fn give_up_manifest(
        &self,
        lease: &Lease,
        image: &ImageId,
        digest: &Digest,
    ) -> Result<GivenUp, Error> {
        let lost = self.give_up_document(digest)?;
        let config = self.read_config(image);
        let (GivenUp::Lost { .. }, Some(config), Some(made)) =
            (&lost, config, self.make_manifest(lease, image)?)
        else {
            return Ok(lost);
        };
        self.commit_with(lease, &config, &made)?;
        self.forget_document(digest)?;
        Ok(GivenUp::Done(Cure::Replaced))
    }

    /// Does without a manifest or index that images came with.
    pub(super) fn drop_document(&self, digest: &Digest) -> Result<GivenUp, Error> {
        match self.give_up_document(digest)? {
            GivenUp::Lost { .. } => {
                self.forget_document(digest)?;
                Ok(GivenUp::Done(Cure::Dropped))
            }
            done => Ok(done),
        }
    }

    fn forget_document(&self, digest: &Digest) -> Result<(), Error> {
        let place = self.inner.paths.blob(digest);
        self.inner.database.write(Durability::Full, |db| {
            // it came again meanwhile, with an image whose row must stay
            if fs_err::symlink_metadata(&place).is_ok() {
                return Ok(());
            }
            db.prepare_cached(
                "DELETE FROM documents WHERE digest = ?1 AND ?1 NOT IN (SELECT manifest FROM images)",
            )?
            .execute([digest.as_raw()])?;
            Ok(())
        })?;
        self.inner.catalogue.changed();
        Ok(())
    }

    /// Writes the rows of an image's layers again, from its config and its manifest.
    pub(super) fn mend_layer_list(&self, image: &ImageId) -> Result<Mending, Error> {
        let Some(current) = self.inner.database.read(|db| current_manifest(db, image))? else {
            return Ok(Mending::Done(Cure::ByItself));
        };
        let manifest = self.read_document(&current);
        let manifest = manifest.and_then(|bytes| Raw::<Manifest>::parse(&bytes).ok());
        let (Some(config), Some(manifest)) = (self.read_config(image), manifest) else {
            return Ok(Mending::Left(
                "its config or its manifest cannot be read".to_owned(),
            ));
        };
        let diff_ids = &config.rootfs.diff_ids;
        if diff_ids.len() != manifest.layers.len() {
            return Ok(Mending::Left(format!(
                "its config has {} layers and its manifest {}",
                diff_ids.len(),
                manifest.layers.len()
            )));
        }
        let named = manifest.layers.iter().map(|layer| layer.digest);
        let layers: Vec<(DiffId, Digest)> = diff_ids.iter().copied().zip(named).collect();
        let written = self.inner.database.write(Durability::Full, |db| {
            // it may have got another manifest since
            if current_manifest(db, image)? != Some(current) {
                return Ok(false);
            }
            crate::commit::write_layer_rows(db, image, &layers)?;
            Ok(true)
        })?;
        self.inner.catalogue.changed();
        Ok(match written {
            true => Mending::Done(Cure::MadeAgain),
            false => Mending::Done(Cure::ByItself),
        })
    }
}
