//! Taking names away from images, and images away (engine API contract, "DELETE /images").

use std::collections::{BTreeMap, BTreeSet};

use mica_oci::{ChainId, ImageId, Platform, Reference, Repository};
use mica_store::{Doomed, Error as StoreError, Fate, Image};

use crate::engine::Engine;
use crate::error::Error;
use crate::feed::{Action, Subject};
use crate::pruning::{PruneWatch, Watched};
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

impl Engine {
    /// Takes the name `name` away from its image, and the image if that was its last name; by ID, the image with all its names.
    /// It has to be for all of `platforms`: an image is for one here, so nothing of it stays when that is removed, and what is
    /// not there cannot be removed.
    pub fn remove(
        &self,
        name: &str,
        platforms: &[Platform],
        options: RemoveOptions,
    ) -> Result<Vec<Removal>, Error> {
        for platform in platforms {
            self.image_for(name, Some(platform))?;
        }
        let mut removing = Removing::new(self, options);
        removing.name(name)?;
        Ok(removing.report.removals)
    }

    /// Removes what the selection admits: untagged images, or with `dangling: Some(false)` all of them; and, whatever is
    /// selected, what is left of downloads that do not go on. Only one prune runs at a time.
    ///
    /// # Errors
    /// If another one runs, it is cancelled, or the store fails; what is gone by then is gone.
    pub fn prune_images(
        &self,
        selection: &Selection,
        watch: &mut PruneWatch<'_>,
    ) -> Result<PrunedImages, Error> {
        let _claim = self.begin_pruning()?;
        let mut watched = Watched::new(watch);
        let mut removing = Removing::new(self, RemoveOptions::default());
        let result = removing.selected(selection, &mut watched);
        let report = removing.report;
        if result.is_ok() || !report.removals.is_empty() {
            self.feed().prune(Subject::Images, report.bytes);
        }
        result.map(|()| report)
    }
}

/// How many images are removed before what is told of others is looked up.
const AT_ONCE: usize = 32;

fn is_tag(name: &Reference) -> bool {
    name.digest.is_none()
}

/// A removal under way.
struct Removing<'a> {
    engine: &'a Engine,
    options: RemoveOptions,
    report: PrunedImages,
}

impl<'a> Removing<'a> {
    fn new(engine: &'a Engine, options: RemoveOptions) -> Self {
        Self {
            engine,
            options,
            report: PrunedImages::default(),
        }
    }

    /// Removes what a prune is to remove.
    fn selected(&mut self, selection: &Selection, watched: &mut Watched<'_, '_>) -> Result<(), Error> {
        let store = self.engine.store();
        let untagged_only = selection.dangling != Some(false);
        let images = store.image_entries()?;
        let parents: BTreeSet<ImageId> = images.iter().filter_map(|image| image.parent).collect();
        let mut doomed = Vec::new();
        for image in images {
            let tagged = image.references.iter().any(is_tag);
            let spared = untagged_only && (tagged || parents.contains(&image.id));
            if !spared && selection.admits(&image, None, None) {
                doomed.push(Doomed {
                    image: image.id,
                    names: image.references,
                });
            }
        }
        watched.check()?;
        watched.removes("removing images", doomed.len());
        for some in doomed.chunks(AT_ONCE) {
            let before = self.report.bytes;
            self.many(some)?;
            watched.gone(some.len(), self.report.bytes - before);
            watched.check()?;
        }
        watched.begins("removing what is left over");
        let left_over = store.collect()?;
        self.report.bytes += left_over;
        watched.gone(0, left_over);
        watched.check()?;
        watched.begins("making the store small");
        self.engine.shrink();
        Ok(())
    }

    /// Removes images that were chosen with these names. What they are called since then, and what is called so by now, is somebody
    /// else's who was told of it.
    fn many(&mut self, doomed: &[Doomed]) -> Result<(), Error> {
        let store = self.engine.store();
        // what is told of images is not to be found any more once they are gone
        let mut known = BTreeMap::new();
        for one in doomed {
            let mut next = Some(one.image);
            while let Some(id) = next.filter(|id| !known.contains_key(id)) {
                let image = match store.image_without_names(&id) {
                    Ok(Some(image)) => image,
                    Ok(None) => break,
                    // one that is damaged can go all the same
                    Err(error) if is_about_config(&error) => break,
                    Err(error) => return Err(error.into()),
                };
                next = image.parent;
                known.insert(id, image);
            }
        }
        let tagged: BTreeSet<ImageId> = doomed
            .iter()
            .filter(|one| one.names.iter().any(is_tag))
            .map(|one| one.image)
            .collect();
        store.remove_images(doomed, &mut |fate| {
            let digests_too = !tagged.contains(&fate.image);
            self.tell(fate, &known, digests_too);
        })?;
        Ok(())
    }

