//! What one image claims of a layer reaches no other image: not by its manifest, not by a push, not through a power cut.
// only functions marked as tests may unwrap by themselves
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use mica_oci::{Compression, DiffId, Digest};
use mica_store::archive::{load, save};
use mica_store::{Error, Growth, Image, Lease, Store};
use support::{Entry, cache_record, config, gzip, layer, name, pull, received, restart, store, tar};

/// A layer of zeros that shrinks well, so that a guess can be told from the length of the blob.
fn honest() -> Vec<u8> {
    tar(&[Entry::File("file", &[0; 5000])])
}

/// Another layer, of another length.
fn foreign() -> Vec<u8> {
    tar(&[Entry::File("evil", b"evil")])
}

fn id(plain: &[u8]) -> DiffId {
    DiffId(Digest::of(plain))
}

/// All that can be asked of a layer, each of which looks into it.
const ASKED: [&str; 4] = ["tree", "tar", "view", "save"];

fn ask(store: &Store, lease: &Lease, image: &Image, what: &str) -> Result<(), Error> {
    let diff_id = &image.config.rootfs.diff_ids[0];
    match what {
        "tree" => store.tree(lease, diff_id).map(drop),
        "tar" => store.tar(lease, diff_id).map(drop),
        "view" => store.view(lease, diff_id).map(drop),
        _ => save(store, lease, &[(image.clone(), vec![])], &mut Vec::new()),
    }
}

/// An error that names the layer and the blob.
fn assert_lie(error: &Error, diff_id: &DiffId, blob: &[u8]) {
    let text = error.to_string();
    assert!(
        matches!(error, Error::FalseClaim { .. })
            && text.contains(&diff_id.to_string())
            && text.contains(&Digest::of(blob).to_string()),
        "{error:?}"
    );
}

fn manifest_text(root: &Path, image: &Image) -> String {
    std::fs::read_to_string(root.join("blobs/sha256").join(image.manifest.digest.hex())).unwrap()
}

#[test]
fn a_size_is_a_guess_until_the_layer_is_looked_into() {
    let plain = honest();
    let size = plain.len() as u64;
    let packed = gzip(&plain);
    let mut lying = packed.clone();
    let end = lying.len() - 4;
    lying[end..].copy_from_slice(&u32::MAX.to_le_bytes());
    for what in ASKED {
        let (_folder, store) = store();
        let lease = store.lease();
        let image = pull(&store, &lease, "a", id(&plain), &packed);
        let before = store.layer(&lease, &id(&plain)).unwrap().unwrap();
        assert_eq!((before.size, before.exact), (size, false));
        assert_eq!(image.size, size);
        ask(&store, &lease, &image, what).unwrap();
        let after = store.layer(&lease, &id(&plain)).unwrap().unwrap();
        assert_eq!((after.size, after.exact), (size, true), "{what}");
    }
    // what a blob's end says of its length is believed only if it can be
    let (_folder, store) = store();
    let image = pull(&store, &store.lease(), "a", id(&plain), &lying);
    assert_eq!(image.size, lying.len() as u64);
}

#[test]
fn the_sizes_of_images_are_put_right() {
    // in two members, of which the last is empty: the guess must be wrong
    let plain = honest();
    let mut packed = gzip(&plain);
    packed.extend(gzip(b""));
    for what in ASKED {
        let (folder, store) = store();
        let lease = store.lease();
        let image = pull(&store, &lease, "a", id(&plain), &packed);
        assert_eq!(image.size, packed.len() as u64, "what the blob has, at least");
        let other = pull(&store, &lease, "b", id(&plain), &packed);
        ask(&store, &lease, &image, what).unwrap();
        drop((lease, store));
        let store = Store::open(folder.path()).unwrap();
        for image in [image, other] {
            let size = store.image(&image.id).unwrap().unwrap().size;
            assert_eq!(size, plain.len() as u64, "{what}");
        }
    }
}

