//! Images as registries have them: documents kept byte for byte, and where their blobs are known to be.
// only functions marked as tests may unwrap by themselves
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use mica_oci::media::OCI_INDEX;
use mica_oci::{Compression, DiffId, Digest, Index, Manifest, MediaType, Raw, Reference, Repository};
use mica_store::archive::load;
use mica_store::{Image, Lease, Store};
use support::archives::saved;
use support::{Entry, blob_files, config, descriptor, gzip, layer, manifest, name, store, tar};

/// An index that leads to a manifest, in bytes that nobody here would write.
fn index(of: &Raw<Manifest>, note: &str) -> Raw<Index> {
    let child = descriptor(of);
    let index = Index {
        schema_version: 2,
        media_type: Some(MediaType::new(OCI_INDEX)),
        manifests: vec![child],
        annotations: [("note".to_owned(), note.to_owned())].into(),
    };
    let text = serde_json::to_string_pretty(&index).unwrap() + "\n";
    Raw::parse(text.as_bytes()).unwrap()
}

fn at(repository: &str, digest: Digest) -> Reference {
    format!("{repository}@{digest}").parse().unwrap()
}

struct Pulled {
    image: Image,
    manifest: Raw<Manifest>,
    indexes: Vec<Raw<Index>>,
    blob: Digest,
}

/// Pulls an image of one layer through two indexes.
fn pull(store: &Store, lease: &Lease, author: &str) -> Pulled {
    let plain = tar(&[Entry::File(author, author.as_bytes())]);
    let diff_id = DiffId(Digest::of(&plain));
    let blob = store.put_blob(lease, &gzip(&plain)).unwrap();
    store
        .add_layer_blob_unchecked(lease, &blob, Compression::Gzip, &diff_id)
        .unwrap();
    let config = config(author, &[diff_id]);
    let text = serde_json::to_string_pretty(manifest(&config, &[&blob]).value()).unwrap();
    let manifest = Raw::<Manifest>::parse(text.as_bytes()).unwrap();
    let indexes = vec![index(&manifest, "inner"), index(&manifest, "outer")];
    let names = [
        name(author),
        at("reg.io/app", indexes[1].digest()),
        at("reg.io/app", manifest.digest()),
    ];
    let image = store
        .commit_pulled(lease, &config, &manifest, &indexes, &names)
        .unwrap()
        .image;
    Pulled {
        image,
        manifest,
        indexes,
        blob: blob.digest,
    }
}

fn named(root: &Path, file: &str) -> String {
    std::fs::read_to_string(root.join(file)).unwrap()
}

#[test]
fn documents_are_kept_byte_for_byte_as_long_as_the_image_is() {
    let (folder, store) = store();
    let lease = store.lease();
    let pulled = pull(&store, &lease, "a");
    let id = pulled.image.id;
    drop((lease, store));
    let store = Store::open(folder.path()).unwrap();
    store.collect().unwrap();
    let lease = store.lease();
    for (name, told) in [
        (name("a"), "tag"),
        (at("reg.io/app", pulled.indexes[1].digest()), "index"),
        (at("reg.io/app", pulled.manifest.digest()), "manifest"),
    ] {
        assert_eq!(store.resolve(&name).unwrap(), Some(id), "{told}");
    }
    let image = store.image(&id).unwrap().unwrap();
    assert_eq!(image.manifest.digest, pulled.manifest.digest());
    assert_eq!(store.manifest(&image).unwrap().bytes(), pulled.manifest.bytes());
    let mut expected: Vec<Digest> = pulled.indexes.iter().map(Raw::digest).collect();
    expected.push(pulled.manifest.digest());
    expected.sort();
    assert_eq!(store.documents(&lease, &id).unwrap(), expected);
    for index in &pulled.indexes {
        let kept = store.blob(&lease, &index.digest()).unwrap().unwrap();
        assert_eq!(std::fs::read(kept.path()).unwrap(), index.bytes());
    }
    assert!(named(folder.path(), "index.json").contains(&pulled.manifest.digest().to_string()));
    drop(lease);
    for name in &image.references {
        store.untag(name).unwrap();
    }
    assert!(store.remove_image(&id).unwrap().bytes > 0);
    assert!(blob_files(folder.path()).is_empty());
}

#[test]
fn documents_that_images_share_go_with_the_last() {
    let (folder, store) = store();
    let lease = store.lease();
    let diff_id = layer(&store, &lease, &tar(&[Entry::File("f", b"f")]));
    let plain = store.tar(&lease, &diff_id).unwrap();
    let mut made = Vec::new();
    let configs = [config("a", &[diff_id]), config("b", &[diff_id])];
    let shared = index(&manifest(&configs[0], &[&plain]), "shared");
    for config in &configs {
        let own = manifest(config, &[&plain]);
        let image = store
            .commit_pulled(&lease, config, &own, std::slice::from_ref(&shared), &[])
            .unwrap()
            .image;
        made.push(image.id);
    }
    drop((lease, plain));
    store.remove_image(&made[0]).unwrap();
    assert!(blob_files(folder.path()).contains(&shared.digest().hex()));
    // held documents stay, looked up or held with their image
    let lease = store.lease();
    store.hold_image(&lease, &made[1]).unwrap().unwrap();
    store.remove_image(&made[1]).unwrap();
    store.collect().unwrap();
    assert!(blob_files(folder.path()).contains(&shared.digest().hex()));
    drop(lease);
    store.collect().unwrap();
    assert!(blob_files(folder.path()).is_empty());
}

