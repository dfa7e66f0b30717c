//! Tests of what parents and children mean for lists, histories, removals and prunes.

use mica_oci::{History, ImageConfig, ImageId, Raw, Reference};

use crate::engine::{Config, Engine};
use crate::error::{Error, Kind};
use crate::pruning::unwatched;
use crate::remove::{Removal, RemoveOptions};
use crate::select::Selection;

/// An engine with a line of images without layers, each built on the one before it, and their IDs.
struct Line {
    engine: Engine,
    ids: Vec<ImageId>,
    _folder: tempfile::TempDir,
}

/// `names` has the tags of each image, the oldest first.
fn line(names: &[&[&str]]) -> Line {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(Config {
        root: folder.path().join("store"),
        helper: "/nonexistent".into(),
        registries: mica_registry::Settings::default(),
        insecure_allowed: false,
    })
    .unwrap();
    let mut ids: Vec<ImageId> = Vec::new();
    for (at, tags) in names.iter().enumerate() {
        let id = add(&engine, at, tags);
        engine.store().set_parent(&id, ids.last()).unwrap();
        ids.push(id);
    }
    Line {
        engine,
        ids,
        _folder: folder,
    }
}

fn add(engine: &Engine, at: usize, tags: &[&str]) -> ImageId {
    let time = format!("2026-01-0{}T00:00:00Z", at + 1).parse().unwrap();
    let step = |at: usize| History {
        created_by: format!("step {at}"),
        empty_layer: true,
        ..History::default()
    };
    let config = ImageConfig {
        created: Some(time),
        os: "linux".into(),
        history: (0..=at).map(step).collect(),
        ..ImageConfig::default()
    };
    let tags: Vec<Reference> = tags.iter().map(|tag| tag.parse().unwrap()).collect();
    let lease = engine.store().lease();
    let committed = engine
        .store()
        .commit_image(&lease, &Raw::of(config).unwrap(), None, &tags);
    committed.unwrap().image.id
}

impl Line {
    fn left(&self) -> Vec<usize> {
        let there = |at: &usize| self.engine.store().image(&self.ids[*at]).unwrap().is_some();
        (0..self.ids.len()).filter(there).collect()
    }

    fn listed(&self, selection: &Selection) -> Vec<usize> {
        let listed = self.engine.list(selection).unwrap();
        let at = |id: ImageId| self.ids.iter().position(|own| *own == id).unwrap();
        listed.iter().map(|one| at(one.image.id)).collect()
    }

    fn remove(&self, name: &str) -> Result<Vec<Removal>, Error> {
        self.engine.remove(name, &[], RemoveOptions::default())
    }
}

#[test]
fn what_others_are_built_on_is_hidden_until_asked_for() {
    let line = line(&[&[], &["mid"], &[], &["top"]]);
    assert_eq!(line.listed(&Selection::default()), [3, 1]);
    let all = Selection {
        all: true,
        ..Selection::default()
    };
    assert_eq!(line.listed(&all), [3, 2, 1, 0]);
    let dangling = Selection {
        dangling: Some(true),
        ..Selection::default()
    };
    assert!(line.listed(&dangling).is_empty());
}

#[test]
fn a_history_names_the_images_that_were_kept() {
    let line = line(&[&[], &["mid"], &["top"]]);
    let steps = line.engine.history("top", None).unwrap();
    let images: Vec<_> = steps.iter().map(|step| step.image).collect();
    assert_eq!(images, [Some(line.ids[2]), Some(line.ids[1]), Some(line.ids[0])]);
    assert_eq!(steps[1].references[0].familiar(), "mid:latest");
    assert_eq!(steps[0].created_by, "step 2");
}

#[test]
fn the_last_name_of_a_parent_goes_and_the_parent_stays() {
    let line = line(&[&["base"], &["top"]]);
    let removals = line.remove("base").unwrap();
    assert_eq!(removals, [Removal::Untagged("base:latest".parse().unwrap())]);
    assert_eq!(line.left(), [0, 1]);
    // and goes with the image that is built on it
    let removals = line.remove("top").unwrap();
    assert_eq!(
        removals,
        [
            Removal::Untagged("top:latest".parse().unwrap()),
            Removal::Image(line.ids[1]),
            Removal::Image(line.ids[0]),
        ]
    );
    assert!(line.left().is_empty());
}

#[test]
fn a_parent_is_not_removed_by_its_id() {
    let line = line(&[&["base"], &["top"]]);
    let id = line.ids[0].to_string();
    let error = line.remove(&id).unwrap_err();
    assert!(matches!(error, Error::HasChildren { .. }) && error.kind() == Kind::Conflict);
    assert_eq!(
        error.to_string(),
        format!(
            "conflict: unable to delete {} (cannot be forced) - image has dependent child images",
            line.ids[0].digest().short()
        )
    );
    let options = RemoveOptions {
        force: true,
        ..RemoveOptions::default()
    };
    assert!(line.engine.remove(&id, &[], options).is_err());
    assert!(line.engine.image("base").is_ok(), "its name is still there");
}

#[test]
fn parents_are_kept_where_asked_for_and_where_named() {
    let kept = line(&[&[], &["top"]]);
    let options = RemoveOptions {
        keep_parents: true,
        ..RemoveOptions::default()
    };
    kept.engine.remove("top", &[], options).unwrap();
    assert_eq!(kept.left(), [0]);
    let named = line(&[&["base"], &[], &["top"]]);
    named.remove("top").unwrap();
    assert_eq!(named.left(), [0]);
}

#[test]
fn a_prune_leaves_what_named_images_are_built_on() {
    let line = line(&[&[], &[], &["top"]]);
    let pruned = unwatched(|watch| line.engine.prune_images(&Selection::default(), watch)).unwrap();
    assert!(pruned.removals.is_empty(), "{:?}", pruned.removals);
    line.engine.store().untag(&"top:latest".parse().unwrap()).unwrap();
    unwatched(|watch| line.engine.prune_images(&Selection::default(), watch)).unwrap();
    assert!(line.left().is_empty());
}

#[test]
fn one_prune_at_a_time() {
    let line = line(&[&["a"]]);
    let claim = line.engine.begin_pruning().unwrap();
    let error = unwatched(|watch| line.engine.prune_images(&Selection::default(), watch)).unwrap_err();
    assert_eq!(error.to_string(), "a prune operation is already running");
    drop(claim);
    unwatched(|watch| line.engine.prune_images(&Selection::default(), watch)).unwrap();
}
