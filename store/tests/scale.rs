//! What things take in a large store and in the usual small one. Times are printed, not asserted: they depend on the machine.
// only functions marked as tests may unwrap by themselves
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use mica_oci::{CacheKey, ContentDigest, Digest, ImageId};
use mica_store::{CacheRecord, Store};
use support::{Entry, cache_record, config, fast_folder, layer, name, store, tar};

fn each(times: u32, mut work: impl FnMut(u32)) -> Duration {
    let start = Instant::now();
    (0..times).for_each(&mut work);
    start.elapsed() / times
}

#[test]
fn ten_thousand_tags_are_listed_and_found() {
    let folder = fast_folder();
    let store = Store::open(folder.path()).unwrap();
    let lease = store.lease();
    let diff_id = layer(&store, &lease, &tar(&[Entry::File("f", b"f")]));
    let ids: Vec<ImageId> = (0..1000)
        .map(|n| {
            let names: Vec<_> = (0..10)
                .map(|tag| name(&format!("reg.io/team/app{n}:v{tag}")))
                .collect();
            let config = config(&n.to_string(), &[diff_id]);
            store
                .commit_image(&lease, &config, None, &names)
                .unwrap()
                .image
                .id
        })
        .collect();
    let list = each(5, |_| assert_eq!(store.images().unwrap().len(), 1000));
    let one = name("reg.io/team/app777:v7");
    let resolve = each(1000, |_| assert_eq!(store.resolve(&one).unwrap(), Some(ids[777])));
    let image = each(1000, |_| {
        assert_eq!(store.image(&ids[777]).unwrap().unwrap().references.len(), 10)
    });
    let hex = ids[5].digest().hex();
    let find = each(1000, |_| assert_eq!(store.find(&hex[..12]).unwrap(), [ids[5]]));
    let tag = each(50, |n| {
        store.tag(&name("reg.io/moving:1"), &ids[n as usize]).unwrap();
    });
    println!(
        "10 000 tags: list {list:?}, resolve {resolve:?}, image {image:?}, find {find:?}, move a tag {tag:?}"
    );
    drop((lease, store));
    let start = Instant::now();
    let store = Store::open(folder.path()).unwrap();
    let open = start.elapsed();
    let start = Instant::now();
    assert_eq!(store.images().unwrap().len(), 1000);
    println!("open {open:?}, first list {:?}", start.elapsed());
    drop(store);
    std::fs::remove_file(folder.path().join("mica/db.sqlite")).unwrap();
    let start = Instant::now();
    let rebuilt = mica_store::rebuild(folder.path(), &mut |_| ()).unwrap();
    assert_eq!((rebuilt.images, rebuilt.names), (1000, 10_001));
    println!("the database made again {:?}", start.elapsed());
}

#[test]
fn a_build_costs_the_store_little() {
    let (_folder, store) = store();
    let lease = store.lease();
    let layers: Vec<_> = (0..30)
        .map(|n| {
            layer(
                &store,
                &lease,
                &tar(&[Entry::File("f", format!("{n}").as_bytes())]),
            )
        })
        .collect();
    let same = config("same", &layers);
    store.commit_image(&lease, &same, None, &[name("app")]).unwrap();
    let unchanged = each(500, |_| {
        store.commit_image(&lease, &same, None, &[name("app")]).unwrap();
    });
    let new = each(20, |n| {
        let config = config(&n.to_string(), &layers);
        store.commit_image(&lease, &config, None, &[name("app")]).unwrap();
    });
    let add = each(100, |n| {
        layer(
            &store,
            &lease,
            &tar(&[Entry::File("new", format!("{n}").as_bytes())]),
        );
    });
    let record = |n: u32| CacheRecord {
        content: ContentDigest(Digest::of(&n.to_le_bytes())),
        ..cache_record(layers[0], "RUN")
    };
    let key = |n: u32| CacheKey(Digest::of(&n.to_le_bytes()));
    let remember = each(1000, |n| store.remember(&lease, &key(n), &record(n)).unwrap());
    let hit = each(1000, |n| {
        assert!(store.cached(&lease, &key(n)).unwrap().is_some())
    });
    let miss = each(1000, |n| {
        assert!(store.cached(&lease, &key(n + 1000)).unwrap().is_none())
    });
    println!("commit unchanged {unchanged:?}, commit new {new:?}, add a small tar {add:?}");
    println!("remember {remember:?}, cached hit {hit:?}, miss {miss:?}");
}
