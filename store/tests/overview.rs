//! Images at a glance, and how much of the disk they take.
#![allow(clippy::unwrap_used, reason = "everything in here is a test")]

mod support;

use std::collections::BTreeMap;

use mica_oci::config::ContainerConfig;
use mica_oci::{CacheKey, DiffId, Digest, Raw};
use mica_store::{LayerUsage, Store};
use support::{blob_space, cache_record, config, gzip, layer, name, noise, pull, store, tree_space};

fn labelled(store: &Store, author: &str, layers: &[DiffId], labels: &[(&str, &str)]) -> mica_oci::ImageId {
    let lease = store.lease();
    let mut config = config(author, layers).value().clone();
    config.config = ContainerConfig {
        labels: Some(
            labels
                .iter()
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .collect(),
        ),
        ..ContainerConfig::default()
    };
    let committed = store.commit_image(&lease, &Raw::of(config).unwrap(), None, &[name(author)]);
    committed.unwrap().image.id
}

#[test]
fn an_entry_says_what_the_image_says() {
    let (folder, store) = store();
    let lease = store.lease();
    let one = layer(&store, &lease, b"one");
    let id = labelled(&store, "a", &[one], &[("k", "v"), ("\u{e9}", "\"")]);
    store.tag(&name("b:1"), &id).unwrap();
    let check = |store: &Store| {
        let image = store.image(&id).unwrap().unwrap();
        let entry = store.image_entries().unwrap().pop().unwrap();
        assert_eq!(
            (entry.id, entry.created, entry.size, entry.parent),
            (id, image.created, 3, None)
        );
        assert_eq!(entry.references, image.references);
        assert_eq!(
            entry.labels,
            Some(BTreeMap::from(
                [("k", "v"), ("\u{e9}", "\"")].map(|(k, v)| (k.to_owned(), v.to_owned()))
            ))
        );
    };
    check(&store);
    // in a store of before, configs are summed up at the first look
    let database = rusqlite::Connection::open(folder.path().join("mica/db.sqlite")).unwrap();
    database.execute("DELETE FROM summaries", []).unwrap();
    check(&store);
    let count = || -> i64 {
        let count = database.query_row("SELECT count(*) FROM summaries", [], |row| row.get(0));
        count.unwrap()
    };
    assert_eq!(count(), 1);
    check(&store);
    for reference in [name("a"), name("b:1")] {
        store.untag(&reference).unwrap();
    }
    store.remove_image(&id).unwrap();
    assert_eq!(count(), 0);
    assert!(store.image_entries().unwrap().is_empty());
}

#[test]
fn what_images_share_is_told_for_each() {
    let (_folder, store) = store();
    let lease = store.lease();
    let [one, two, three] = [&b"1"[..], b"two", b"three"].map(|bytes| layer(&store, &lease, bytes));
    let both = labelled(&store, "both", &[one, two], &[]);
    let other = labelled(&store, "other", &[one, three], &[]);
    // the same layer twice is shared with nobody
    let alone = labelled(&store, "alone", &[three, three], &[]);
    let sizes = store.shared_sizes().unwrap();
    assert_eq!(
        [both, other, alone].map(|id| sizes.get(&id).copied()),
        [Some(1), Some(6), Some(10)]
    );
    store.untag(&name("other")).unwrap();
    store.remove_image(&other).unwrap();
    assert!(store.shared_sizes().unwrap().is_empty());
}

#[test]
fn layers_count_once_and_with_all_their_forms() {
    let (folder, store) = store();
    assert_eq!(store.layer_usage().unwrap(), LayerUsage::default());
    let lease = store.lease();
    let shared = layer(&store, &lease, b"shared");
    for author in ["a", "b"] {
        labelled(&store, author, &[shared], &[]);
    }
    // a layer no image has counts nothing
    layer(&store, &lease, b"loose");
    let taken = blob_space(folder.path(), shared.digest());
    assert!(taken > 0);
    assert_eq!(
        store.layer_usage().unwrap(),
        LayerUsage {
            bytes: taken,
            only_images: taken
        }
    );
    let record = cache_record(shared, "RUN true");
    store
        .remember(&lease, &CacheKey(Digest::of(b"key")), &record)
        .unwrap();
    let usage = store.layer_usage().unwrap();
    assert_eq!((usage.bytes, usage.only_images), (taken, 0));
}

#[test]
fn a_pulled_layer_takes_what_its_blob_takes_until_it_is_looked_into() {
    let (folder, store) = store();
    let lease = store.lease();
    let tar = support::tar(&[support::Entry::File("f", &noise(1, 10_000))]);
    let blob = gzip(&tar);
    let diff_id = DiffId(Digest::of(&tar));
    let image = pull(&store, &lease, "p", diff_id, &blob);
    let bytes = || store.layer_usage().unwrap().bytes;
    let of = |digest: &Digest| blob_space(folder.path(), digest);
    let blob = of(&Digest::of(&blob));
    assert_eq!(bytes(), blob);
    store.tar(&lease, &diff_id).unwrap();
    let tar = of(diff_id.digest());
    assert_eq!(bytes(), blob + tar);
    store.tree(&lease, &diff_id).unwrap();
    assert_eq!(bytes(), blob + tar + tree_space(folder.path(), &diff_id));
    let expected = bytes();
    store.untag(&name("p")).unwrap();
    drop(lease);
    let documents = of(image.id.digest()) + of(&image.manifest.digest);
    let removed = store.remove_image(&image.id).unwrap().bytes;
    assert_eq!(removed, expected + documents, "what was told is what is freed");
}
