//! Forms of layers, damaged and made again, fetched, or set aside.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use mica_layer::disk::recorded::{self, Act, Recorder};
use mica_oci::{Compression, DiffId, Digest};
use mica_store::{Cure, Growth, Lease, Level, Mending, Store, Thing};
use rustix::io::Errno;
use tempfile::TempDir;

use crate::support::checks::{blob_in, check, flip};
use crate::support::renames::RenameFails;
use crate::support::{self, config, gzip, layer, name, noise, pull, store, tree};
use crate::world::{Registry, RepairOutcome, WAYS, World, bad, file_of, mend};

#[test]
fn a_tar_is_made_again_of_whatever_else_is_there() {
    for (way, damage) in WAYS {
        let world = World::new();
        world.store.tar(&world.store.lease(), &world.diff_id).unwrap();
        let path = blob_in(world.store.root(), world.diff_id.digest());
        damage(&path);
        let expected = (Thing::Tar(world.diff_id), RepairOutcome::Mended(Cure::MadeAgain));
        // nobody is asked
        let nowhere = Registry::default();
        assert_eq!(
            nowhere.repair(&world.store, Level::Full),
            std::slice::from_ref(&expected),
            "{way}"
        );
        assert_eq!(check(&world.store, Level::Full), [], "{way}");
        assert_eq!(
            Digest::of(&std::fs::read(&path).unwrap()),
            *world.diff_id.digest()
        );
        // of a tree too, and then it is durable
        let lease = world.store.lease();
        let made = tree(&world.store, &lease, "made here");
        let image = config("built", &[made]);
        world
            .store
            .commit_image(&lease, &image, None, &[name("built")])
            .unwrap();
        world.store.tar(&lease, &made).unwrap();
        drop(lease);
        damage(&blob_in(world.store.root(), made.digest()));
        let mended = nowhere.repair(&world.store, Level::Full);
        assert_eq!(
            mended,
            [(Thing::Tar(made), RepairOutcome::Mended(Cure::MadeAgain))],
            "{way}"
        );
        let root = world.store.root().to_owned();
        drop(world.store);
        let store = support::restart(&root);
        assert_eq!(check(&store, Level::Trees), [], "{way}");
        assert!(blob_in(store.root(), made.digest()).exists());
    }
}

#[test]
fn a_tar_that_nothing_else_holds_is_set_aside_and_named_and_built_again() {
    let (_folder, store) = store();
    let lease = store.lease();
    let bytes = noise(1, 3 << 20);
    let made = layer(&store, &lease, &bytes);
    let image = config("built", &[made]);
    let built = store
        .commit_image(&lease, &image, None, &[name("built")])
        .unwrap()
        .image;
    drop(lease);
    flip(&blob_in(store.root(), made.digest()));
    let found = check(&store, Level::Full);
    assert_eq!(found[0].harms[0].image, built.id);
    assert_eq!(found[0].harms[0].names, [name("built")]);
    let aside = bad(&store, &made.digest().hex());
    let nowhere = Registry::default();
    assert_eq!(
        nowhere.repair(&store, Level::Full),
        [(Thing::Tar(made), RepairOutcome::Lost(Some(aside.clone())))]
    );
    assert!(aside.exists() && !blob_in(store.root(), made.digest()).exists());
    // it stays broken, and is named by every check
    let again = check(&store, Level::Quick);
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].thing, Thing::Layer(made));
    assert_eq!(again[0].harms[0].names, [name("built")]);
    let lease = store.lease();
    store.tar(&lease, &made).unwrap_err();
    store
        .commit_image(&lease, &config("other", &[made]), None, &[])
        .unwrap_err();
    // whoever makes it again mends it
    layer(&store, &lease, &bytes);
    store
        .commit_image(&lease, &image, None, &[name("built")])
        .unwrap();
    assert_eq!(check(&store, Level::Full), []);
}

/// A store with an image of one layer, which is there as a tree.
fn built() -> (TempDir, Store, Lease, DiffId) {
    let (folder, store) = store();
    let lease = store.lease();
    let made = tree(&store, &lease, "made here");
    let image = config("built", &[made]);
    store
        .commit_image(&lease, &image, None, &[name("built")])
        .unwrap();
    (folder, store, lease, made)
}