    /// Tells what became of an image. Digests of one with tags go without a word of their own, as docker does it.
    fn tell(&mut self, fate: Fate, known: &BTreeMap<ImageId, Image>, digests_too: bool) {
        for name in fate.untagged {
            if digests_too || is_tag(&name) {
                self.say(Action::Untag, known.get(&fate.image), fate.image, name.familiar());
            }
            self.report.removals.push(Removal::Untagged(name));
        }
        for (id, removed) in fate.removed {
            self.say(Action::Delete, known.get(&id), id, id.to_string());
            self.gone(id, removed);
        }
    }

    /// Says to those who follow what happens what was done to an image, of which less is known if it is damaged.
    fn say(&self, action: Action, known: Option<&Image>, id: ImageId, name: String) {
        let feed = self.engine.feed();
        match known {
            Some(image) => feed.image(action, image, name),
            None => feed.damaged_image(action, id, name),
        }
    }

    fn gone(&mut self, id: ImageId, removed: mica_store::Removed) {
        let removals = &mut self.report.removals;
        removals.push(Removal::Image(id));
        removals.extend(removed.chains.into_iter().map(Removal::Layer));
        self.report.bytes += removed.bytes;
    }

    fn name(&mut self, name: &str) -> Result<(), Error> {
        let image = match self.engine.image_without_names(name) {
            Err(Error::Store(error)) if is_about_config(&error) => return self.broken(name),
            image => image?,
        };
        if !names_id(name, &image.id) {
            let reference: Reference = name.parse()?;
            self.drop_name(&image, reference.or_latest())?;
            // an image others are built on loses its name and stays
            let store = self.engine.store();
            return match store.is_named(&image.id)? || store.has_children(&image.id)? {
                true => Ok(()),
                false => self.delete(image),
            };
        }
        let image = self.engine.image(&image.id.to_string())?;
        if !is_single(&image.references) && !self.options.force {
            return Err(Error::ManyNames {
                short: image.id.digest().short(),
            });
        }
        if self.engine.store().has_children(&image.id)? {
            return Err(Error::HasChildren {
                short: image.id.digest().short(),
            });
        }
        for reference in &image.references {
            self.untag_aloud(&image, reference)?;
        }
        self.delete(image)
    }

    /// As [`name`](Self::name), for an image whose config cannot be read.
    fn broken(&mut self, name: &str) -> Result<(), Error> {
        let store = self.engine.store();
        let image = self.engine.meaning(name)?;
        let mut names = store.names_of(&image)?;
        if names_id(name, &image) {
            let short = image.digest().short();
            if !is_single(&names) && !self.options.force {
                return Err(Error::ManyNames { short });
            }
            if store.has_children(&image)? {
                return Err(Error::HasChildren { short });
            }
        } else {
            let meant = name.parse::<Reference>()?.or_latest();
            let is_meant = |own: &Reference| match meant.digest {
                Some(_) => own.digest == meant.digest,
                None => own.tag == meant.tag,
            };
            names.retain(|own| own.repository == meant.repository);
            // with a repository's last tag its digests go
            let is_last = names.iter().all(|own| is_meant(own) || !is_tag(own));
            names.retain(|own| is_meant(own) || (is_last && meant.digest.is_none() && !is_tag(own)));
        }
        let digests_too = !names.iter().any(is_tag);
        store.remove_images(&[Doomed { image, names }], &mut |fate| {
            self.tell(fate, &BTreeMap::new(), digests_too);
        })?;
        Ok(())
    }

    /// Takes one name away, and with a repository's last tag its digest references.
    fn drop_name(&mut self, image: &Image, reference: Reference) -> Result<(), Error> {
        let by_digest = reference.digest.is_some();
        let reference = match reference.digest {
            Some(_) => Reference {
                tag: None,
                ..reference
            },
            None => reference,
        };
        self.untag_aloud(image, &reference)?;
        let store = self.engine.store();
        if !by_digest && !store.has_tag_in(&image.id, &reference.repository)? {
            // these go without a word of their own, as docker does it
            for own in store.digests_in(&image.id, &reference.repository)? {
                self.untag(image, &own)?;
            }
        }
        Ok(())
    }

    /// Takes a name away and says so to those who follow what happens.
    fn untag_aloud(&mut self, image: &Image, reference: &Reference) -> Result<(), Error> {
        if self.untag(image, reference)? {
            self.tell_untagged(image, reference);
        }
        Ok(())
    }

    fn tell_untagged(&self, image: &Image, reference: &Reference) {
        self.engine
            .feed()
            .image(Action::Untag, image, reference.familiar());
    }

