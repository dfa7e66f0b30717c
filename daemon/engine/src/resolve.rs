//! Which image a name means (engine API contract, "Lookup order").

use mica_oci::{ImageId, Platform, Reference, Repository};
use mica_store::Image;

use crate::engine::Engine;
use crate::error::Error;

/// Fewer digits than this are not taken for an ID: they are far more often a mistyped name.
const SHORTEST_PREFIX: usize = 4;

impl Engine {
    /// The image that `name` means: a whole ID, else a reference, else the unique beginning of an ID.
    pub fn image(&self, name: &str) -> Result<Image, Error> {
        let id = self.meaning(name)?;
        self.found(self.store().image(&id)?, name)
    }

    /// The image that `name` means, its own names left out: an image may have a great many.
    pub(crate) fn image_without_names(&self, name: &str) -> Result<Image, Error> {
        let id = self.meaning(name)?;
        self.found(self.store().image_without_names(&id)?, name)
    }

    /// The ID of the image that `name` means.
    pub(crate) fn meaning(&self, name: &str) -> Result<ImageId, Error> {
        if name.is_empty() {
            return Err(Error::BlankName);
        }
        if let Some(id) = whole_id(name) {
            return Ok(id);
        }
        let reference: Result<Reference, _> = name.parse();
        if let Ok(reference) = &reference
            && let Some(id) = self.by_reference(reference)?
        {
            return Ok(id);
        }
        if let Some(prefix) = id_prefix(name)
            && let [id] = self.store().find(prefix)?[..]
        {
            return Ok(id);
        }
        Err(Error::NoSuchImage {
            name: reference?.or_latest().familiar(),
        })
    }

    /// What was meant may be gone in the next moment.
    fn found(&self, image: Option<Image>, name: &str) -> Result<Image, Error> {
        image.ok_or_else(|| Error::NoSuchImage {
            name: match (whole_id(name), name.parse::<Reference>()) {
                (None, Ok(reference)) => reference.or_latest().familiar(),
                _ => name.to_owned(),
            },
        })
    }

    /// The image that `name` means, if it is for `platform`.
    pub fn image_for(&self, name: &str, platform: Option<&Platform>) -> Result<Image, Error> {
        let image = self.image(name)?;
        match platform {
            Some(wanted) if !fits(&image, wanted) => Err(Error::OtherPlatform {
                reference: name.to_owned(),
                actual: platform_of(&image),
                wanted: wanted.to_string(),
            }),
            _ => Ok(image),
        }
    }

    /// The images that tags of a repository lead to, with these tags; those for another platform are left out.
    ///
    /// # Errors
    /// [`Error::OtherPlatform`] if nothing is left of them.
    pub(crate) fn tagged_in(
        &self,
        repository: &Repository,
        platform: Option<&Platform>,
    ) -> Result<Vec<(Image, Vec<Reference>)>, Error> {
        let mut found: Vec<(Image, Vec<Reference>)> = Vec::new();
        for (id, reference) in self.store().tags_in(repository)? {
            match found.last_mut() {
                Some((image, tags)) if image.id == id => tags.push(reference),
                _ => {
                    // a tag may have gone in this moment
                    if let Some(image) = self.store().image(&id)? {
                        found.push((image, vec![reference]));
                    }
                }
            }
        }
        let Some(wanted) = platform else {
            return Ok(found);
        };
        let (fitting, others): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|(image, _)| fits(image, wanted));
        match (fitting.is_empty(), others.first()) {
            (true, Some((image, _))) => Err(Error::OtherPlatform {
                reference: repository.familiar(),
                actual: platform_of(image),
                wanted: wanted.to_string(),
            }),
            _ => Ok(fitting),
        }
    }

    fn by_reference(&self, reference: &Reference) -> Result<Option<ImageId>, Error> {
        let Some(digest) = reference.digest else {
            return Ok(self.store().resolve(&reference.clone().or_latest())?);
        };
        // the digest decides; a tag beside it is for people
        let by_digest = Reference {
            repository: reference.repository.clone(),
            tag: None,
            digest: Some(digest),
        };
        if let Some(id) = self.store().resolve(&by_digest)? {
            return Ok(Some(id));
        }
        // images built here have no manifest digest to be called by: their ID serves, within their repositories
        let (id, repository) = (ImageId(digest), &reference.repository);
        let of_repository = self.store().has_tag_in(&id, repository)?
            || !self.store().digests_in(&id, repository)?.is_empty();
        Ok(of_repository.then_some(id))
    }
}

/// `sha256:` and 64 digits, or the 64 digits alone.
pub(crate) fn whole_id(name: &str) -> Option<ImageId> {
    let hex = name.strip_prefix("sha256:").unwrap_or(name);
    mica_oci::Digest::from_hex(hex).ok().map(ImageId)
}

/// The digits of a name that may be the beginning of an ID.
fn id_prefix(name: &str) -> Option<&str> {
    let hex = name.strip_prefix("sha256:").unwrap_or(name);
    let digits = hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (digits && (SHORTEST_PREFIX..=64).contains(&hex.len())).then_some(hex)
}

/// Whether `name` is the ID of `image` or its beginning, whatever else it may be.
pub(crate) fn names_id(name: &str, image: &ImageId) -> bool {
    let whole = image.to_string();
    let hex = image.digest().hex();
    !name.is_empty() && (whole.starts_with(name) && name.len() > "sha256:".len() || hex.starts_with(name))
}

fn platform_of(image: &Image) -> String {
    let mut text = format!("{}/{}", image.config.os, image.config.architecture);
    if !image.config.variant.is_empty() {
        text.push('/');
        text.push_str(&image.config.variant);
    }
    text
}

/// Whether the image is for this platform; what the image leaves open fits, as does a variant nobody asked for.
pub(crate) fn fits(image: &Image, wanted: &Platform) -> bool {
    let same = |own: &str, asked: &str| own.is_empty() || asked.is_empty() || own == asked;
    let config = &image.config;
    same(&config.os, &wanted.os)
        && same(&config.architecture, &wanted.architecture)
        && same(&config.variant, &wanted.variant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mica_oci::Digest;

    #[test]
    fn ids_are_known_from_their_look() {
        let id = ImageId(Digest::of(b"x"));
        let hex = id.digest().hex();
        assert_eq!(whole_id(&hex), Some(id));
        assert_eq!(whole_id(&id.to_string()), Some(id));
        assert_eq!(whole_id(&hex[..63]), None);
        assert_eq!(id_prefix("abcd"), Some("abcd"));
        assert_eq!(id_prefix("sha256:abcd"), Some("abcd"));
        for no in ["abc", "abcg", "ABCD", "", "sha256:"] {
            assert_eq!(id_prefix(no), None, "{no}");
        }
        assert!(names_id(&hex[..3], &id) && names_id(&id.to_string()[..12], &id) && names_id(&hex, &id));
        assert!(!names_id("", &id) && !names_id("sha256:", &id) && !names_id("zz", &id));
    }
}
