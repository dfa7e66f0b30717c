//! Stores that are damaged in every way: what a check finds of it.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use mica_oci::{CacheKey, Compression, DiffId, Digest};
use mica_store::{Fault, Finding, Image, Lease, Level, Remedy, Store, Thing, Watch};
use support::checks::{blob_in, check, flip, tree_in};
use support::{Entry, cache_record, config, gzip, layer, manifest, name, noise, pull, store, tar, tree};

fn things(found: &[Finding]) -> Vec<Thing> {
    found.iter().map(|finding| finding.thing.clone()).collect()
}

fn sql(store: &Store, statement: &str) {
    let database = rusqlite::Connection::open(store.root().join("mica/db.sqlite")).unwrap();
    assert!(database.execute(statement, []).unwrap() > 0, "{statement}");
}

/// Pulls an image of one layer with one file; gives the layer too, and its blob.
fn pulled(store: &Store, lease: &Lease, content: &[u8]) -> (Image, DiffId, Vec<u8>) {
    let plain = tar(&[Entry::File("a", content)]);
    let (diff_id, compressed) = (DiffId(Digest::of(&plain)), gzip(&plain));
    let image = pull(store, lease, "pulled", diff_id, &compressed);
    (image, diff_id, compressed)
}

#[test]
fn a_store_that_is_well_gives_no_findings_at_any_level() {
    let (_folder, store) = store();
    let lease = store.lease();
    let (_, diff_id, _) = pulled(&store, &lease, b"one");
    let [made, unpacked] = [layer(&store, &lease, &noise(1, 9000)), tree(&store, &lease, "x")];
    let built = config("built", &[made, unpacked]);
    store
        .commit_image(&lease, &built, None, &[name("built:1")])
        .unwrap();
    store.tree(&lease, &diff_id).unwrap();
    for level in [Level::Quick, Level::Full, Level::Trees] {
        assert_eq!(check(&store, level), []);
    }
    drop(lease);
    for level in [Level::Quick, Level::Full, Level::Trees] {
        assert_eq!(check(&store, level), []);
    }
}

#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    let (_folder, store) = store();
    let lease = store.lease();
    let (pulled, diff_id, compressed) = pulled(&store, &lease, &noise(3, 3000));
    let made = layer(&store, &lease, &noise(1, 9000));
    let unpacked = tree(&store, &lease, "x");
    let built = config("built", &[made, unpacked]);
    let built = store
        .commit_image(&lease, &built, None, &[name("built:1")])
        .unwrap()
        .image;
    store.tree(&lease, &diff_id).unwrap();
    drop(lease);

    let whole = |path: &Path, thing: Thing, quick: bool, full: bool, harms: &[&str]| {
        let before = std::fs::read(path).unwrap();
        let changed = std::fs::metadata(path).unwrap().modified().unwrap();
        flip(path);
        let expected = |found: bool| if found { vec![thing.clone()] } else { vec![] };
        assert_eq!(things(&check(&store, Level::Quick)), expected(quick), "{thing}");
        assert_eq!(things(&check(&store, Level::Full)), expected(full), "{thing}");
        let found = check(&store, Level::Trees);
        assert_eq!(things(&found), expected(true), "{thing}");
        let named: Vec<String> = found[0]
            .harms
            .iter()
            .flat_map(|image| &image.names)
            .map(|name| name.familiar())
            .collect();
        assert_eq!(named, harms, "{thing}");
        std::fs::write(path, before).unwrap();
        // of a tree the times count too
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(changed).unwrap();
        assert_eq!(check(&store, Level::Trees), [], "{thing}");
    };
    let in_pulled = ["pulled:latest"];
    let in_built = ["built:1"];
    let compressed = Digest::of(&compressed);
    whole(
        &blob_in(store.root(), &compressed),
        Thing::Compressed(diff_id, compressed),
        false,
        true,
        &in_pulled,
    );
    whole(
        &blob_in(store.root(), made.digest()),
        Thing::Tar(made),
        false,
        true,
        &in_built,
    );
    whole(
        &blob_in(store.root(), pulled.id.digest()),
        Thing::Config(pulled.id),
        true,
        true,
        &in_pulled,
    );
    let manifest = built.manifest.digest;
    whole(
        &blob_in(store.root(), &manifest),
        Thing::Manifest(built.id, manifest),
        true,
        true,
        &in_built,
    );
    let of = |diff_id: &DiffId, file: &str| tree_in(store.root(), diff_id).join("fs").join(file);
    whole(
        &of(&unpacked, "file"),
        Thing::Tree(unpacked),
        false,
        false,
        &in_built,
    );
    whole(&of(&diff_id, "a"), Thing::Tree(diff_id), false, false, &in_pulled);
}

