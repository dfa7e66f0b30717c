//! What each method of the store promises.
// only functions marked as tests may unwrap by themselves
#![allow(clippy::unwrap_used)]

mod support;

use std::io::Write;

use mica_oci::{CacheKey, ChainId, Digest, ImageId, Reference};
use mica_store::{CacheRecord, Error, Store};
use support::{blob_files, blob_space, cache_record, config, layer, name, scratch_files, store};

#[test]
fn a_blob_is_there_once_committed_and_gone_if_dropped() {
    let (folder, store) = store();
    let lease = store.lease();
    let mut ingest = store.ingest(&lease).unwrap();
    ingest.write_all(b"hello").unwrap();
    drop(ingest);
    assert!(scratch_files(folder.path()).is_empty());
    assert!(store.blob(&lease, &Digest::of(b"hello")).unwrap().is_none());

    let blob = store.put_blob(&lease, b"hello").unwrap();
    assert_eq!((blob.digest, blob.size), (Digest::of(b"hello"), 5));
    assert_eq!(std::fs::read(blob.path()).unwrap(), b"hello");
    assert_eq!(store.put_blob(&lease, b"hello").unwrap(), blob);
    assert_eq!(store.blob(&lease, &blob.digest).unwrap().unwrap(), blob);
}

#[test]
fn a_blob_of_other_bytes_is_refused() {
    let (folder, store) = store();
    let lease = store.lease();
    let mut ingest = store.ingest(&lease).unwrap();
    ingest.write_all(b"hello").unwrap();
    let expected = Digest::of(b"other");
    match ingest.commit(Some(expected)) {
        Err(Error::Digest { expected: e, actual }) => {
            assert_eq!((e, actual), (expected, Digest::of(b"hello")))
        }
        other => panic!("{other:?}"),
    }
    assert!(blob_files(folder.path()).is_empty() && scratch_files(folder.path()).is_empty());
}

#[test]
fn an_image_is_found_by_its_id_its_prefix_and_its_names() {
    let (_folder, store) = store();
    let lease = store.lease();
    let diff_id = layer(&store, &lease, b"one");
    let config = config("a", &[diff_id]);
    let id = ImageId(config.digest());
    let digest_name: Reference = format!("me/app@{}", Digest::of(b"m")).parse().unwrap();
    let done = store
        .commit_image(
            &lease,
            &config,
            None,
            &[name("me/app"), name("me/app:2"), digest_name.clone()],
        )
        .unwrap();
    assert_eq!(done.image.id, id);
    assert!(done.moved.is_empty());
    assert_eq!(done.image.references.len(), 3);
    assert_eq!(done.image.config.bytes(), config.bytes());
    assert!(done.image.tagged_at.is_some());
    assert_eq!(store.resolve(&name("me/app:latest")).unwrap(), Some(id));
    assert_eq!(store.resolve(&digest_name).unwrap(), Some(id));
    assert_eq!(store.resolve(&name("me/app:3")).unwrap(), None);
    let hex = id.digest().hex();
    for length in [1, 7, 63, 64] {
        assert_eq!(store.find(&hex[..length]).unwrap(), [id]);
    }
    for nothing in ["", "zz", "ABC", "é", &format!("{hex}0")] {
        assert!(store.find(nothing).unwrap().is_empty(), "{nothing}");
    }
    let listed = store.images().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].references, done.image.references);
    let manifest = store.blob(&lease, &done.image.manifest.digest).unwrap().unwrap();
    assert_eq!(manifest.size, done.image.manifest.size);
}

#[test]
fn an_image_whose_layers_are_missing_is_refused() {
    let (folder, store) = store();
    let missing = mica_oci::DiffId(Digest::of(b"nowhere"));
    let error = store
        .commit_image(&store.lease(), &config("a", &[missing]), None, &[name("a")])
        .unwrap_err();
    assert!(matches!(error, Error::MissingLayer { diff_id } if diff_id == missing));
    assert!(store.images().unwrap().is_empty() && blob_files(folder.path()).is_empty());
}

#[test]
fn tags_move_and_say_from_where() {
    let (_folder, store) = store();
    let lease = store.lease();
    let diff_id = layer(&store, &lease, b"one");
    let first = store
        .commit_image(&lease, &config("a", &[diff_id]), None, &[name("x")])
        .unwrap()
        .image
        .id;
    let second = store
        .commit_image(&lease, &config("b", &[diff_id]), None, &[name("x")])
        .unwrap();
    assert_eq!(second.moved, [(name("x"), first)]);
    assert_eq!(store.tag(&name("x"), &first).unwrap(), Some(second.image.id));
    assert_eq!(store.tag(&name("x"), &first).unwrap(), Some(first));
    assert_eq!(store.tag(&name("y"), &first).unwrap(), None);
    assert_eq!(store.untag(&name("y")).unwrap(), Some(first));
    assert_eq!(store.untag(&name("y")).unwrap(), None);
    assert!(!store.untag_from(&name("x"), &second.image.id).unwrap());
    let by_digest: Reference = format!("x@{}", Digest::of(b"x")).parse().unwrap();
    store.tag(&by_digest, &first).unwrap();
    assert_eq!(store.untag_if_only_digests(&first).unwrap(), None);
    assert!(store.untag_from(&name("x"), &first).unwrap());
    assert_eq!(
        store.untag_if_only_digests(&first).unwrap(),
        Some(vec![by_digest])
    );
    assert_eq!(store.untag_if_only_digests(&first).unwrap(), Some(vec![]));
    store.tag(&name("x"), &first).unwrap();
    let nobody = ImageId(Digest::of(b"nobody"));
    assert!(matches!(store.tag(&name("y"), &nobody), Err(Error::MissingImage { image }) if image == nobody));
}