#[test]
fn all_manifests_an_image_came_with_stay_and_the_last_is_the_current_one() {
    let (folder, store) = store();
    let lease = store.lease();
    let pulled = pull(&store, &lease, "a");
    let config = pulled.image.config.clone();
    // as after a push of the same layers, told another way
    let mut other = pulled.manifest.value().clone();
    other.annotations.insert("pushed".into(), "yes".into());
    let other = Raw::of(other).unwrap();
    let pushed = at("other.io/app", other.digest());
    let again = store
        .commit_pulled(&lease, &config, &other, &[], std::slice::from_ref(&pushed))
        .unwrap();
    assert!(again.moved.is_empty());
    assert_eq!(again.image.manifest.digest, other.digest());
    assert_eq!(store.manifest(&again.image).unwrap().bytes(), other.bytes());
    assert_eq!(again.image.references.len(), 4);
    assert_eq!(store.documents(&lease, &pulled.image.id).unwrap().len(), 4);
    drop((lease, store));
    let store = Store::open(folder.path()).unwrap();
    let kept = blob_files(folder.path());
    assert!(kept.contains(&pulled.manifest.digest().hex()) && kept.contains(&other.digest().hex()));
    assert_eq!(store.resolve(&pushed).unwrap(), Some(pulled.image.id));
    // a commit without a manifest changes none of it
    let image = store
        .commit_image(&store.lease(), &config, None, &[name("b")])
        .unwrap()
        .image;
    assert_eq!(image.manifest.digest, other.digest());
    // and what all of it says is written down for the day the database is lost
    let refs = named(folder.path(), "mica/refs.json");
    assert!(refs.contains(&pulled.indexes[0].digest().to_string()));
}

#[test]
fn a_loaded_manifest_is_kept_when_another_comes() {
    let archive = saved(&tar(&[Entry::File("f", b"f")]));
    let (folder, store) = store();
    let lease = store.lease();
    let loaded = load(&store, &lease, Box::new(&archive[..]), &mut |_| {}).unwrap();
    let image = store.image(&loaded[0].image).unwrap().unwrap();
    let first = store.manifest(&image).unwrap();
    let mut other = first.value().clone();
    other.annotations.insert("other".into(), "yes".into());
    store
        .commit_pulled(&lease, &image.config, &Raw::of(other).unwrap(), &[], &[])
        .unwrap();
    drop(lease);
    store.collect().unwrap();
    assert!(blob_files(folder.path()).contains(&first.digest().hex()));
}

#[test]
fn an_image_that_lacks_a_blob_is_not_named_in_place() {
    let (folder, store) = store();
    let lease = store.lease();
    let diff_id = layer(&store, &lease, &tar(&[Entry::File("f", b"f")]));
    let blob = store.put_blob(&lease, b"will be gone").unwrap();
    let config = config("a", &[diff_id]);
    let own = manifest(&config, &[&blob]);
    store
        .commit_pulled(&lease, &config, &own, &[], &[name("a")])
        .unwrap();
    assert!(!named(folder.path(), "index.json").contains(&own.digest().to_string()));
    assert!(named(folder.path(), "mica/refs.json").contains(&own.digest().to_string()));
}

#[test]
fn an_image_whose_manifest_names_the_blob_of_another_layer_is_not_named_in_place() {
    for checked in [false, true] {
        let (folder, store) = store();
        let lease = store.lease();
        let other = pull(&store, &lease, "other");
        let other_layer = other.image.config.rootfs.diff_ids[0];
        if checked {
            store.tar(&lease, &other_layer).unwrap();
        }
        let config = config("a", &[layer(&store, &lease, &tar(&[Entry::File("f", b"f")]))]);
        let blobs = [Some(other.blob), checked.then_some(*other_layer.digest())];
        for (n, digest) in blobs.into_iter().flatten().enumerate() {
            let blob = store.blob(&lease, &digest).unwrap().unwrap();
            let own = manifest(&config, &[&blob]);
            let tag = name(&format!("a{n}"));
            let id = store
                .commit_pulled(&lease, &config, &own, &[], std::slice::from_ref(&tag))
                .unwrap()
                .image
                .id;
            let index = named(folder.path(), "index.json");
            assert!(index.contains(&other.manifest.digest().to_string()), "{index}");
            assert!(!index.contains(&own.digest().to_string()), "{index}");
            store.untag(&tag).unwrap();
            store.remove_image(&id).unwrap();
        }
    }
}