#[test]
fn what_is_cut_gone_or_something_else_is_found_at_once() {
    let (_folder, store) = store();
    let lease = store.lease();
    let (pulled, diff_id, compressed) = pulled(&store, &lease, b"one");
    let compressed = Digest::of(&compressed);
    let path = blob_in(store.root(), &compressed);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..5]).unwrap();
    let found = check(&store, Level::Quick);
    assert_eq!(things(&found), [Thing::Compressed(diff_id, compressed)]);
    let size = Fault::Size {
        expected: bytes.len() as u64,
        actual: 5,
    };
    assert_eq!((&found[0].fault, found[0].remedy), (&size, Remedy::Renew));
    assert_eq!(found[0].place, path);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(check(&store, Level::Full)[0].fault, Fault::Missing);
    std::fs::create_dir(&path).unwrap();
    assert_eq!(check(&store, Level::Quick)[0].fault, Fault::NotAFile);
    std::fs::remove_dir(&path).unwrap();
    std::fs::write(&path, &bytes).unwrap();
    // with another form of the layer it can be made again
    store.tree(&lease, &diff_id).unwrap();
    let tree = tree_in(store.root(), &diff_id);
    std::fs::remove_dir_all(&tree).unwrap();
    let found = check(&store, Level::Quick);
    assert_eq!(things(&found), [Thing::Tree(diff_id)]);
    assert_eq!(found[0].remedy, Remedy::MakeAgain);
    std::fs::remove_file(blob_in(store.root(), pulled.id.digest())).unwrap();
    assert!(things(&check(&store, Level::Quick)).contains(&Thing::Config(pulled.id)));
}

#[test]
fn rows_that_lead_nowhere_are_found() {
    let (_folder, store) = store();
    let lease = store.lease();
    let made = layer(&store, &lease, b"layer");
    let image = config("built", &[made]);
    let image = store
        .commit_image(&lease, &image, None, &[name("built:1")])
        .unwrap()
        .image;
    let key = CacheKey(Digest::of(b"key"));
    let lost = layer(&store, &lease, b"of the cache");
    let record = cache_record(lost, "RUN x");
    store.remember(&lease, &key, &record).unwrap();
    let hex = |digest: &Digest| format!("x'{}'", digest.hex());
    sql(
        &store,
        &format!("DELETE FROM layers WHERE diff_id = {}", hex(lost.digest())),
    );
    assert_eq!(
        things(&check(&store, Level::Quick)),
        [Thing::CacheRecord(key, lost)]
    );
    sql(&store, "DELETE FROM cache");
    sql(
        &store,
        &format!("DELETE FROM layers WHERE diff_id = {}", hex(made.digest())),
    );
    let found = check(&store, Level::Quick);
    assert!(things(&found).contains(&Thing::Layer(made)), "{found:?}");
    assert_eq!(found[0].harms[0].image, image.id);
    sql(&store, "DELETE FROM image_layers");
    assert!(things(&check(&store, Level::Quick)).contains(&Thing::LayerList(image.id)));
    sql(&store, "DELETE FROM images");
    assert!(things(&check(&store, Level::Quick)).contains(&Thing::Name(name("built:1"))));
}

#[test]
fn strays_and_stale_files_are_found_and_work_in_hand_is_not() {
    let (folder, store) = store();
    let lease = store.lease();
    let held = store.put_blob(&lease, b"in flight").unwrap();
    let work = store.work(&lease).unwrap();
    let ingest = store.ingest(&lease).unwrap();
    assert_eq!(check(&store, Level::Full), []);
    drop((lease, work, ingest));
    let found = check(&store, Level::Quick);
    assert_eq!(things(&found), [Thing::Stray]);
    assert_eq!(found[0].place, held.path());
    store.collect().unwrap();
    for (at, content) in [
        ("blobs/sha256/README", "x"),
        ("mica/trees/x", "x"),
        ("mica/ingest/99999", "x"),
        ("mica/partial/x", "x"),
    ] {
        let path = folder.path().join(at);
        std::fs::write(&path, content).unwrap();
        let found = check(&store, Level::Quick);
        assert_eq!((things(&found), &found[0].place), (vec![Thing::Stray], &path));
        std::fs::remove_file(&path).unwrap();
    }
    std::fs::write(folder.path().join("index.json"), "{}").unwrap();
    std::fs::remove_file(folder.path().join("mica/refs.json")).unwrap();
    assert_eq!(
        things(&check(&store, Level::Quick)),
        [Thing::Derived, Thing::Derived]
    );
}