#[test]
fn removing_an_image_frees_what_nothing_else_keeps() {
    let (folder, store) = store();
    let lease = store.lease();
    let (shared, own) = (layer(&store, &lease, b"shared"), layer(&store, &lease, b"own"));
    let keeps = store
        .commit_image(&lease, &config("a", &[shared]), None, &[name("a")])
        .unwrap();
    let goes = store
        .commit_image(&lease, &config("b", &[shared, own]), None, &[name("b")])
        .unwrap();
    drop(lease);
    let id = goes.image.id;
    assert!(matches!(
        store.remove_image(&id),
        Err(Error::InUse { references: 1, .. })
    ));
    store.untag(&name("b")).unwrap();
    let removed = store.remove_image(&id).unwrap();
    assert_eq!(removed.chains, [ChainId::of(&[shared, own])]);
    assert!(removed.bytes > 0);
    assert!(store.image(&id).unwrap().is_none());
    let kept = [
        *keeps.image.id.digest(),
        keeps.image.manifest.digest,
        *shared.digest(),
    ];
    assert_eq!(blob_files(folder.path()), kept.iter().map(Digest::hex).collect());
    assert_eq!(store.usage().unwrap().layers, 1);
    assert_eq!(store.collect().unwrap(), 0);
}

#[test]
fn what_a_lease_holds_stays_until_it_drops() {
    let (folder, store) = store();
    let lease = store.lease();
    let diff_id = layer(&store, &lease, b"one");
    let loose = store.put_blob(&lease, b"loose").unwrap().digest;
    store.collect().unwrap();
    assert_eq!(blob_files(folder.path()).len(), 2);
    let taken = blob_space(folder.path(), &loose);
    let other = store.lease();
    assert!(store.layer(&other, &diff_id).unwrap().is_some());
    drop(lease);
    assert_eq!(store.collect().unwrap(), taken);
    assert!(store.layer(&store.lease(), &diff_id).unwrap().is_some());
    drop(other);
    store.collect().unwrap();
    assert!(blob_files(folder.path()).is_empty());
    assert!(store.layer(&store.lease(), &diff_id).unwrap().is_none());
}

#[test]
fn cache_records_are_found_keep_their_layers_and_are_pruned() {
    let (folder, store) = store();
    let lease = store.lease();
    let diff_id = layer(&store, &lease, b"one");
    let key = CacheKey(Digest::of(b"key"));
    let record = CacheRecord {
        created: "2026-01-02T03:04:05.000000067Z".parse().unwrap(),
        ..cache_record(diff_id, "RUN true")
    };
    assert_eq!(store.cached(&lease, &key).unwrap(), None);
    store.remember(&lease, &key, &record).unwrap();
    drop(lease);
    store.collect().unwrap();
    let lease = store.lease();
    assert_eq!(store.cached(&lease, &key).unwrap(), Some(record.clone()));
    let same = store
        .same_content(&lease, &record.parent, &record.content)
        .unwrap();
    assert_eq!(same, Some(record.clone()));
    let entries = store.cache_entries().unwrap();
    assert_eq!(
        (entries.len(), entries[0].use_count, entries[0].in_use),
        (1, 1, true)
    );
    drop(lease);
    assert!(!store.cache_entries().unwrap()[0].in_use);
    assert_eq!(store.prune_cache(&mut |_| false).unwrap().keys, []);
    let pruned = store.prune_cache(&mut |entry| entry.record == record).unwrap();
    assert_eq!(pruned.keys, [key]);
    assert!(pruned.bytes > 0 && blob_files(folder.path()).is_empty());
    assert_eq!(store.cached(&store.lease(), &key).unwrap(), None);
}

#[test]
fn a_record_whose_layer_vanished_from_the_disk_is_no_record() {
    let (folder, store) = store();
    let lease = store.lease();
    let diff_id = layer(&store, &lease, b"one");
    let key = CacheKey(Digest::of(b"key"));
    let record = cache_record(diff_id, "");
    store.remember(&lease, &key, &record).unwrap();
    std::fs::remove_file(folder.path().join("blobs/sha256").join(diff_id.digest().hex())).unwrap();
    assert_eq!(store.cached(&lease, &key).unwrap(), None);
    assert_eq!(
        store
            .same_content(&lease, &record.parent, &record.content)
            .unwrap(),
        None
    );
}