/// Does something while a recorder is told of all changes; one at a time, as a process has one recorder.
fn told_to<T>(recorder: Arc<dyn Recorder>, act: impl FnOnce() -> T) -> T {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap();
    recorded::tell(Some(recorder));
    let done = act();
    recorded::tell(None);
    done
}

/// The files that were made durable, by their inode numbers.
#[derive(Default)]
struct Synced(Mutex<HashSet<u64>>);

impl Recorder for Synced {
    fn change(
        &self,
        path: &Path,
        act: &Act<'_>,
        make: &mut dyn FnMut(usize) -> Option<usize>,
    ) -> Result<(), Errno> {
        if matches!(act, Act::Sync)
            && let Ok(meta) = std::fs::metadata(path)
        {
            self.0.lock().unwrap().insert(meta.ino());
        }
        make(usize::MAX);
        Ok(())
    }
}

#[test]
fn what_takes_the_place_of_a_durable_tar_is_durable_when_the_image_is() {
    let (_folder, store) = store();
    let bytes = noise(1, 3 << 20);
    let build = || {
        let lease = store.lease();
        let made = layer(&store, &lease, &bytes);
        let image = config("built", &[made]);
        store
            .commit_image(&lease, &image, None, &[name("built")])
            .unwrap();
        made
    };
    let path = blob_in(store.root(), build().digest());
    for (way, damage) in WAYS {
        damage(&path);
        assert_eq!(check(&store, Level::Full).len(), 1, "{way}");
        let synced = Arc::new(Synced::default());
        told_to(synced.clone(), build);
        assert_eq!(check(&store, Level::Full), [], "{way}");
        let inode = std::fs::metadata(&path).unwrap().ino();
        assert!(synced.0.lock().unwrap().contains(&inode), "{way}");
    }
}

#[test]
fn packing_a_tree_again_ends_when_nobody_wants_it() {
    let (_folder, store, lease, made) = built();
    store.tar(&lease, &made).unwrap();
    flip(&blob_in(store.root(), made.digest()));
    let finding = &check(&store, Level::Full)[0];
    let ingest = store.root().join("mica/ingest");
    // until the tar is being written, all is well
    let go_on = || match std::fs::read_dir(&ingest)?.next() {
        None => Ok(()),
        Some(_) => Err(std::io::Error::other("enough")),
    };
    store.mend(finding, &go_on).unwrap_err();
    assert_eq!(mend(&store, finding), Mending::Done(Cure::MadeAgain));
}

#[test]
fn a_compressed_blob_that_was_made_here_is_made_here_again() {
    for (way, damage) in WAYS {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let (_folder, store) = store();
            let lease = store.lease();
            let made = layer(&store, &lease, &noise(1, 5 << 20));
            let growth = Growth::new();
            let kept = store
                .compress_layer(&lease, &made, compression, 2, &growth)
                .unwrap();
            let image = config("built", &[made]);
            store
                .commit_image(&lease, &image, None, &[name("built")])
                .unwrap();
            drop(lease);
            damage(kept.path());
            let mended = Registry::default().repair(&store, Level::Full);
            let expected = (
                Thing::Compressed(made, kept.digest),
                RepairOutcome::Mended(Cure::MadeAgain),
            );
            assert_eq!(mended, [expected], "{way}");
            assert_eq!(check(&store, Level::Full), [], "{way}");
        }
    }
}

#[test]
fn a_compressed_blob_nobody_has_is_done_without_where_the_layer_is_there() {
    for (way, damage) in WAYS {
        let world = World::new();
        // the tar is not durable yet, and has to become so first
        world.store.tar(&world.store.lease(), &world.diff_id).unwrap();
        damage(&blob_in(world.store.root(), &world.compressed));
        let thing = Thing::Compressed(world.diff_id, world.compressed);
        let mended = Registry::default().repair(&world.store, Level::Full);
        assert_eq!(mended, [(thing, RepairOutcome::Mended(Cure::Dropped))], "{way}");
        assert_eq!(check(&world.store, Level::Full), [], "{way}");
        // a pull brings it again
        assert!(!world.store.is_image_whole(&world.pulled.id).unwrap());
        let root = world.store.root().to_owned();
        drop(world.store);
        let store = support::restart(&root);
        assert_eq!(check(&store, Level::Full), [], "{way}");
        assert!(store.layer(&store.lease(), &world.diff_id).unwrap().is_some());
    }
}

