//! Files that are damaged or gone beside the database: what is kept, what is lost and told, and that nothing is thrown away that is
//! not understood.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use mica_oci::{CacheKey, Compression, DiffId, Digest};
use mica_store::{CacheMount, Error, Level, Seed, Sharing, Store};

use crate::life::{Life, again, life, seen};
use crate::support::checks::{find_nothing, flip, tree_in};
use crate::support::{Entry, blob_files, config, gzip, layer, manifest, name, names, tar};

fn bad(life: &Life) -> BTreeSet<String> {
    let mut bad = names(&life.root().join("mica/bad"));
    bad.retain(|name| !name.starts_with("db-"));
    bad
}

fn familiar(names: &[mica_oci::Reference]) -> Vec<String> {
    names.iter().map(mica_oci::Reference::familiar).collect()
}

#[test]
fn a_damaged_layer_is_told_with_its_images_and_they_are_kept() {
    let life = life();
    std::fs::remove_file(life.database()).unwrap();
    flip(&life.blob(life.tar.digest()));
    flip(&life.blob(&life.asleep_blob));
    std::fs::write(tree_in(life.root(), &life.tree).join("fs/file"), "changed").unwrap();
    let rebuilt = again(life.root());
    let harmed: Vec<_> = rebuilt
        .harmed
        .iter()
        .map(|harm| (harm.image, harm.layer))
        .collect();
    for (image, layer) in [
        (life.built, life.tar),
        (life.built, life.tree),
        (life.unnamed, life.tar),
    ] {
        assert!(harmed.contains(&(image, layer)), "{harmed:?}");
    }
    let asleep = rebuilt
        .harmed
        .iter()
        .find(|harm| harm.image == life.asleep)
        .unwrap();
    assert_eq!(familiar(&asleep.names), ["asleep:latest"]);
    assert_eq!(harmed.len(), 5);
    let expected = [*life.tar.digest(), life.asleep_blob, *life.tree.digest()].map(|digest| digest.hex());
    assert_eq!(bad(&life), expected.into());
    assert_eq!(rebuilt.bad.len(), 3);
    for _ in 0..2 {
        let store = Store::open(life.root()).unwrap();
        assert_eq!(seen(&store), life.before);
        // and what is there can be put right
        let lease = store.lease();
        layer(&store, &lease, &life.tar_bytes());
        store.tree(&lease, &life.tar).unwrap();
        assert!(matches!(
            store.tree(&lease, &life.tree),
            Err(Error::MissingLayer { .. })
        ));
    }
    assert_eq!(bad(&life).len(), 3, "nothing there is ever removed");
}

#[test]
fn a_damaged_form_of_a_layer_that_has_another_harms_nobody() {
    let life = life();
    std::fs::remove_file(life.database()).unwrap();
    let awake = life.awake;
    flip(&life.blob(awake.digest()));
    let tree = tree_in(life.root(), &awake);
    std::fs::write(tree.join("fs/pulled"), "changed").unwrap();
    let rebuilt = again(life.root());
    assert!(
        rebuilt.harmed.is_empty() && rebuilt.lost.is_empty(),
        "{rebuilt:?}"
    );
    assert_eq!(bad(&life), [awake.digest().hex()].into());
    let store = Store::open(life.root()).unwrap();
    assert_eq!(seen(&store), life.before);
    assert!(!tree.exists(), "it is unpacked again when it is needed");
    find_nothing(&store, Level::Trees);
    life.goes_on(&store);
}

#[test]
fn a_damaged_config_loses_its_image_and_no_other_and_its_parts_are_kept() {
    let life = life();
    std::fs::remove_file(life.database()).unwrap();
    flip(&life.blob(life.asleep.digest()));
    let rebuilt = again(life.root());
    let [lost] = &rebuilt.lost[..] else {
        panic!("{rebuilt:?}")
    };
    assert_eq!(
        (lost.image, familiar(&lost.names)),
        (Some(life.asleep), vec!["asleep:latest".to_owned()])
    );
    let before: Vec<_> = life
        .before
        .iter()
        .filter(|image| image.id != life.asleep)
        .cloned()
        .collect();
    let gone = life.before.iter().find(|image| image.id == life.asleep).unwrap();
    let parts = [*life.asleep.digest(), life.asleep_blob, gone.manifest.digest].map(|digest| digest.hex());
    let store = Store::open(life.root()).unwrap();
    assert_eq!(seen(&store), before);
    assert_eq!(bad(&life), parts.into());
    find_nothing(&store, Level::Trees);
    life.goes_on(&store);
}

#[test]
fn a_damaged_manifest_is_made_again_or_another_stands_in() {
    let life = life();
    std::fs::remove_file(life.database()).unwrap();
    for image in &life.before {
        flip(&life.blob(&image.manifest.digest));
    }
    let rebuilt = again(life.root());
    assert!(
        rebuilt.lost.is_empty() && rebuilt.harmed.is_empty(),
        "{rebuilt:?}"
    );
    assert_eq!(rebuilt.renewed.len(), life.before.len());
    let store = Store::open(life.root()).unwrap();
    let after = seen(&store);
    for (before, after) in life.before.iter().zip(&after) {
        assert_eq!((before.id, &before.names), (after.id, &after.names));
    }
    find_nothing(&store, Level::Trees);
    life.goes_on(&store);
}

