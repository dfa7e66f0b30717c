//! Configs, manifests, names, derived files and strays; what comes again by itself; and a repair nobody wants.

use mica_oci::{Digest, Raw};
use mica_store::{Cure, Level, Mending, Store, Thing};

use crate::support::checks::{blob_in, check, flip};
use crate::support::{Entry, config, layer, name, noise, store, tar};
use crate::world::{Registry, RepairOutcome, WAYS, World, bad, bring, mend};

#[test]
fn what_came_from_a_registry_is_fetched_from_there_again() {
    for (way, damage) in WAYS {
        let world = World::new().again();
        let manifest = world.pulled.manifest.digest;
        let things = [
            Thing::Config(world.pulled.id),
            Thing::Manifest(world.pulled.id, manifest),
            Thing::Compressed(world.diff_id, world.compressed),
        ];
        for thing in &things {
            let digest = thing.digest().unwrap();
            let path = blob_in(world.store.root(), &digest);
            damage(&path);
            let mended = world.registry.repair(&world.store, Level::Full);
            assert_eq!(mended, [(thing.clone(), RepairOutcome::Fetched)], "{way}");
            assert_eq!(check(&world.store, Level::Trees), [], "{way} {thing}");
            assert_eq!(std::fs::read(&path).unwrap(), world.registry.0[&digest]);
            let kept = bad(&world.store, &digest.hex());
            assert_eq!(kept.exists(), way != "delete", "{way} {thing}");
        }
        // what was set aside stays
        let world = world.again();
        let kept = bad(&world.store, &manifest.hex());
        assert_eq!(kept.exists(), way != "delete", "{way}");
        assert_eq!(check(&world.store, Level::Trees), [], "{way}");
    }
}

#[test]
fn documents_are_made_again_where_that_gives_the_same_bytes() {
    for (way, damage) in WAYS {
        let (folder, first) = store();
        let lease = first.lease();
        let made = layer(&first, &lease, b"layer");
        let image = config("built", &[made]);
        let built = first
            .commit_image(&lease, &image, None, &[name("built")])
            .unwrap()
            .image;
        drop(lease);
        let nowhere = Registry::default();
        // a config that was read before is in memory
        first.image(&built.id).unwrap().unwrap();
        damage(&blob_in(first.root(), built.id.digest()));
        let expected = (Thing::Config(built.id), RepairOutcome::Mended(Cure::MadeAgain));
        assert_eq!(nowhere.repair(&first, Level::Quick), [expected], "{way}");
        assert_eq!(check(&first, Level::Full), [], "{way}");
        drop(first);
        let store = Store::open(folder.path()).unwrap();
        let manifest = built.manifest.digest;
        damage(&blob_in(store.root(), &manifest));
        let expected = (
            Thing::Manifest(built.id, manifest),
            RepairOutcome::Mended(Cure::MadeAgain),
        );
        assert_eq!(nowhere.repair(&store, Level::Quick), [expected], "{way}");
        assert_eq!(check(&store, Level::Full), [], "{way}");
    }
}

#[test]
fn documents_nobody_has() {
    let world = World::new().again();
    let nowhere = Registry::default();
    // an image gets another manifest
    let manifest = world.pulled.manifest.digest;
    flip(&blob_in(world.store.root(), &manifest));
    assert_eq!(
        nowhere.repair(&world.store, Level::Quick),
        [(
            Thing::Manifest(world.pulled.id, manifest),
            RepairOutcome::Mended(Cure::Replaced)
        )]
    );
    assert_eq!(check(&world.store, Level::Full), []);
    let image = world.store.image(&world.pulled.id).unwrap().unwrap();
    assert_ne!(image.manifest.digest, manifest);
    assert_eq!(
        world.store.manifest(&image).unwrap().layers[0].digest,
        world.compressed
    );
    // without its config it is nothing, and is named until it comes again
    let world = world.again();
    flip(&blob_in(world.store.root(), world.pulled.id.digest()));
    let aside = bad(&world.store, &world.pulled.id.digest().hex());
    let thing = Thing::Config(world.pulled.id);
    assert_eq!(
        nowhere.repair(&world.store, Level::Quick),
        [(thing.clone(), RepairOutcome::Lost(Some(aside)))]
    );
    let found = check(&world.store, Level::Quick);
    assert_eq!((found.len(), &found[0].thing), (1, &thing));
    assert_eq!(
        world.registry.repair(&world.store, Level::Quick),
        [(thing, RepairOutcome::Fetched)]
    );
    assert_eq!(check(&world.store, Level::Full), []);
    assert!(world.store.image(&world.pulled.id).unwrap().is_some());
}

#[test]
fn what_is_damaged_comes_again_with_the_image() {
    for (way, damage) in WAYS {
        let world = World::new().again();
        let zipped = world.registry.0[&world.compressed].clone();
        for digest in [
            world.compressed,
            world.pulled.manifest.digest,
            *world.pulled.id.digest(),
        ] {
            let path = blob_in(world.store.root(), &digest);
            damage(&path);
            let lease = world.store.lease();
            bring(&world.store, &lease, world.diff_id, &zipped);
            assert_eq!(Digest::of(&std::fs::read(&path).unwrap()), digest, "{way}");
        }
        assert_eq!(check(&world.store, Level::Trees), [], "{way}");
    }
}

