//! Naming images and looking at how they were made.

use jiff::Timestamp;
use mica_oci::{History, ImageId, Platform, Reference, Repository, Tag};
use mica_store::{Image, Lease};

use crate::engine::Engine;
use crate::error::Error;
use crate::feed::Action;

/// One step of how an image came to be.
#[derive(Debug, Clone)]
pub struct Step {
    /// The image after the step, where the store has it.
    pub image: Option<ImageId>,
    /// That image's names.
    pub references: Vec<Reference>,
    /// When the step was done.
    pub created: Option<Timestamp>,
    /// The instruction.
    pub created_by: String,
    /// Bytes the step added; 0 for a step without a layer.
    pub size: u64,
    /// Free text.
    pub comment: String,
}

/// An image whose config and layers stay whatever is pruned, as long as this lives.
pub struct HeldImage {
    image: Image,
    lease: Lease,
}

impl HeldImage {
    /// Which image.
    pub fn id(&self) -> ImageId {
        self.image.id
    }
}

impl Engine {
    /// Gives the image that `source` means another name; what had the name before loses it.
    pub fn tag(&self, source: &str, repository: &str, tag: Option<&str>) -> Result<(), Error> {
        let target = tag_target(repository, tag)?;
        let image = self.image_without_names(source)?;
        self.told(self.store().tag(&target, &image.id).map_err(Error::from))?;
        self.feed().image(Action::Tag, &image, target.familiar());
        Ok(())
    }

    /// Holds an image that has no name yet.
    pub fn hold(&self, id: &ImageId) -> Result<HeldImage, Error> {
        let lease = self.store().lease();
        let image = self.store().hold_image(&lease, id)?;
        let image = image.ok_or_else(|| Error::NoSuchImage { name: id.to_string() })?;
        Ok(HeldImage { image, lease })
    }

    /// Gives a held image names. If a prune took it meanwhile it is there again, of what was held of it.
    pub fn name(&self, held: &HeldImage, names: &[Reference]) -> Result<(), Error> {
        self.store()
            .commit_image(&held.lease, &held.image.config, None, names)?;
        for name in names {
            self.feed().image(Action::Tag, &held.image, name.familiar());
        }
        Ok(())
    }

    /// How the image that `name` means came to be, newest step first; it has to be for `platform`.
    pub fn history(&self, name: &str, platform: Option<&Platform>) -> Result<Vec<Step>, Error> {
        let image = self.image_for(name, platform)?;
        let mut steps = self.steps(&image)?;
        let mut ancestor = Some(image);
        // a builder that kept its intermediate images has one for each step
        for step in &mut steps {
            let Some(image) = ancestor else { break };
            step.image = Some(image.id);
            step.references = image.references;
            ancestor = match image.parent {
                Some(parent) => self.store().image(&parent)?,
                None => None,
            };
        }
        Ok(steps)
    }

    fn steps(&self, image: &Image) -> Result<Vec<Step>, Error> {
        let lease = self.store().lease();
        let mut sizes = Vec::new();
        for diff_id in &image.config.rootfs.diff_ids {
            sizes.push(self.store().layer(&lease, diff_id)?.map_or(0, |layer| layer.size));
        }
        let mut sizes = sizes.into_iter();
        let mut steps: Vec<Step> = image
            .config
            .history
            .iter()
            .map(|entry| {
                step(
                    entry,
                    if entry.empty_layer {
                        0
                    } else {
                        sizes.next().unwrap_or(0)
                    },
                )
            })
            .collect();
        // layers no step accounts for: images made by tools that write no history
        steps.extend(sizes.map(|size| Step {
            image: None,
            references: Vec::new(),
            created: image.created,
            created_by: String::new(),
            size,
            comment: String::new(),
        }));
        steps.reverse();
        Ok(steps)
    }
}

fn step(entry: &History, size: u64) -> Step {
    Step {
        image: None,
        references: Vec::new(),
        created: entry.created,
        created_by: entry.created_by.clone(),
        size,
        comment: entry.comment.clone(),
    }
}

/// What a new name may be: a repository that may carry its own tag, and a tag beside it that decides.
pub fn tag_target(repository: &str, tag: Option<&str>) -> Result<Reference, Error> {
    let reference: Reference = repository.parse()?;
    if reference.digest.is_some() {
        return Err(Error::TagWithDigest);
    }
    let tag = match tag.filter(|tag| !tag.is_empty()) {
        Some(tag) => Tag::new(tag)?,
        None => reference.tag.unwrap_or_else(Tag::latest),
    };
    refuse_ambiguous(&reference.repository)?;
    Ok(Reference::tagged(reference.repository, tag))
}

fn refuse_ambiguous(repository: &Repository) -> Result<(), Error> {
    if repository.familiar() == "sha256" {
        return Err(Error::AmbiguousTag);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_put_together() {
        for (repository, tag, familiar) in [
            ("a", None, "a:latest"),
            ("a", Some(""), "a:latest"),
            ("a", Some("1"), "a:1"),
            ("a:2", None, "a:2"),
            ("a:2", Some("1"), "a:1"),
            ("localhost:5000/x", Some("1"), "localhost:5000/x:1"),
        ] {
            assert_eq!(tag_target(repository, tag).unwrap().familiar(), familiar);
        }
    }

    #[test]
    fn names_that_would_read_as_something_else_are_refused() {
        let digest = format!("a@{}", mica_oci::Digest::of(b""));
        assert!(matches!(tag_target(&digest, None), Err(Error::TagWithDigest)));
        assert!(matches!(
            tag_target("sha256", Some("x")),
            Err(Error::AmbiguousTag)
        ));
        assert!(matches!(tag_target("A", None), Err(Error::Reference(_))));
        assert!(matches!(tag_target("a", Some("b c")), Err(Error::Reference(_))));
        assert!(tag_target("me/sha256", None).is_ok());
    }
}
