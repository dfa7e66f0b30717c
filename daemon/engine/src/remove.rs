//! Taking names away from images, and images away (engine API contract, "DELETE /images").

use std::collections::BTreeSet;

use mica_oci::{ChainId, ImageId, Reference, Repository};
use mica_store::{Error as StoreError, Image};

use crate::engine::Engine;
use crate::error::Error;
use crate::resolve::names_id;
use crate::select::Selection;

/// One thing a removal did, in the order it was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// A name is gone.
    Untagged(Reference),
    /// An image is gone.
    Image(ImageId),
    /// The layer on top of this chain is gone.
    Layer(ChainId),
}

/// How a removal goes about it.
#[derive(Debug, Clone, Copy, Default)]
pub struct RemoveOptions {
    /// Removes an image with many names too.
    pub force: bool,
    /// Leaves untagged parents.
    pub keep_parents: bool,
}

/// What a prune did.
#[derive(Debug, Clone, Default)]
pub struct PrunedImages {
    /// In the order it was done.
    pub removals: Vec<Removal>,
    /// Bytes freed on disk.
    pub bytes: u64,
}

/// What happens to an image that others are built on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Children {
    Refuse,
    LeaveImage,
}

impl Engine {
    /// Takes the name `name` away from its image, and the image if that was its last name; by ID, the image with all its names.
    pub fn remove(&self, name: &str, options: RemoveOptions) -> Result<Vec<Removal>, Error> {
        let mut report = PrunedImages::default();
        self.remove_into(name, options, &mut report)?;
        Ok(report.removals)
    }

    /// Removes what the selection admits: untagged images, or with `dangling: Some(false)` all of them. Only one prune runs at
    /// a time.
    pub fn prune_images(&self, selection: &Selection) -> Result<PrunedImages, Error> {
        let _claim = self.begin_pruning()?;
        let untagged_only = selection.dangling != Some(false);
        let images = self.store().images()?;
        let parents: BTreeSet<ImageId> = images.iter().filter_map(|image| image.parent).collect();
        let mut report = PrunedImages::default();
        for image in images {
            let tagged = image
                .references
                .iter()
                .any(|reference| reference.digest.is_none());
            let spared = untagged_only && (tagged || parents.contains(&image.id));
            if spared || !selection.admits(&image, None, None) {
                continue;
            }
            self.prune_one(&image, &mut report)?;
        }
        Ok(report)
    }

    fn prune_one(&self, image: &Image, report: &mut PrunedImages) -> Result<(), Error> {
        let mut names: Vec<String> = image.references.iter().map(Reference::familiar).collect();
        if names.is_empty() {
            names.push(image.id.digest().hex());
        }
        for name in names {
            match self.remove_into(&name, RemoveOptions::default(), report) {
                // gone or in use by now: that is what a prune has to live with
                Ok(())
                | Err(Error::NoSuchImage { .. } | Error::HasChildren { .. } | Error::ManyNames { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn remove_into(
        &self,
        name: &str,
        options: RemoveOptions,
        report: &mut PrunedImages,
    ) -> Result<(), Error> {
        let image = self.image(name)?;
        let children = if names_id(name, &image.id) {
            if !is_single(&image.references) && !options.force {
                return Err(Error::ManyNames {
                    short: image.id.digest().short(),
                });
            }
            if self.has_children(&image.id)? {
                return Err(Error::HasChildren {
                    short: image.id.digest().short(),
                });
            }
            for reference in &image.references {
                self.untag_into(reference, report)?;
            }
            Children::Refuse
        } else {
            let reference: Reference = name.parse()?;
            if self.drop_name(&image, reference.or_latest(), report)? {
                return Ok(());
            }
            Children::LeaveImage
        };
        self.delete(image, children, options, report)
    }

    /// Takes one name away, and with a repository's last tag its digest references. Whether names are left.
    fn drop_name(
        &self,
        image: &Image,
        reference: Reference,
        report: &mut PrunedImages,
    ) -> Result<bool, Error> {
        let by_digest = reference.digest.is_some();
        let reference = match reference.digest {
            Some(_) => Reference {
                tag: None,
                ..reference
            },
            None => reference,
        };
        self.untag_into(&reference, report)?;
        let mut left: Vec<&Reference> = image.references.iter().filter(|own| **own != reference).collect();
        let of_repository = |own: &&Reference| own.repository == reference.repository;
        let tag_left = left.iter().any(|own| of_repository(own) && own.digest.is_none());
        if !by_digest && !tag_left {
            for own in left.iter().filter(|own| of_repository(own)) {
                self.untag_into(own, report)?;
            }
            left.retain(|own| !of_repository(own));
        }
        Ok(!left.is_empty())
    }

    fn untag_into(&self, reference: &Reference, report: &mut PrunedImages) -> Result<(), Error> {
        if self.store().untag(reference)?.is_some() {
            report.removals.push(Removal::Untagged(reference.clone()));
        }
        Ok(())
    }

    /// Removes a nameless image, and then its nameless parents as far as nothing else is built on them.
    fn delete(
        &self,
        image: Image,
        children: Children,
        options: RemoveOptions,
        report: &mut PrunedImages,
    ) -> Result<(), Error> {
        if self.has_children(&image.id)? {
            return match children {
                Children::LeaveImage => Ok(()),
                Children::Refuse => Err(Error::HasChildren {
                    short: image.id.digest().short(),
                }),
            };
        }
        let mut next = Some(image);
        while let Some(image) = next {
            let removed = match self.store().remove_image(&image.id) {
                Ok(removed) => removed,
                // named again, or removed by someone else, in this very moment
                Err(StoreError::InUse { .. } | StoreError::MissingImage { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            report.removals.push(Removal::Image(image.id));
            report
                .removals
                .extend(removed.chains.into_iter().map(Removal::Layer));
            report.bytes += removed.bytes;
            next = match image.parent {
                Some(parent) if !options.keep_parents => self.store().image(&parent)?,
                _ => None,
            };
            if let Some(parent) = &next
                && (!parent.references.is_empty() || self.has_children(&parent.id)?)
            {
                return Ok(());
            }
        }
        Ok(())
    }

    fn has_children(&self, id: &ImageId) -> Result<bool, Error> {
        Ok(self
            .store()
            .images()?
            .iter()
            .any(|image| image.parent == Some(*id)))
    }
}

/// Whether the names come to one: at most one, or one tag with digests of the same repository.
fn is_single(references: &[Reference]) -> bool {
    let repositories: BTreeSet<&Repository> =
        references.iter().map(|reference| &reference.repository).collect();
    let tags = references
        .iter()
        .filter(|reference| reference.digest.is_none())
        .count();
    references.len() <= 1 || (tags == 1 && repositories.len() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tag_with_its_digests_is_one_name() {
        let digest = mica_oci::Digest::of(b"");
        let read = |names: &[&str]| -> Vec<Reference> {
            names
                .iter()
                .map(|name| name.replace("@d", &format!("@{digest}")).parse().unwrap())
                .collect()
        };
        for (names, single) in [
            (&[][..], true),
            (&["a:1"], true),
            (&["a@d"], true),
            (&["a:1", "a@d"], true),
            (&["a:1", "a:2"], false),
            (&["a:1", "b@d"], false),
            (&["a@d", "b@d"], false),
        ] {
            assert_eq!(is_single(&read(names)), single, "{names:?}");
        }
    }
}
