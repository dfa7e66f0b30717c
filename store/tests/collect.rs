//! Deleting while others work: nothing that a lease holds ever goes.
// only functions marked as tests may unwrap by themselves
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use mica_oci::{CacheKey, Compression, ContentDigest, Digest};
use mica_store::{CacheRecord, Store};
use support::{
    Entry, blob_files, cache_record, config, gzip, layer, manifest, name, names, scratch_files, store, tar,
};

/// How many builders work at once, and how many builds each does.
const BUILDERS: u64 = 4;
const BUILDS: u64 = 60;
/// How many different layers there are; few, so that all builders want the same ones.
const LAYERS: u64 = 5;

#[test]
fn what_is_in_use_is_never_deleted() {
    let (folder, store) = store();
    let done = AtomicBool::new(false);
    let hits = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let sweeper = scope.spawn(|| {
            let mut rounds = 0;
            while !done.load(Ordering::Relaxed) {
                store.collect().unwrap();
                store
                    .prune_cache(&mut |entry| rounds % 2 == 0 || !entry.in_use)
                    .unwrap();
                rounds += 1;
            }
            rounds
        });
        let builders: Vec<_> = (0..BUILDERS)
            .map(|builder| {
                let (store, hits) = (&store, &hits);
                scope.spawn(move || (0..BUILDS).for_each(|n| build(store, builder, n, hits)))
            })
            .collect();
        for builder in builders {
            builder.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        println!(
            "{} rounds of deleting, {} cache hits",
            sweeper.join().unwrap(),
            hits.load(Ordering::Relaxed)
        );
    });
    store.prune_cache(&mut |_| true).unwrap();
    store.collect().unwrap();
    assert!(store.images().unwrap().is_empty());
    drop(store);
    assert!(blob_files(folder.path()).is_empty());
    assert!(names(&folder.path().join("mica/trees")).is_empty());
    assert!(scratch_files(folder.path()).is_empty());
}

#[test]
fn a_manifest_that_another_took_the_place_of_goes() {
    let (folder, store) = store();
    let lease = store.lease();
    let bytes = tar(&[Entry::File("a", b"a")]);
    let made = layer(&store, &lease, &bytes);
    let config = config("built", &[made]);
    let built = store.commit_image(&lease, &config, None, &[name("a")]);
    let first = built.unwrap().image.manifest.digest;
    drop(lease);
    // it is known by its row alone from here on
    store.collect().unwrap();
    let lease = store.lease();
    let kept = store.put_blob(&lease, &gzip(&bytes)).unwrap();
    store
        .add_layer_blob(&lease, &kept, Compression::Gzip, &made)
        .unwrap();
    let other = manifest(&config, &[&kept]);
    assert_ne!(other.digest(), first);
    store
        .commit_pulled(&lease, &config, &other, &[], &[name("a")])
        .unwrap();
    drop(lease);
    store.collect().unwrap();
    assert!(!blob_files(folder.path()).contains(&first.hex()));
    assert!(blob_files(folder.path()).contains(&other.digest().hex()));
}

/// One build: take the layer from the cache or make it, use it in all its forms, name an image, and forget it again.
fn build(store: &Store, builder: u64, n: u64, hits: &AtomicU64) {
    let lease = store.lease();
    let which = ((builder * 31 + n * 7) % LAYERS).to_string();
    let key = CacheKey(Digest::of(which.as_bytes()));
    let diff_id = match store.cached(&lease, &key).unwrap() {
        Some(record) => {
            hits.fetch_add(1, Ordering::Relaxed);
            record.layer
        }
        None => {
            let diff_id = layer(store, &lease, &tar(&[Entry::File("which", which.as_bytes())]));
            let record = CacheRecord {
                content: ContentDigest(Digest::of(which.as_bytes())),
                ..cache_record(diff_id, "RUN")
            };
            store.remember(&lease, &key, &record).unwrap();
            diff_id
        }
    };
    assert!(store.layer(&lease, &diff_id).unwrap().is_some());
    if n.is_multiple_of(3) {
        let tree = store.tree(&lease, &diff_id).unwrap();
        assert_eq!(std::fs::read(tree.join("which")).unwrap(), which.as_bytes());
    }
    let tar = store.tar(&lease, &diff_id).unwrap();
    assert_eq!(Digest::of(&std::fs::read(tar.path()).unwrap()), tar.digest);
    let own = format!("image{builder}");
    let config = config(&format!("{builder} {n}"), &[diff_id]);
    let image = store
        .commit_image(&lease, &config, None, &[name(&own)])
        .unwrap()
        .image;
    drop(lease);
    let held = store.lease();
    let found = store.hold_image(&held, &image.id).unwrap().unwrap();
    assert!(store.blob(&held, &found.manifest.digest).unwrap().is_some());
    assert!(store.layer(&held, &diff_id).unwrap().is_some());
    drop(held);
    store.untag(&name(&own)).unwrap();
    store.remove_image(&image.id).unwrap();
}