#[test]
fn a_manifest_that_does_not_fit_is_refused() {
    let (_folder, store) = store();
    let lease = store.lease();
    let pulled = pull(&store, &lease, "a");
    let other = config("other", &pulled.image.config.rootfs.diff_ids);
    let error = store
        .commit_pulled(&lease, &other, &pulled.manifest, &[], &[])
        .unwrap_err();
    assert!(matches!(error, mica_store::Error::Manifest { .. }), "{error}");
}

fn repository(text: &str) -> Repository {
    text.parse().unwrap()
}

#[test]
fn sources_are_told_newest_first_and_forgotten() {
    let (_folder, store) = store();
    let (blob, other) = (Digest::of(b"blob"), Digest::of(b"other"));
    let (me, you) = (Digest::of(b"me"), Digest::of(b"you"));
    for n in 0..20 {
        let here = repository(&format!("reg.io/team/app{n}"));
        store.add_sources(&[blob, other], &here, &me).unwrap();
    }
    store
        .add_sources(&[blob], &repository("docker.io/library/app"), &you)
        .unwrap();
    let found = store.sources(&blob, "reg.io").unwrap();
    assert_eq!(found.len(), 16);
    assert_eq!(found[0], (repository("reg.io/team/app19"), me));
    assert_eq!(found[15], (repository("reg.io/team/app4"), me));
    // seen again: newest again, and once for each account
    store
        .add_sources(&[blob], &repository("reg.io/team/app7"), &me)
        .unwrap();
    store
        .add_sources(&[blob], &repository("reg.io/team/app7"), &you)
        .unwrap();
    let found = store.sources(&blob, "reg.io").unwrap();
    assert_eq!(
        found[..2],
        [
            (repository("reg.io/team/app7"), you),
            (repository("reg.io/team/app7"), me)
        ]
    );
    assert_eq!(
        store.sources(&blob, "docker.io").unwrap(),
        [(repository("app"), you)]
    );
    store
        .forget_source(&blob, &repository("reg.io/team/app7"))
        .unwrap();
    let found = store.sources(&blob, "reg.io").unwrap();
    assert_eq!(found[0].0, repository("reg.io/team/app19"));
    assert_eq!(store.sources(&other, "reg.io").unwrap().len(), 16);
    assert!(store.sources(&blob, "elsewhere.io").unwrap().is_empty());
}

#[test]
fn sources_stay_as_long_as_the_blob_does() {
    let (folder, store) = store();
    let lease = store.lease();
    let pulled = pull(&store, &lease, "a");
    let coming = Digest::of(b"coming");
    let partial = store.partial(&lease, &coming, 6).unwrap();
    let config = *pulled.image.id.digest();
    let here = repository("reg.io/app");
    let all = [pulled.blob, config, pulled.manifest.digest(), coming];
    store.add_sources(&all, &here, &Digest::of(b"me")).unwrap();
    store
        .add_sources(&[Digest::of(b"never here")], &here, &Digest::of(b"me"))
        .unwrap();
    let known = |store: &Store, digest: &Digest| !store.sources(digest, "reg.io").unwrap().is_empty();
    store.collect().unwrap();
    assert!(all.iter().all(|digest| known(&store, digest)));
    assert!(!known(&store, &Digest::of(b"never here")));
    drop((partial, lease, store));
    // a pulled layer that nobody looked into is in the store
    let store = Store::open(folder.path()).unwrap();
    assert!(known(&store, &pulled.blob) && known(&store, &config));
    assert!(!known(&store, &coming));
    for name in &pulled.image.references {
        store.untag(name).unwrap();
    }
    store.remove_image(&pulled.image.id).unwrap();
    store.collect().unwrap();
    assert!(!known(&store, &pulled.blob) && !known(&store, &config));
}

#[test]
fn a_store_of_before_still_opens() {
    let (folder, store) = store();
    let lease = store.lease();
    let diff_id = layer(&store, &lease, &tar(&[Entry::File("f", b"f")]));
    let id = store
        .commit_image(&lease, &config("a", &[diff_id]), None, &[name("a")])
        .unwrap()
        .image
        .id;
    drop((lease, store));
    let database = rusqlite::Connection::open(folder.path().join("mica/db.sqlite")).unwrap();
    for table in ["layer_claims", "false_claims", "documents", "sources"] {
        database.execute_batch(&format!("DROP TABLE {table}")).unwrap();
    }
    drop(database);
    std::fs::remove_dir(folder.path().join("mica/partial")).unwrap();
    let store = Store::open(folder.path()).unwrap();
    assert!(store.image(&id).unwrap().is_some());
    pull(&store, &store.lease(), "b");
    store.collect().unwrap();
    assert!(store.view(&store.lease(), &diff_id).is_ok());
}