#[test]
fn what_is_sent_of_a_layer_that_two_blobs_claim_was_looked_into() {
    let (plain, good) = (honest(), gzip(&honest()));
    let (_folder, store) = store();
    let lease = store.lease();
    pull(&store, &lease, "evil", id(&plain), &gzip(&foreign()));
    let claimed = store
        .layer_blob(&lease, &id(&plain), Compression::Gzip)
        .unwrap()
        .unwrap();
    assert_eq!(claimed.digest, Digest::of(&gzip(&foreign())), "there is no other");
    assert_eq!(
        store.layer_blob(&lease, &id(&plain), Compression::Zstd).unwrap(),
        None
    );
    pull(&store, &lease, "good", id(&plain), &good);
    let sent = store
        .layer_blob(&lease, &id(&plain), Compression::Gzip)
        .unwrap()
        .unwrap();
    assert_eq!(sent.digest, Digest::of(&good));
}

#[test]
fn a_layer_that_was_made_here_is_not_sent_as_what_others_claim_it_to_be() {
    let (folder, store) = store();
    let lease = store.lease();
    let (plain, evil) = (honest(), gzip(&foreign()));
    let diff_id = layer(&store, &lease, &plain);
    pull(&store, &lease, "evil", diff_id, &evil);
    assert_eq!(
        store.layer_blob(&lease, &diff_id, Compression::Gzip).unwrap(),
        None
    );
    let made = store
        .compress_layer(&lease, &diff_id, Compression::Gzip, 1, &Growth::new())
        .unwrap();
    assert_ne!(made.digest, Digest::of(&evil));
    let image = store
        .commit_image(&lease, &config("own", &[diff_id]), None, &[name("own")])
        .unwrap()
        .image;
    assert!(manifest_text(folder.path(), &image).contains(&diff_id.to_string()));
}

#[test]
fn a_manifest_made_here_names_no_lie() {
    let plain = honest();
    // whichever of the two blobs sorts first
    for n in 0..6_u8 {
        let (folder, store) = store();
        let lease = store.lease();
        let evil = gzip(&tar(&[Entry::File("evil", &[n])]));
        pull(&store, &lease, "evil", id(&plain), &evil);
        pull(&store, &lease, "good", id(&plain), &gzip(&plain));
        // a build that only changes the config of what it is based on
        let image = store
            .commit_image(&lease, &config("built", &[id(&plain)]), None, &[name("built")])
            .unwrap()
            .image;
        let text = manifest_text(folder.path(), &image);
        assert!(!text.contains(&Digest::of(&evil).to_string()));
        // nor the size that the lie told
        let expected = format!("\"digest\":\"{}\",\"size\":{}", id(&plain), plain.len());
        assert!(text.contains(&expected), "{text}");
    }
}

#[test]
fn a_manifest_with_somebody_elses_config_replaces_nothing() {
    let (plain, good, evil) = (honest(), gzip(&honest()), gzip(&foreign()));
    let (folder, store) = store();
    let lease = store.lease();
    let image = pull(&store, &lease, "good", id(&plain), &good);
    let blob = store.put_blob(&lease, &evil).unwrap();
    store
        .add_layer_blob_unchecked(&lease, &blob, Compression::Gzip, &id(&plain))
        .unwrap();
    let manifest = received(&image.config, &[(Compression::Gzip, &evil)]);
    let commit = || store.commit_pulled(&lease, &image.config, &manifest, &[], &[name("evil")]);
    assert_lie(&commit().unwrap_err(), &id(&plain), &evil);
    assert_eq!(store.resolve(&name("evil")).unwrap(), None);
    let now = store.image(&image.id).unwrap().unwrap();
    assert_eq!(now.manifest, image.manifest);
    assert!(manifest_text(folder.path(), &now).contains(&Digest::of(&good).to_string()));
    // nor does an archive's
    let error = store
        .commit_image(&lease, &image.config, Some(&manifest), &[name("evil")])
        .unwrap_err();
    assert_lie(&error, &id(&plain), &evil);

    // came the lie first, the honest one puts it right
    let (_folder, store) = support::store();
    let lease = store.lease();
    let image = pull(&store, &lease, "x", id(&plain), &evil);
    let image = Image {
        manifest: pull(&store, &lease, "x", id(&plain), &good).manifest,
        ..image
    };
    assert_eq!(store.image(&image.id).unwrap().unwrap().manifest, image.manifest);
}