#[test]
fn a_compressed_blob_nobody_has_takes_its_layer_with_it_until_it_is_pulled_again() {
    for (way, damage) in WAYS {
        let world = World::new().again();
        damage(&blob_in(world.store.root(), &world.compressed));
        let thing = Thing::Compressed(world.diff_id, world.compressed);
        let aside = (way != "delete").then(|| bad(&world.store, &world.compressed.hex()));
        let nowhere = Registry::default();
        let mended = nowhere.repair(&world.store, Level::Full);
        assert_eq!(mended, [(thing, RepairOutcome::Lost(aside))], "{way}");
        world.store.collect().unwrap();
        let found = check(&world.store, Level::Quick);
        assert_eq!(found[0].thing, Thing::Layer(world.diff_id), "{way}");
        assert_eq!(found[0].harms[0].image, world.pulled.id);
        // where it came from is not forgotten
        let mended = world.registry.repair(&world.store, Level::Quick);
        assert_eq!(
            mended,
            [(Thing::Layer(world.diff_id), RepairOutcome::Fetched)],
            "{way}"
        );
        assert_eq!(check(&world.store, Level::Trees), [], "{way}");
    }
}

#[test]
fn a_tree_is_unpacked_again_unless_it_is_in_use() {
    let world = World::new();
    let store = &world.store;
    store.tree(&store.lease(), &world.diff_id).unwrap();
    let lease = store.lease();
    let made = tree(store, &lease, "made here");
    let image = config("built", &[made]);
    store
        .commit_image(&lease, &image, None, &[name("built")])
        .unwrap();
    store.tar(&lease, &made).unwrap();
    drop(lease);
    let nowhere = Registry::default();
    for (diff_id, file) in [(world.diff_id, "a"), (made, "file")] {
        let file = file_of(store, &diff_id, file);
        for (way, damage) in WAYS {
            damage(&file);
            let held = store.lease();
            store.layer(&held, &diff_id).unwrap();
            let finding = &check(store, Level::Trees)[0];
            assert!(matches!(mend(store, finding), Mending::Left(why) if why.contains("in use")));
            drop(held);
            let expected = (Thing::Tree(diff_id), RepairOutcome::Mended(Cure::MadeAgain));
            assert_eq!(nowhere.repair(store, Level::Trees), [expected], "{way}");
            assert_eq!(check(store, Level::Trees), [], "{way}");
        }
        std::fs::remove_dir_all(file.parent().unwrap()).unwrap();
        let expected = (Thing::Tree(diff_id), RepairOutcome::Mended(Cure::MadeAgain));
        assert_eq!(nowhere.repair(store, Level::Quick), [expected]);
        assert_eq!(check(store, Level::Trees), []);
    }
    // the tar it was made of became durable before the tree that was so went
    let root = world.store.root().to_owned();
    drop(world.store);
    let store = support::restart(&root);
    assert_eq!(check(&store, Level::Trees), []);
    assert!(store.layer(&store.lease(), &made).unwrap().is_some());
}

#[test]
fn a_tree_that_could_not_be_put_in_place_leaves_nothing_behind() {
    let world = World::new();
    let store = &world.store;
    store.tree(&store.lease(), &world.diff_id).unwrap();
    store.collect().unwrap();
    let file = file_of(store, &world.diff_id, "a");
    flip(&file);
    let finding = &check(store, Level::Trees)[0];
    let failing = RenameFails {
        to: file.parent().unwrap().to_owned(),
        with: Errno::IO,
    };
    told_to(Arc::new(failing), || store.mend(finding, &|| Ok(()))).unwrap_err();
    store.collect().unwrap();
    assert_eq!(check(store, Level::Trees), []);
}

