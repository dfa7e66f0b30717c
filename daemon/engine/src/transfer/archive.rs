//! Images into tars and out of them.

use std::io::{Read, Write};

use mica_oci::{Attested, Descriptor, ImageId, Platform, PlatformImage, Reference};
use mica_store::archive::{self, BlobSink, LoadEvent, Loaded};
use mica_store::{Image, Lease};

use crate::engine::Engine;
use crate::error::Error;
use crate::feed::Action;
use crate::resolve::{names_id, whole_id};

/// Images that were asked for by name, kept from deletion until they are saved.
pub struct Saving {
    images: Vec<(Image, Vec<Reference>)>,
    attested: Attested,
    lease: Lease,
}

/// Images for several platforms, kept from deletion until they are saved as one.
pub struct SavingIndex {
    images: Vec<(Image, Platform)>,
    names: Vec<Reference>,
    attested: Attested,
    lease: Lease,
}

impl Engine {
    /// Holds images for several platforms to be saved as one under names that they need not have here. `attested` goes with
    /// them.
    pub fn prepare_index(
        &self,
        images: &[PlatformImage],
        names: Vec<Reference>,
        attested: Attested,
    ) -> Result<SavingIndex, Error> {
        let lease = self.store().lease();
        let held = images.iter().map(|PlatformImage { platform, image: id }| {
            let image = self.store().hold_image(&lease, id)?;
            let image = image.ok_or_else(|| Error::NoSuchImage { name: id.to_string() })?;
            Ok::<_, Error>((image, platform.clone()))
        });
        Ok(SavingIndex {
            images: held.collect::<Result<_, _>>()?,
            names,
            attested,
            lease,
        })
    }

    /// Writes the archive: OCI's layout, its index that of the platforms, whose descriptor this gives.
    pub fn save_index(&self, saving: &SavingIndex, out: &mut dyn Write) -> Result<Descriptor, Error> {
        let index = archive::save_index(
            self.store(),
            &saving.lease,
            (&saving.images, &saving.attested),
            &saving.names,
            out,
        )?;
        for (image, _) in &saving.images {
            self.feed().image(Action::Save, image, image.id.to_string());
        }
        Ok(index)
    }

    /// Looks up what is to be saved: an ID means the image without names, a repository all its tags.
    pub fn prepare_save(&self, names: &[String], platform: Option<&Platform>) -> Result<Saving, Error> {
        let lease = self.store().lease();
        let mut images: Vec<(Image, Vec<Reference>)> = Vec::new();
        for name in names {
            for (image, reference) in self.meant_by(name, platform)? {
                // what was deleted since it was looked up is as good as never there
                let Some(image) = self.store().hold_image(&lease, &image.id)? else {
                    return Err(Error::NoSuchImage { name: name.clone() });
                };
                let at = match images.iter().position(|(known, _)| known.id == image.id) {
                    Some(at) => at,
                    None => {
                        images.push((image, Vec::new()));
                        images.len() - 1
                    }
                };
                let references = &mut images[at].1;
                references.extend(
                    reference
                        .filter(|new| !references.contains(new))
                        .into_iter()
                        .collect::<Vec<_>>(),
                );
            }
        }
        Ok(Saving {
            images,
            attested: Attested::new(),
            lease,
        })
    }

    /// Holds one image to be saved under names that it need not have here.
    /// `attested` goes with it.
    pub fn prepare_image(
        &self,
        id: &ImageId,
        names: Vec<Reference>,
        attested: Attested,
    ) -> Result<Saving, Error> {
        let lease = self.store().lease();
        let image = self.store().hold_image(&lease, id)?;
        let image = image.ok_or_else(|| Error::NoSuchImage { name: id.to_string() })?;
        Ok(Saving {
            images: vec![(image, names)],
            attested,
            lease,
        })
    }

    /// Writes the archive: docker's and OCI's layout in one tar.
    pub fn save(&self, saving: &Saving, out: &mut dyn Write) -> Result<(), Error> {
        archive::save_attested(
            self.store(),
            &saving.lease,
            (&saving.images, &saving.attested),
            out,
        )?;
        for (image, _) in &saving.images {
            self.feed().image(Action::Save, image, image.id.to_string());
        }
        Ok(())
    }

    /// What the archive of one image calls it: the manifest that is in it.
    pub fn describe(&self, saving: &Saving) -> Result<Descriptor, Error> {
        let image = saving.images.first().ok_or(Error::Worker)?;
        archive::describe(self.store(), &saving.lease, image, &saving.attested)?.ok_or(Error::Worker)
    }

    /// Hands over all that the archive would hold, blob by blob.
    pub fn save_blobs(&self, saving: &Saving, to: &mut dyn BlobSink) -> Result<(), Error> {
        archive::blobs(
            self.store(),
            &saving.lease,
            (&saving.images, &saving.attested),
            to,
        )?;
        for (image, _) in &saving.images {
            self.feed().image(Action::Save, image, image.id.to_string());
        }
        Ok(())
    }

    /// Reads an archive, in any compression, and tells what comes in.
    pub fn load(&self, input: Box<dyn Read>, on: &mut dyn FnMut(LoadEvent)) -> Result<Vec<Loaded>, Error> {
        self.told(self.load_from(input, on))
    }

    fn load_from(&self, input: Box<dyn Read>, on: &mut dyn FnMut(LoadEvent)) -> Result<Vec<Loaded>, Error> {
        let lease = self.store().lease();
        let mut told = Ok(());
        let loaded = archive::load(self.store(), &lease, input, &mut |event| {
            if let LoadEvent::Image(id) = &event
                && told.is_ok()
            {
                told = self.tell_loaded(id);
            }
            on(event);
        })?;
        told.map(|()| loaded)
    }

    /// Images before one that fails stay loaded, so that each is told of by itself.
    fn tell_loaded(&self, id: &ImageId) -> Result<(), Error> {
        if let Some(image) = self.store().image(id)? {
            self.feed().image(Action::Load, &image, id.to_string());
        }
        Ok(())
    }

    fn meant_by(
        &self,
        name: &str,
        platform: Option<&Platform>,
    ) -> Result<Vec<(Image, Option<Reference>)>, Error> {
        if whole_id(name).is_none()
            && let Ok(reference) = name.parse::<Reference>()
            && reference.tag.is_none()
            && reference.digest.is_none()
        {
            let tags = self.tags_of(&reference, platform)?;
            if !tags.is_empty() {
                return Ok(tags);
            }
        }
        let image = self.image_for(name, platform)?;
        let reference = name.parse::<Reference>().ok().map(Reference::or_latest);
        let own = reference.filter(|reference| image.references.contains(reference));
        let reference = match own {
            Some(reference) if reference.digest.is_none() => Some(reference),
            _ if names_id(name, &image.id) => None,
            // a name by digest: the archive cannot carry it as a tag
            _ => None,
        };
        Ok(vec![(image, reference)])
    }

    fn tags_of(
        &self,
        bare: &Reference,
        platform: Option<&Platform>,
    ) -> Result<Vec<(Image, Option<Reference>)>, Error> {
        let found = self.tagged_in(&bare.repository, platform)?;
        let each = |(image, tags): (Image, Vec<Reference>)| {
            tags.into_iter().map(move |tag| (image.clone(), Some(tag)))
        };
        Ok(found.into_iter().flat_map(each).collect())
    }
}