#[test]
fn what_is_not_understood_is_kept_and_what_only_the_cache_had_goes() {
    let life = life();
    let store = Store::open(life.root()).unwrap();
    let lease = store.lease();
    let cached = tar(&[Entry::File("cached", b"cached")]);
    layer(&store, &lease, &cached);
    let mut fill = |place: &Path| {
        std::fs::write(place.join("file"), "file").unwrap();
        Ok(())
    };
    let mount = CacheMount {
        key: CacheKey(Digest::of(b"mount")),
        name: "mount".to_owned(),
        mode: None,
        owner: None,
    };
    let seed = Some(&mut fill as &mut Seed<'_, Error>);
    store
        .cache_mount(&mount, Sharing::Shared, seed, &mut || Ok(()))
        .unwrap();
    drop((lease, store));
    let blobs = life.root().join("blobs/sha256");
    let wrong = Digest::of(b"right").hex();
    std::fs::write(blobs.join(&wrong), "wrong").unwrap();
    std::fs::write(blobs.join("notes.txt"), "mine").unwrap();
    std::fs::create_dir(blobs.join("folder")).unwrap();
    std::fs::write(blobs.join("folder/file"), "mine").unwrap();

    let rebuilt = again(life.root());
    assert_eq!((rebuilt.mounts, rebuilt.leftovers), (1, cached.len() as u64));
    let bad_names = ["folder", "notes.txt", &wrong].map(str::to_owned);
    assert_eq!(bad(&life), bad_names.into());
    // a second time there is as much to do, and names are taken
    std::fs::write(blobs.join("notes.txt"), "mine too").unwrap();
    again(life.root());
    let store = Store::open(life.root()).unwrap();
    assert_eq!(seen(&store), life.before);
    assert!(store.mount_entries().unwrap().is_empty());
    assert!(!blob_files(life.root()).contains(&Digest::of(&cached).hex()));
    let folder = life.root().join("mica/bad");
    assert_eq!(std::fs::read(folder.join("notes.txt")).unwrap(), b"mine");
    assert_eq!(std::fs::read(folder.join("notes.txt-1")).unwrap(), b"mine too");
    assert_eq!(std::fs::read(folder.join("folder/file")).unwrap(), b"mine");
    find_nothing(&store, Level::Trees);
}

/// What a pull that ended early leaves.
fn pulled(life: &Life, with_layer: bool) -> Digest {
    let store = Store::open(life.root()).unwrap();
    let lease = store.lease();
    let plain = tar(&[Entry::File("late", b"late")]);
    let diff_id = DiffId(Digest::of(&plain));
    let config = config("late", &[diff_id]);
    let blob = store.put_blob(&lease, &gzip(&plain)).unwrap();
    let own = manifest(&config, &[&blob]);
    for bytes in [config.bytes(), own.bytes()] {
        store.put_blob(&lease, bytes).unwrap();
    }
    let path = blob.path().to_owned();
    drop((lease, store));
    if !with_layer {
        std::fs::remove_file(path).unwrap();
    }
    config.digest()
}

#[test]
fn an_image_that_no_list_names_is_kept_if_it_is_whole() {
    for is_whole in [true, false] {
        let life = life();
        let id = pulled(&life, is_whole);
        let rebuilt = again(life.root());
        let found: Vec<Digest> = rebuilt.found.iter().map(|image| *image.digest()).collect();
        assert_eq!(found, if is_whole { vec![id] } else { vec![] });
        assert!(rebuilt.lost.is_empty());
        let store = Store::open(life.root()).unwrap();
        let mut after = seen(&store);
        after.retain(|image| *image.id.digest() != id);
        assert_eq!(after, life.before);
        assert_eq!(blob_files(life.root()).contains(&id.hex()), is_whole);
        find_nothing(&store, Level::Trees);
    }
}

#[test]
fn a_lie_is_found_out_again() {
    let life = life();
    let store = Store::open(life.root()).unwrap();
    let lease = store.lease();
    let diff_id = life.awake;
    let lie = store
        .put_blob(&lease, &gzip(&tar(&[Entry::File("pulled", b"a lie")])))
        .unwrap();
    store
        .add_layer_blob_unchecked(&lease, &lie, Compression::Gzip, &diff_id)
        .unwrap();
    let liar = config("liar", &[diff_id]);
    store
        .commit_pulled(&lease, &liar, &manifest(&liar, &[&lie]), &[], &[name("liar")])
        .unwrap();
    drop((lease, store));
    // only what is claimed is left of the layer
    std::fs::remove_file(life.blob(diff_id.digest())).unwrap();
    std::fs::remove_dir_all(tree_in(life.root(), &diff_id)).unwrap();
    again(life.root());
    let store = Store::open(life.root()).unwrap();
    let lease = store.lease();
    let mut bytes = Vec::new();
    let tar = store.tar(&lease, &diff_id).unwrap();
    std::io::copy(&mut tar.open().unwrap(), &mut bytes).unwrap();
    bytes.flush().unwrap();
    assert_eq!(Digest::of(&bytes), *diff_id.digest());
}