#[test]
fn a_lie_of_an_image_is_found_when_it_is_looked_into() {
    let (_folder, store) = store();
    let lease = store.lease();
    let claimed = DiffId(Digest::of(b"what it says"));
    let lie = gzip(b"what it holds");
    pull(&store, &lease, "liar", claimed, &lie);
    assert_eq!(check(&store, Level::Quick), []);
    let found = check(&store, Level::Full);
    assert_eq!(things(&found), [Thing::Compressed(claimed, Digest::of(&lie))]);
    assert_eq!(found[0].remedy, Remedy::Renew);
    // and a layer that is there in another form takes no harm of it
    let honest = layer(&store, &lease, b"what it says");
    assert_eq!(honest, claimed);
    assert!(store.tar(&lease, &claimed).is_ok());
    let blobs = [store.put_blob(&lease, &gzip(b"what it says")).unwrap()];
    store
        .add_layer_blob(&lease, &blobs[0], Compression::Gzip, &claimed)
        .unwrap();
    let config = config("honest", &[claimed]);
    let manifest = manifest(&config, &[&blobs[0]]);
    store
        .commit_image(&lease, &config, Some(&manifest), &[name("honest")])
        .unwrap();
}

#[test]
fn a_check_ends_when_nobody_wants_it() {
    let (_folder, store) = store();
    let lease = store.lease();
    layer(&store, &lease, &noise(1, 1 << 20));
    let mut watch = Watch {
        go_on: &|| Err(std::io::Error::other("enough")),
        tell: &mut |_| {},
    };
    assert!(store.check(Level::Full, &mut watch).is_err());
}

#[test]
fn other_bytes_are_not_given_out_to_the_end() {
    use std::io::Read;
    let (_folder, store) = store();
    let lease = store.lease();
    let kept = store.put_blob(&lease, &noise(5, 300_000)).unwrap();
    let read = || {
        let mut bytes = Vec::new();
        let result = kept.open_checked().unwrap().read_to_end(&mut bytes);
        (result.map_err(|error| error.to_string()), bytes.len())
    };
    assert_eq!(read(), (Ok(300_000), 300_000));
    flip(kept.path());
    let (result, length) = read();
    assert!(result.unwrap_err().contains(&kept.digest.to_string()));
    assert!(length < 300_000);
    std::fs::write(kept.path(), b"short").unwrap();
    assert!(read().0.unwrap_err().contains("shorter"));
    let empty = store.put_blob(&lease, b"").unwrap();
    assert_eq!(empty.open_checked().unwrap().read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn one_damaged_config_hides_no_other_image() {
    let (folder, first) = store();
    let lease = first.lease();
    let ids = ["a", "b"].map(|author| {
        let config = config(author, &[]);
        first
            .commit_image(&lease, &config, None, &[name(author)])
            .unwrap()
            .image
            .id
    });
    flip(&blob_in(first.root(), ids[0].digest()));
    drop((lease, first));
    let store = Store::open(folder.path()).unwrap();
    let listed: Vec<_> = store.images().unwrap().iter().map(|image| image.id).collect();
    assert_eq!(listed, [ids[1]]);
    sql(&store, "DELETE FROM summaries");
    assert_eq!(store.image_entries().unwrap().len(), 2);
    assert_eq!(things(&check(&store, Level::Quick)), [Thing::Config(ids[0])]);
}

#[test]
fn a_layer_that_came_back_is_durable_and_its_image_listed_again() {
    let (folder, store) = store();
    let lease = store.lease();
    let made = layer(&store, &lease, b"layer");
    let config = config("a", &[made]);
    store.commit_image(&lease, &config, None, &[name("a")]).unwrap();
    sql(&store, "DELETE FROM layers");
    store
        .commit_image(&lease, &config, None, &[name("b")])
        .unwrap_err();
    assert_eq!(layer(&store, &lease, b"layer"), made);
    store.commit_image(&lease, &config, None, &[name("a")]).unwrap();
    assert_eq!(check(&store, Level::Full), []);
    drop((lease, store));
    let store = support::restart(folder.path());
    assert_eq!(check(&store, Level::Full), []);
    assert!(store.layer(&store.lease(), &made).unwrap().is_some());
}

#[test]
fn a_damaged_blob_is_no_lie() {
    let (_folder, store) = store();
    let lease = store.lease();
    let (_, diff_id, compressed) = pulled(&store, &lease, &noise(3, 3000));
    let path = blob_in(store.root(), &Digest::of(&compressed));
    flip(&path);
    assert!(store.tar(&lease, &diff_id).is_err());
    std::fs::write(&path, &compressed).unwrap();
    assert!(store.tar(&lease, &diff_id).is_ok());
}

#[test]
fn a_database_that_was_emptied_is_refused() {
    let (folder, first) = store();
    let lease = first.lease();
    let kept = first.put_blob(&lease, b"blob").unwrap();
    drop((lease, first));
    let database = folder.path().join("mica/db.sqlite");
    std::fs::write(&database, b"").unwrap();
    let error = Store::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("is empty"), "{error}");
    for ending in ["-wal", "-shm"] {
        let _absent_is_fine = std::fs::remove_file(folder.path().join(format!("mica/db.sqlite{ending}")));
    }
    std::fs::write(&database, noise(1, 9000)).unwrap();
    let error = Store::open(folder.path()).unwrap_err().to_string();
    assert!(
        error.contains("is damaged") && error.contains("refs.json"),
        "{error}"
    );
    assert!(kept.path().exists());
}