#[test]
fn large_blobs_that_were_found_damaged_are_replaced_by_what_comes_next() {
    use std::io::Read;
    let (_folder, store) = store();
    let lease = store.lease();
    let bytes = noise(5, 3 << 20);
    let kept = store.put_blob(&lease, &bytes).unwrap();
    flip(kept.path());
    // nobody knows it yet, and reading it all to find out would cost too much
    store.put_blob(&lease, &bytes).unwrap();
    let read = || kept.open_checked().unwrap().read_to_end(&mut Vec::new());
    read().unwrap_err();
    store.put_blob(&lease, &bytes).unwrap();
    assert_eq!(read().unwrap(), bytes.len());
    assert!(bad(&store, &kept.digest.hex()).exists());
}

#[test]
fn only_one_of_many_writers_replaces_what_is_damaged() {
    let (_folder, store) = store();
    let bytes = noise(6, 200 << 10);
    let kept = store.put_blob(&store.lease(), &bytes).unwrap();
    let aside = bad(&store, &kept.digest.hex());
    for _ in 0..50 {
        flip(kept.path());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| store.put_blob(&store.lease(), &bytes).unwrap());
            }
        });
        assert!(std::fs::read(kept.path()).unwrap() == bytes);
        assert!(
            std::fs::read(&aside).unwrap() != bytes,
            "one that came late set the right bytes aside"
        );
    }
}

#[test]
fn long_documents_that_are_damaged_come_again_with_the_image() {
    let (_folder, store) = store();
    let lease = store.lease();
    let plain = tar(&[Entry::File("a", b"a")]);
    let made = layer(&store, &lease, &plain);
    // longer than most, and no longer than they may be
    let long = "x".repeat(3 << 20);
    let config = config(&long, &[made]);
    let image = store
        .commit_image(&lease, &config, None, &[name("long")])
        .unwrap()
        .image;
    let mut manifest = (*store.manifest(&image).unwrap()).clone();
    manifest.annotations.insert("long".to_owned(), long);
    let manifest = Raw::of(manifest).unwrap();
    let again = || store.commit_pulled(&lease, &config, &manifest, &[], &[name("long")]);
    again().unwrap();
    for digest in [manifest.digest(), config.digest()] {
        flip(&blob_in(store.root(), &digest));
        again().unwrap();
        assert_eq!(check(&store, Level::Full), []);
    }
}

#[test]
fn rows_strays_and_derived_files_are_put_in_order() {
    let world = World::new();
    let store = &world.store;
    let nowhere = Registry::default();
    let index = store.root().join("index.json");
    let refs = store.root().join("mica/refs.json");
    let (index_was, refs_was) = (std::fs::read(&index).unwrap(), std::fs::read(&refs).unwrap());
    for (way, damage) in WAYS {
        for path in [&index, &refs] {
            damage(path);
            let expected = (Thing::Derived, RepairOutcome::Mended(Cure::MadeAgain));
            assert_eq!(nowhere.repair(store, Level::Quick), [expected], "{way}");
        }
        assert_eq!(std::fs::read(&index).unwrap(), index_was, "{way}");
        assert_eq!(std::fs::read(&refs).unwrap(), refs_was, "{way}");
    }
    let held = store.lease();
    let mine = store.put_blob(&held, b"in flight").unwrap();
    let other = Digest::of(b"other").hex();
    for at in [
        format!("blobs/sha256/{other}"),
        "blobs/sha256/README".to_owned(),
        "mica/trees/x".to_owned(),
        "mica/ingest/99999".to_owned(),
        "mica/partial/x".to_owned(),
    ] {
        let path = store.root().join(at);
        std::fs::write(&path, "x").unwrap();
        let expected = (Thing::Stray, RepairOutcome::Mended(Cure::Dropped));
        assert_eq!(
            nowhere.repair(store, Level::Quick),
            [expected],
            "{}",
            path.display()
        );
        assert!(!path.exists());
    }
    assert!(mine.path().exists());
    drop(held);
    let database = rusqlite::Connection::open(store.root().join("mica/db.sqlite")).unwrap();
    database
        .execute("UPDATE image_layers SET blob = diff_id", [])
        .unwrap();
    store.collect().unwrap();
    assert_eq!(
        nowhere.repair(store, Level::Quick),
        [
            (
                Thing::LayerList(world.pulled.id),
                RepairOutcome::Mended(Cure::MadeAgain)
            ),
            (Thing::Derived, RepairOutcome::Mended(Cure::ByItself)),
        ]
    );
    assert_eq!(check(store, Level::Trees), []);
}

#[test]
fn a_repair_ends_when_nobody_wants_it() {
    let world = World::new();
    world.store.tar(&world.store.lease(), &world.diff_id).unwrap();
    let path = blob_in(world.store.root(), world.diff_id.digest());
    flip(&path);
    let finding = &check(&world.store, Level::Full)[0];
    for left in 0..3 {
        let calls = std::sync::atomic::AtomicUsize::new(0);
        let go_on = || match calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < left {
            true => Ok(()),
            false => Err(std::io::Error::other("enough")),
        };
        world.store.mend(finding, &go_on).unwrap_err();
        assert_ne!(
            Digest::of(&std::fs::read(&path).unwrap()),
            *world.diff_id.digest()
        );
    }
    assert_eq!(mend(&world.store, finding), Mending::Done(Cure::MadeAgain));
    assert_eq!(mend(&world.store, finding), Mending::Done(Cure::ByItself));
}