#[test]
fn a_store_has_one_owner() {
    let (folder, store) = store();
    match Store::open(folder.path()) {
        Err(Error::Locked { owner, .. }) => assert_eq!(owner, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    drop(store);
    Store::open(folder.path()).unwrap();
}

#[test]
fn a_strange_store_is_refused() {
    let (folder, store) = store();
    drop(store);
    let format = folder.path().join("mica/format.json");
    for (text, told) in [
        (r#"{"version":2,"features":{}}"#, "format version 2"),
        (
            r#"{"version":1,"features":{"incompatible":["erofs"]}}"#,
            "\"erofs\"",
        ),
        (r#"{"version":1,"features":{"readonly":["x"]}}"#, "\"x\""),
        ("{", "damaged"),
    ] {
        std::fs::write(&format, text).unwrap();
        let error = Store::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
    std::fs::write(&format, r#"{"version":1,"features":{"compatible":["nice"]}}"#).unwrap();
    Store::open(folder.path()).unwrap();
    std::fs::remove_file(folder.path().join("mica/db.sqlite")).unwrap();
    let error = Store::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("refs.json"), "{error}");
}

#[test]
fn somebody_elses_image_layout_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = folder.path().join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    std::fs::write(blobs.join("precious"), "x").unwrap();
    assert!(matches!(Store::open(folder.path()), Err(Error::NotAStore { .. })));
    assert!(blobs.join("precious").exists());
}

#[test]
fn everything_is_there_again_after_a_restart() {
    let (folder, store) = store();
    let lease = store.lease();
    let diff_id = layer(&store, &lease, b"one");
    let committed = store
        .commit_image(&lease, &config("a", &[diff_id]), None, &[name("a")])
        .unwrap();
    store
        .set_parent(&committed.image.id, Some(&committed.image.id))
        .unwrap();
    let loose = layer(&store, &lease, b"loose");
    let work = store.work(&lease).unwrap();
    std::fs::write(work.path().join("file"), "x").unwrap();
    std::mem::forget(work);
    drop((lease, store));
    // a forgotten WorkDir holds the lock of this process, as a dead process would not
    let copy = tempfile::tempdir().unwrap();
    let status = std::process::Command::new("cp")
        .args(["-a", "--no-target-directory"])
        .args([folder.path(), copy.path()])
        .status()
        .unwrap();
    assert!(status.success());
    let store = Store::open(copy.path()).unwrap();
    let image = store.image(&committed.image.id).unwrap().unwrap();
    assert_eq!(image.references, committed.image.references);
    assert_eq!(image.parent, Some(image.id));
    assert!(store.layer(&store.lease(), &loose).unwrap().is_none());
    assert!(scratch_files(copy.path()).is_empty());
}

#[test]
fn a_new_store_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("above/store");
    drop(Store::open(&root).unwrap());
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&root), 0o700);
    // a folder that somebody made keeps the mode it was given
    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o750)).unwrap();
    drop(Store::open(&root).unwrap());
    assert_eq!(mode(&root), 0o750);
}

#[test]
fn names_of_one_repository_are_told_from_those_of_another() {
    let (_folder, store) = store();
    let lease = store.lease();
    let commit = |author: &str| {
        let committed = store.commit_image(&lease, &config(author, &[]), None, &[]);
        committed.unwrap().image.id
    };
    let (one, two) = (commit("one"), commit("two"));
    let digest = Digest::of(b"manifest");
    let by_digest = |repository: &str| name(&format!("{repository}@{digest}"));
    for text in ["a:1", "a:2", "a-b:1", "a/b:1", "localhost:5000/a:1"] {
        store.tag(&name(text), &one).unwrap();
    }
    store.tag(&name("a:3"), &two).unwrap();
    store.tag(&by_digest("a"), &two).unwrap();
    store.tag(&by_digest("a-c"), &one).unwrap();
    let repository = |text: &str| name(text).repository;
    let mut tags = store.tags_in(&repository("a")).unwrap();
    tags.sort_by_key(|(_, reference)| reference.clone());
    assert_eq!(tags, [(one, name("a:1")), (one, name("a:2")), (two, name("a:3"))]);
    for (image, text, tagged, digests) in [
        (&one, "a", true, vec![]),
        (&two, "a", true, vec![by_digest("a")]),
        (&one, "a-b", true, vec![]),
        (&two, "a-b", false, vec![]),
        (&one, "a-c", false, vec![by_digest("a-c")]),
        (&one, "localhost:5000/a", true, vec![]),
        (&one, "b", false, vec![]),
    ] {
        assert_eq!(
            store.has_tag_in(image, &repository(text)).unwrap(),
            tagged,
            "{text}"
        );
        assert_eq!(
            store.digests_in(image, &repository(text)).unwrap(),
            digests,
            "{text}"
        );
    }
    assert!(store.is_named(&one).unwrap() && !store.is_named(&commit("three")).unwrap());
    let bare = store.image_without_names(&one).unwrap().unwrap();
    assert_eq!((bare.id, bare.references.len()), (one, 0));
    store.set_parent(&two, Some(&one)).unwrap();
    assert!(store.has_children(&one).unwrap() && !store.has_children(&two).unwrap());
}
