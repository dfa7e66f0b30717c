//! Stores that lost their database: what is made again of it.
// only functions marked as tests may unwrap by themselves
#![allow(clippy::unwrap_used)]

mod damage;
mod life;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;

use mica_oci::{ImageId, Reference};
use mica_store::{Error, Level, Origin, Rebuilt, Store, rebuild};

use crate::life::{Life, again, life, seen};
use crate::support::checks::{find_nothing, flip};
use crate::support::{Entry, blob_files, config, layer, name, noise, tar};

/// What the refusal of a store without a database says.
pub(crate) fn refused(root: &Path) -> String {
    let error = Store::open(root).unwrap_err();
    assert!(matches!(error, Error::Format { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("\"mica system check --rebuild\""), "{text}");
    assert!(
        text.contains(&format!("\"micad --rebuild --data-root {}\"", root.display())),
        "{text}"
    );
    text
}

#[test]
fn a_database_that_is_gone_damaged_or_cut_is_made_again_of_the_files() {
    type Wreck = fn(&Path);
    let wrecks: [(&str, Wreck); 5] = [
        ("is gone", |database| std::fs::remove_file(database).unwrap()),
        ("is damaged", |database| {
            std::fs::write(database, noise(7, 60_000)).unwrap()
        }),
        ("is damaged", |database| {
            let bytes = std::fs::read(database).unwrap();
            std::fs::write(database, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("is damaged", |database| {
            let mut bytes = std::fs::read(database).unwrap();
            bytes[100..5000].fill(0xff);
            std::fs::write(database, bytes).unwrap();
        }),
        ("is empty", |database| std::fs::write(database, b"").unwrap()),
    ];
    for (said, wreck) in wrecks {
        let life = life();
        life.merge_log();
        wreck(&life.database());
        let wrecked = std::fs::read(life.database()).ok();
        assert!(refused(life.root()).contains(said));
        let rebuilt = life.is_as_before();
        assert_eq!((rebuilt.origin, rebuilt.mounts), (Origin::Refs, 0));
        assert!(rebuilt.found.is_empty() && rebuilt.renewed.is_empty());
        let aside = rebuilt
            .aside
            .map(|folder| std::fs::read(folder.join("db.sqlite")).unwrap());
        assert_eq!(aside, wrecked);
    }
}

#[test]
fn a_database_whose_log_is_lost_is_not_taken_for_an_empty_store() {
    let life = life();
    let log = life.root().join("mica/db.sqlite-wal");
    assert!(
        std::fs::metadata(&log).unwrap().len() > 0,
        "all of it is in the log"
    );
    std::fs::remove_file(log).unwrap();
    let before = blob_files(life.root());
    assert!(refused(life.root()).contains("has no tables"));
    assert_eq!(blob_files(life.root()), before);
    life.is_as_before();
}

#[test]
fn a_database_that_is_older_than_its_list_is_refused() {
    let mut life = life();
    life.merge_log();
    let older = std::fs::read(life.database()).unwrap();
    let store = Store::open(life.root()).unwrap();
    let lease = store.lease();
    let diff_id = layer(&store, &lease, &tar(&[Entry::File("since", b"since")]));
    store
        .commit_image(&lease, &config("since", &[diff_id]), None, &[name("since")])
        .unwrap();
    life.before = seen(&store);
    drop((lease, store));
    life.merge_log();
    // the log is gone
    let newer = std::fs::read(life.database()).unwrap();
    std::fs::write(life.database(), older).unwrap();
    let before = blob_files(life.root());
    assert!(refused(life.root()).contains("is older than the list of images"));
    assert_eq!(blob_files(life.root()), before);
    // with it, all is well, and a list that is behind is no reason
    std::fs::write(life.database(), newer).unwrap();
    std::fs::remove_file(life.root().join("mica/refs.json")).unwrap();
    assert_eq!(seen(&Store::open(life.root()).unwrap()), life.before);

    // a flipped bit in the log drops all that came after it
    let store = Store::open(life.root()).unwrap();
    for number in 0..20 {
        store.tag(&name(&format!("many:{number}")), &life.built).unwrap();
    }
    life.before = seen(&store);
    drop(store);
    flip(&life.root().join("mica/db.sqlite-wal"));
    assert!(refused(life.root()).contains("is older than the list of images"));
    life.is_as_before();
}

/// What comes of a store that has neither its database nor, it may be, one or both of its lists.
fn without(life: &Life, lists: &[&str], damage: bool) {
    std::fs::remove_file(life.database()).unwrap();
    for list in lists {
        let list = life.root().join(list);
        match damage {
            true => std::fs::write(list, "{\"schemaVersion\":1,\"ima").unwrap(),
            false => std::fs::remove_file(list).unwrap(),
        }
    }
}

/// What was rebuilt is whole, and holds its images as they were with the names that are kept; what only the list says is gone.
fn has_all_but_names(life: &Life, rebuilt: &Rebuilt, keeps: impl Fn(ImageId, &Reference) -> bool) {
    assert!(
        rebuilt.lost.is_empty() && rebuilt.harmed.is_empty(),
        "{rebuilt:?}"
    );
    let store = Store::open(life.root()).unwrap();
    let mut expected = life.before.clone();
    for image in &mut expected {
        (image.parent, image.tagged) = (None, false);
        image.names.retain(|name| keeps(image.id, name));
    }
    assert_eq!(seen(&store), expected);
    find_nothing(&store, Level::Trees);
    life.goes_on(&store);
}

#[test]
fn without_refs_json_the_tags_of_index_json_are_kept() {
    for damage in [false, true] {
        let life = life();
        without(&life, &["mica/refs.json"], damage);
        let rebuilt = again(life.root());
        assert_eq!(rebuilt.origin, Origin::Index);
        // a layer of it is only a tree, so nobody else could read it in place
        assert_eq!(rebuilt.found, [life.built]);
        has_all_but_names(&life, &rebuilt, |image, name| {
            name.digest.is_none() && image != life.built
        });
        let kept = life.root().join("mica/bad/refs.json");
        let aside = life.root().join("mica/bad/db-1/refs.json");
        assert_eq!(kept.exists() || aside.exists(), damage);
    }
}

#[test]
fn a_list_that_cannot_be_read_at_all_is_as_good_as_lost() {
    for lists in [&["mica/refs.json"][..], &["mica/refs.json", "index.json"]] {
        let life = life();
        without(&life, lists, false);
        for list in lists {
            std::fs::create_dir(life.root().join(list)).unwrap();
        }
        let rebuilt = again(life.root());
        let expected = [Origin::Index, Origin::Blobs][lists.len() - 1];
        assert_eq!(rebuilt.origin, expected);
        for list in lists {
            let name = Path::new(list).file_name().unwrap();
            // where what is left of the database lies
            assert!(life.root().join("mica/bad/db-1").join(name).is_dir());
        }
        let store = Store::open(life.root()).unwrap();
        assert_eq!(store.images().unwrap().len(), life.before.len());
        find_nothing(&store, Level::Trees);
        life.goes_on(&store);
    }
}

#[test]
fn without_any_list_all_images_are_found_in_the_blobs() {
    for damage in [false, true] {
        let life = life();
        without(&life, &["mica/refs.json", "index.json"], damage);
        let rebuilt = again(life.root());
        assert_eq!((rebuilt.origin, rebuilt.names), (Origin::Blobs, 0));
        assert_eq!(rebuilt.found.len(), life.before.len());
        has_all_but_names(&life, &rebuilt, |_, _| false);
    }
}

#[test]
fn a_store_that_is_open_or_is_none_is_left_alone() {
    let life = life();
    let store = Store::open(life.root()).unwrap();
    match rebuild(life.root(), &mut |_| ()) {
        Err(error @ Error::Locked { owner, .. }) => {
            assert_eq!(owner, Some(std::process::id()));
            assert!(error.to_string().ends_with("stop it first"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(seen(&store), life.before);
    drop(store);
    let format = life.root().join("mica/format.json");
    std::fs::write(&format, r#"{"version":2,"features":{}}"#).unwrap();
    assert!(matches!(
        rebuild(life.root(), &mut |_| ()),
        Err(Error::Format { .. })
    ));
    std::fs::remove_file(&format).unwrap();
    assert!(matches!(
        rebuild(life.root(), &mut |_| ()),
        Err(Error::Format { .. })
    ));
    assert!(!life.root().join("mica/bad").exists() && life.database().exists());
    let nowhere = life.root().join("nowhere");
    assert!(matches!(
        rebuild(&nowhere, &mut |_| ()),
        Err(Error::Format { .. })
    ));
    assert!(!nowhere.exists());
}

#[test]
fn a_database_that_is_well_is_made_again_too_and_kept_aside() {
    let life = life();
    for number in 1..4 {
        let rebuilt = life.is_as_before();
        assert!(rebuilt.aside.unwrap().ends_with(format!("mica/bad/db-{number}")));
    }
}
