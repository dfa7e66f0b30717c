//! Which images a list or a prune is about.

use std::collections::HashSet;

use jiff::Timestamp;
use mica_oci::{ImageId, Reference};
use mica_store::ImageEntry;

use crate::engine::Engine;
use crate::error::Error;
use crate::glob::Glob;

/// Asks for a label: that it is there, or that it has this value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelMatch {
    /// The label.
    pub key: String,
    /// Its value; any if `None`.
    pub value: Option<String>,
}

impl LabelMatch {
    fn holds(&self, image: &ImageEntry) -> bool {
        let labels = image.labels.as_ref();
        match (labels.and_then(|labels| labels.get(&self.key)), &self.value) {
            (Some(own), Some(value)) => own == value,
            (own, _) => own.is_some(),
        }
    }
}

/// What the listed images have in common; everything that is set has to hold.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Untagged images that others are built on are listed too.
    pub all: bool,
    /// Only untagged images, or only tagged ones.
    pub dangling: Option<bool>,
    /// Labels the image must have, all of them.
    pub labels: Vec<LabelMatch>,
    /// Labels the image must not have, none of them.
    pub without_labels: Vec<LabelMatch>,
    /// Made before the oldest of these images.
    pub before: Vec<String>,
    /// Made after the newest of these images.
    pub since: Vec<String>,
    /// Made before this time.
    pub until: Option<Timestamp>,
    /// Shell patterns for names; one must match, and names that do not match are not shown.
    pub references: Vec<String>,
}

/// One image of a list.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The image, its names aside.
    pub image: ImageEntry,
    /// Its tags that were asked for.
    pub tags: Vec<Reference>,
    /// Its digest references that were asked for.
    pub digests: Vec<Reference>,
}

impl Engine {
    /// The images of a selection, newest first.
    pub fn list(&self, selection: &Selection) -> Result<Vec<Listed>, Error> {
        let patterns = selection.patterns()?;
        let before = self.created_of(&selection.before)?.into_iter().min();
        let since = self.created_of(&selection.since)?.into_iter().max();
        let images = self.store().image_entries()?;
        let parents: HashSet<ImageId> = images.iter().filter_map(|image| image.parent).collect();
        let mut listed: Vec<Listed> = images
            .into_iter()
            .filter(|image| selection.admits(image, before, since))
            .filter_map(|image| selection.show(image, &parents, patterns.as_deref()))
            .collect();
        listed.sort_by(|a, b| {
            let key = |listed: &Listed| (std::cmp::Reverse(listed.image.created), listed.image.id);
            key(a).cmp(&key(b))
        });
        Ok(listed)
    }

    /// For each of `listed`, the bytes of layers that other images of the store have too.
    pub fn shared_sizes(&self, listed: &[Listed]) -> Result<Vec<u64>, Error> {
        let sizes = self.store().shared_sizes()?;
        let size = |one: &Listed| sizes.get(&one.image.id).copied().unwrap_or(0);
        Ok(listed.iter().map(size).collect())
    }

    fn created_of(&self, names: &[String]) -> Result<Vec<Timestamp>, Error> {
        let mut times = Vec::new();
        for name in names {
            times.push(self.image(name)?.created.unwrap_or(Timestamp::MIN));
        }
        Ok(times)
    }
}

impl Selection {
    /// Whether the image itself is of the selection, its names aside.
    pub(crate) fn admits(
        &self,
        image: &ImageEntry,
        before: Option<Timestamp>,
        since: Option<Timestamp>,
    ) -> bool {
        let created = image.created.unwrap_or(Timestamp::MIN);
        before.is_none_or(|limit| created < limit)
            && since.is_none_or(|limit| created > limit)
            && self.until.is_none_or(|limit| created <= limit)
            && self.labels.iter().all(|label| label.holds(image))
            && !self.without_labels.iter().any(|label| label.holds(image))
    }

    /// The image with the names that were asked for; `None` if it is not to be shown.
    fn show(
        &self,
        mut image: ImageEntry,
        parents: &HashSet<ImageId>,
        patterns: Option<&[Glob]>,
    ) -> Option<Listed> {
        let own = std::mem::take(&mut image.references).into_iter();
        let wanted = own.filter(|reference| patterns.is_none_or(|patterns| is_meant(reference, patterns)));
        let (digests, tags): (Vec<Reference>, Vec<Reference>) =
            wanted.partition(|reference| reference.digest.is_some());
        let shown = if tags.is_empty() && digests.is_empty() {
            (self.all || !parents.contains(&image.id)) && self.dangling != Some(false) && patterns.is_none()
        } else {
            self.dangling != Some(true) || tags.is_empty()
        };
        shown.then_some(Listed { image, tags, digests })
    }

    /// What names are to look like; `None` if any will do.
    fn patterns(&self) -> Result<Option<Vec<Glob>>, Error> {
        let read = |pattern: &String| {
            Glob::parse(pattern).ok_or_else(|| Error::Pattern {
                pattern: pattern.clone(),
            })
        };
        let patterns: Vec<Glob> = self.references.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Some(patterns).filter(|patterns| !patterns.is_empty()))
    }
}

/// Whether a pattern is about a name, in one of the ways it can be written.
fn is_meant(reference: &Reference, patterns: &[Glob]) -> bool {
    let is = |form: String| patterns.iter().any(|pattern| pattern.matches(&form));
    let repository = &reference.repository;
    is(reference.familiar())
        || is(repository.familiar())
        || is(reference.to_string())
        || is(repository.to_string())
}