#[test]
fn a_tree_that_is_all_there_was_is_set_aside() {
    let (_folder, store, lease, made) = built();
    drop(lease);
    flip(&file_of(&store, &made, "file"));
    let aside = bad(&store, &format!("{}-tree", made.digest().hex()));
    let nowhere = Registry::default();
    assert_eq!(
        nowhere.repair(&store, Level::Trees),
        [(Thing::Tree(made), RepairOutcome::Lost(Some(aside.clone())))]
    );
    assert!(aside.join("fs/file").exists());
    let found = check(&store, Level::Trees);
    assert_eq!((found.len(), &found[0].thing), (1, &Thing::Layer(made)));
    let lease = store.lease();
    assert_eq!(tree(&store, &lease, "made here"), made);
    store
        .commit_image(&lease, &config("built", &[made]), None, &[name("built")])
        .unwrap();
    assert_eq!(check(&store, Level::Trees), []);
}

#[test]
fn a_lie_is_told_from_damage() {
    let (_folder, store) = store();
    let lease = store.lease();
    let claimed = DiffId(Digest::of(b"what it says"));
    let lie = gzip(b"what it holds");
    pull(&store, &lease, "liar", claimed, &lie);
    drop(lease);
    let nowhere = Registry::default();
    let thing = Thing::Compressed(claimed, Digest::of(&lie));
    let left = nowhere.repair(&store, Level::Full);
    assert!(
        matches!(&left[..], [(found, RepairOutcome::Left(why))] if *found == thing && why.contains("not true")),
        "{left:?}"
    );
    // it is what the image came as, and stays
    assert!(blob_in(store.root(), &Digest::of(&lie)).exists());
    let lease = store.lease();
    layer(&store, &lease, b"what it says");
    drop(lease);
    let mended = nowhere.repair(&store, Level::Full);
    assert_eq!(mended, [(thing, RepairOutcome::Mended(Cure::Dropped))]);
    assert_eq!(check(&store, Level::Full), []);
}

#[test]
fn a_layer_whose_rows_are_lost_is_found_again_by_its_file() {
    let world = World::new();
    let nowhere = Registry::default();
    let held = world.store.lease();
    for tar in [false, true] {
        if tar {
            world.store.tar(&world.store.lease(), &world.diff_id).unwrap();
            std::fs::remove_file(blob_in(world.store.root(), &world.compressed)).unwrap();
        }
        // what is pinned is no stray
        for digest in [world.compressed, *world.diff_id.digest()] {
            world.store.blob(&held, &digest).unwrap();
        }
        let database = rusqlite::Connection::open(world.store.root().join("mica/db.sqlite")).unwrap();
        database
            .execute_batch("DELETE FROM layers; DELETE FROM layer_blobs; DELETE FROM layer_claims")
            .unwrap();
        let found = Thing::Layer(world.diff_id);
        let mended = nowhere.repair(&world.store, Level::Full);
        assert_eq!(
            mended[0],
            (found, RepairOutcome::Mended(Cure::MadeAgain)),
            "{mended:?}"
        );
        assert_eq!(check(&world.store, Level::Trees), []);
    }
}

#[test]
fn what_reading_finds_damaged_is_replaced_by_what_comes_next() {
    let (_folder, store) = store();
    let lease = store.lease();
    // longer than what is hashed whenever it comes
    let plain = noise(7, 3 << 20);
    let (diff_id, zipped) = (DiffId(Digest::of(&plain)), gzip(&plain));
    let kept = store.put_blob(&lease, &zipped).unwrap();
    store
        .add_layer_blob(&lease, &kept, Compression::Gzip, &diff_id)
        .unwrap();
    flip(kept.path());
    let error = store.tar(&lease, &diff_id).unwrap_err().to_string();
    assert!(error.contains("--repair"), "{error}");
    assert!(error.contains(&kept.digest.to_string()), "{error}");
    store.put_blob(&lease, &zipped).unwrap();
    store.tar(&lease, &diff_id).unwrap();
}