    /// Takes a name away from an image. Whether it led there.
    fn untag(&mut self, image: &Image, reference: &Reference) -> Result<bool, Error> {
        let led_there = self.engine.store().untag_from(reference, &image.id)?;
        if led_there {
            self.report.removals.push(Removal::Untagged(reference.clone()));
        }
        Ok(led_there)
    }

    /// Removes a nameless image, and then its nameless parents as far as nothing else is built on them.
    fn delete(&mut self, image: Image) -> Result<(), Error> {
        let store = self.engine.store();
        let mut next = Some(image);
        while let Some(image) = next {
            let removed = match store.remove_image(&image.id) {
                Ok(removed) => removed,
                // named again, or removed by someone else, in this very moment
                Err(StoreError::InUse { .. } | StoreError::MissingImage { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            self.engine
                .feed()
                .image(Action::Delete, &image, image.id.to_string());
            self.gone(image.id, removed);
            let Some(parent) = image.parent else { return Ok(()) };
            if self.options.keep_parents || store.has_children(&parent)? {
                return Ok(());
            }
            next = store
                .image(&parent)?
                .filter(|parent| parent.references.is_empty());
        }
        Ok(())
    }
}

/// Whether an image cannot be looked at because its config is damaged or gone.
fn is_about_config(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Io { .. } | StoreError::Corrupt { .. } | StoreError::Document { .. }
    )
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
    use crate::engine::Config;
    use crate::pruning::unwatched;
    use mica_oci::Digest;

    #[test]
    fn a_prune_takes_what_is_left_of_downloads() {
        const PART: u64 = 1 << 20;
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(Config {
            root: folder.path().join("store"),
            helper: "/nonexistent".into(),
            registries: mica_registry::Settings::default(),
            insecure_allowed: false,
        })
        .unwrap();
        let lease = engine.store().lease();
        let begin = |name: &[u8]| {
            let mut partial = engine
                .store()
                .partial(&lease, &Digest::of(name), 2 * PART)
                .unwrap();
            let at = partial.offset();
            partial.write_at(at, &[7; PART as usize]).unwrap();
            partial
        };
        drop(begin(b"given up"));
        let going_on = begin(b"going on");
        let pruned = unwatched(|watch| engine.prune_images(&Selection::default(), watch)).unwrap();
        assert!(pruned.removals.is_empty());
        assert!((PART..2 * PART).contains(&pruned.bytes), "{}", pruned.bytes);
        drop(going_on);
        for (name, offset) in [(&b"given up"[..], 0), (b"going on", PART)] {
            let partial = engine
                .store()
                .partial(&lease, &Digest::of(name), 2 * PART)
                .unwrap();
            assert_eq!(partial.offset(), offset);
        }
    }

    #[test]
    fn a_name_that_came_in_the_meantime_is_nobody_s_to_prune() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(Config {
            root: folder.path().join("store"),
            helper: "/nonexistent".into(),
            registries: mica_registry::Settings::default(),
            insecure_allowed: false,
        })
        .unwrap();
        let name = |text: &str| text.parse::<Reference>().unwrap();
        let commit = |comment: &str, names: &[Reference]| {
            let config = mica_oci::config::ImageConfig {
                author: comment.to_owned(),
                ..mica_oci::config::ImageConfig::default()
            };
            let config = mica_oci::Raw::of(config).unwrap();
            let lease = engine.store().lease();
            let committed = engine.store().commit_image(&lease, &config, None, names);
            committed.unwrap().image
        };
        let removing = || Removing::new(&engine, RemoveOptions::default());
        let entry = |id: &ImageId| {
            let entries = engine.store().image_entries().unwrap();
            let found = entries.into_iter().find(|entry| entry.id == *id).unwrap();
            Doomed {
                image: found.id,
                names: found.references,
            }
        };
        // an untagged image that is tagged after it was chosen
        let untagged = commit("untagged", &[]);
        let chosen = entry(&untagged.id);
        engine.store().tag(&name("new"), &untagged.id).unwrap();
        let mut prune = removing();
        prune.many(&[chosen]).unwrap();
        assert!(prune.report.removals.is_empty());
        assert_eq!(engine.store().resolve(&name("new")).unwrap(), Some(untagged.id));
        // a tagged one whose tag leads elsewhere by then
        let tagged = commit("tagged", &[name("moves"), name("stays")]);
        let chosen = entry(&tagged.id);
        engine.store().tag(&name("moves"), &untagged.id).unwrap();
        let mut prune = removing();
        prune.many(&[chosen]).unwrap();
        assert_eq!(engine.store().resolve(&name("moves")).unwrap(), Some(untagged.id));
        assert_eq!(
            prune.report.removals,
            [
                Removal::Untagged(name("stays").or_latest()),
                Removal::Image(tagged.id)
            ]
        );
    }

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