#[test]
fn an_image_whose_layers_are_made_here_sheds_a_manifest_that_lied() {
    let (plain, evil) = (honest(), gzip(&foreign()));
    let (folder, store) = store();
    let lease = store.lease();
    let image = pull(&store, &lease, "evil", id(&plain), &evil);
    let commit = |tag: &str| {
        store
            .commit_image(&lease, &image.config, None, &[name(tag)])
            .unwrap()
            .image
    };
    // as long as there is nothing else, it is what it came as
    assert_eq!(commit("kept").manifest, image.manifest);
    layer(&store, &lease, &plain);
    let now = commit("built");
    assert!(manifest_text(folder.path(), &now).contains(&id(&plain).to_string()));
    assert!(!manifest_text(folder.path(), &now).contains(&Digest::of(&evil).to_string()));
    // one that did not lie stays
    let good = pull(&store, &lease, "good", id(&plain), &gzip(&plain));
    let kept = store
        .commit_image(&lease, &good.config, None, &[name("again")])
        .unwrap();
    assert_eq!(kept.image.manifest, good.manifest);
}

#[test]
fn a_blob_that_is_claimed_for_two_layers_is_one_of_them() {
    let (plain, good) = (honest(), gzip(&honest()));
    let other = id(&foreign());
    for looked_into in [false, true] {
        for evil_first in [true, false] {
            let (_folder, store) = store();
            let lease = store.lease();
            let evil = evil_first.then(|| pull(&store, &lease, "evil", other, &good));
            let image = pull(&store, &lease, "good", id(&plain), &good);
            if looked_into {
                store.tar(&lease, &id(&plain)).unwrap();
            }
            match evil {
                Some(evil) => {
                    let error = ask(&store, &lease, &evil, "tree").unwrap_err();
                    assert_lie(&error, &other, &good);
                    drop(lease);
                    store.untag(&name("evil")).unwrap();
                    store.remove_image(&evil.id).unwrap();
                }
                None if looked_into => {
                    let blob = store.blob(&lease, &Digest::of(&good)).unwrap().unwrap();
                    let error = store
                        .add_layer_blob_unchecked(&lease, &blob, Compression::Gzip, &other)
                        .unwrap_err();
                    assert!(matches!(error, Error::Digest { expected, .. } if expected == *other.digest()));
                    assert_eq!(store.layer(&lease, &other).unwrap(), None);
                }
                None => {
                    let evil = pull(&store, &lease, "evil", other, &good);
                    assert_lie(&ask(&store, &lease, &evil, "tar").unwrap_err(), &other, &good);
                }
            }
            for what in ASKED {
                ask(&store, &store.lease(), &image, what).unwrap();
            }
        }
    }
}

#[test]
fn an_archive_brings_its_own_layers_whatever_others_claim() {
    let plain = honest();
    let (_folder, source) = store();
    let lease = source.lease();
    let diff_id = layer(&source, &lease, &plain);
    let image = source
        .commit_image(&lease, &config("good", &[diff_id]), None, &[name("good")])
        .unwrap()
        .image;
    let mut archive = Vec::new();
    save(
        &source,
        &lease,
        &[(image.clone(), image.references.clone())],
        &mut archive,
    )
    .unwrap();

    let (_folder, store) = store();
    let lease = store.lease();
    pull(&store, &lease, "evil", diff_id, &gzip(&foreign()));
    load(&store, &lease, Box::new(&archive[..]), &mut |_| {}).unwrap();
    for what in ASKED {
        ask(&store, &lease, &image, what).unwrap();
    }

    // as docker wrote them before there were manifests in archives
    let list = br#"[{"Config":"config.json","RepoTags":["good:1"],"Layers":["layer.tar"]}]"#;
    for packed in [plain.clone(), gzip(&plain)] {
        let archive = tar(&[
            Entry::File("config.json", image.config.bytes()),
            Entry::File("layer.tar", &packed),
            Entry::File("manifest.json", list),
        ]);
        let (_folder, store) = support::store();
        let lease = store.lease();
        pull(&store, &lease, "evil", diff_id, &gzip(&foreign()));
        load(&store, &lease, Box::new(&archive[..]), &mut |_| {}).unwrap();
        for what in ASKED {
            ask(&store, &lease, &image, what).unwrap();
        }
    }
}

