//! Removing many images: some of them in each transaction, so that who waits for the disk does not wait for each.

use mica_oci::{ImageId, Reference};
use rusqlite::{Connection, OptionalExtension};

use crate::error::Error;
use crate::gc::{Freed, Removed};
use crate::images::references_of;
use crate::locks::exclude;
use crate::store::Store;
use crate::{rows, tags};

/// How many images go at once: so many are a moment's work, and whoever waits meanwhile waits no longer.
const BATCH: usize = 32;

/// An image that is to go, as it was when it was chosen. What it is called since then is somebody else's who was told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doomed {
    /// The image.
    pub image: ImageId,
    /// What it was called. Without a tag among them it goes only if it has none by now, and whatever digests it has go with it.
    pub names: Vec<Reference>,
}

/// What became of an image that was to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fate {
    /// The image.
    pub image: ImageId,
    /// The names that were taken from it.
    pub untagged: Vec<Reference>,
    /// The image with what it freed, and then its nameless parents; empty if it is named or others are made from it.
    pub removed: Vec<(ImageId, Removed)>,
}

impl Store {
    /// Takes their names from images and removes those that have no name and no children then, with the nameless parents that
    /// are left without any. `tell` hears of each, and what it heard of is durable. Nothing is lost if this is given up
    /// between: those that are gone are gone.
    pub fn remove_images(&self, doomed: &[Doomed], tell: &mut dyn FnMut(Fate)) -> Result<(), Error> {
        for some in doomed.chunks(BATCH) {
            let (fates, thrown) = self.remove_some(some)?;
            fates.into_iter().for_each(&mut *tell);
            thrown?;
        }
        Ok(())
    }

    /// What became of them, and whether their files could be moved; the rows are gone also where those could not.
    fn remove_some(&self, doomed: &[Doomed]) -> Result<(Vec<Fate>, Result<u64, Error>), Error> {
        let gate = exclude(&self.inner.gate);
        let (fates, freed) = self.inner.database.write_to_free(|db| {
            let mut all = Freed::default();
            let mut fates = Vec::new();
            for one in doomed {
                fates.extend(self.decide(db, one, &mut all)?);
            }
            Ok((fates, all))
        })?;
        for (image, _) in fates.iter().flat_map(|fate| &fate.removed) {
            self.inner.configs.forget(image);
        }
        let thrown = self.throw_away(freed);
        drop(gate);
        if !fates.is_empty() {
            self.inner.catalogue.changed();
        }
        Ok((fates, thrown))
    }

    /// What becomes of one; nothing if it is gone, or was tagged since it was chosen without a tag.
    fn decide(&self, db: &Connection, doomed: &Doomed, all: &mut Freed) -> Result<Option<Fate>, Error> {
        let image = doomed.image;
        if !rows::any(db, "SELECT 1 FROM images WHERE id = ?1", image.digest())? {
            return Ok(None);
        }
        let is_tag = |name: &Reference| name.digest.is_none();
        let mut names = references_of(db, &image)?;
        if doomed.names.iter().any(is_tag) {
            names.retain(|name| doomed.names.contains(name));
        } else if names.iter().any(is_tag) {
            return Ok(None);
        }
        for name in &names {
            tags::remove(db, name)?;
        }
        Ok(Some(Fate {
            image,
            untagged: names,
            removed: self.remove_family(db, image, all)?,
        }))
    }

    fn remove_family(
        &self,
        db: &Connection,
        image: ImageId,
        all: &mut Freed,
    ) -> Result<Vec<(ImageId, Removed)>, Error> {
        let mut removed = Vec::new();
        let mut next = Some(image);
        while let Some(image) = next {
            let parent = db
                .prepare_cached("SELECT parent FROM images WHERE id = ?1")?
                .query_row([image.digest().as_raw()], |row| rows::maybe_digest(row, 0))
                .optional()?;
            let named = rows::any(db, "SELECT 1 FROM refs WHERE image = ?1", image.digest())?;
            let Some(parent) = parent.filter(|_| !named) else {
                break;
            };
            if rows::any(db, "SELECT 1 FROM images WHERE parent = ?1", image.digest())? {
                break;
            }
            let (layers, freed) = self.forget_image(db, &image)?;
            removed.push((image, all.add(freed, &layers)));
            next = parent.map(ImageId);
        }
        Ok(removed)
    }
}