#[test]
fn a_layer_that_was_made_here_survives_a_power_cut_whatever_others_claim() {
    let (plain, evil) = (honest(), gzip(&foreign()));
    for (evil_first, as_tree) in [(true, false), (false, false), (true, true), (false, true)] {
        let (folder, store) = store();
        let lease = store.lease();
        if evil_first {
            pull(&store, &lease, "evil", id(&plain), &evil);
        }
        let diff_id = layer(&store, &lease, &plain);
        if !evil_first {
            pull(&store, &lease, "evil", id(&plain), &evil);
        }
        if as_tree {
            store.tree(&lease, &diff_id).unwrap();
        }
        let image = store
            .commit_image(&lease, &config("own", &[diff_id]), None, &[name("own")])
            .unwrap()
            .image;
        drop((lease, store));
        let store = restart(folder.path());
        let lease = store.lease();
        for what in ASKED {
            ask(&store, &lease, &image, what).unwrap();
        }
    }
}

#[test]
fn a_cache_record_on_what_is_only_claimed_is_dropped_after_a_power_cut() {
    let (plain, evil) = (honest(), gzip(&foreign()));
    let (folder, store) = store();
    let lease = store.lease();
    // an image that is committed later would have the layer synced
    pull(&store, &lease, "evil", id(&plain), &evil);
    let diff_id = layer(&store, &lease, &plain);
    let key = mica_oci::CacheKey(Digest::of(b"key"));
    let record = cache_record(diff_id, "COPY");
    store.remember(&lease, &key, &record).unwrap();
    drop((lease, store));
    let store = restart(folder.path());
    // the layer was never synced, and the lie is no substitute
    assert_eq!(store.cached(&store.lease(), &key).unwrap(), None);
    assert!(store.cache_entries().unwrap().is_empty());
    let left = store.layer(&store.lease(), &diff_id).unwrap().unwrap();
    assert!(!left.exact);
    // and whoever makes it again has it
    let lease = store.lease();
    layer(&store, &lease, &plain);
    assert_eq!(
        std::fs::read(store.tar(&lease, &diff_id).unwrap().path()).unwrap(),
        plain
    );
}

#[test]
fn a_plain_tar_is_looked_into_at_once() {
    let (_folder, store) = store();
    let lease = store.lease();
    let blob = store.put_blob(&lease, &honest()).unwrap();
    let added = store
        .add_layer_blob_unchecked(&lease, &blob, Compression::None, &id(&honest()))
        .unwrap();
    assert!(added.exact);
    let error = store
        .add_layer_blob_unchecked(&lease, &blob, Compression::None, &id(&foreign()))
        .unwrap_err();
    assert!(matches!(error, Error::Digest { .. }));
    assert_eq!(store.layer(&lease, &id(&foreign())).unwrap(), None);
}

#[test]
fn what_was_claimed_is_known_after_a_restart() {
    let plain = honest();
    let (folder, store) = store();
    let image = pull(&store, &store.lease(), "a", id(&plain), &gzip(&plain));
    drop(store);
    let store = restart(folder.path());
    let lease = store.lease();
    let found = store.layer(&lease, &id(&plain)).unwrap().unwrap();
    assert_eq!((found.size, found.exact), (plain.len() as u64, false));
    store.collect().unwrap();
    for what in ASKED {
        ask(&store, &lease, &image, what).unwrap();
    }
    assert!(store.layer(&lease, &id(&plain)).unwrap().unwrap().exact);
}
