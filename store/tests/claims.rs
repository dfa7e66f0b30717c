//! Layers that were pulled and not looked into: what their images say is only a claim.
// only functions marked as tests may unwrap by themselves
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use mica_oci::media::{OCI_LAYER, OCI_LAYER_GZIP};
use mica_oci::{Compression, DiffId, Digest, Index, Manifest, Raw};
use mica_store::archive::{load, save};
use mica_store::{Blob, Error, Lease, Store};
use support::archives::saved;
use support::{Entry, blob_files, config, gzip, layer, manifest, name, names, scratch_files, store, tar};

const GZIP: Compression = Compression::Gzip;

fn honest() -> Vec<u8> {
    tar(&[Entry::File("honest", b"honest")])
}

/// What a liar says is the honest layer.
fn lies() -> Vec<Vec<u8>> {
    let other = gzip(&tar(&[Entry::File("evil", &[7; 5000])]));
    let mut zstd = vec![0x28, 0xb5, 0x2f, 0xfd];
    zstd.extend([0xff; 60]);
    vec![
        // another layer
        other.clone(),
        // no layer at all
        gzip(b"no tar"),
        // cut off, and damaged
        other[..other.len() - 9].to_vec(),
        zstd,
        // the honest one with something more
        gzip(&[honest(), vec![0; 512]].concat()),
    ]
}

fn claim(store: &Store, lease: &Lease, bytes: &[u8], diff_id: &DiffId) -> Blob {
    let blob = store.put_blob(lease, bytes).unwrap();
    store
        .add_layer_blob_unchecked(lease, &blob, GZIP, diff_id)
        .unwrap();
    blob
}

/// An image of one layer, as it is pulled.
fn pull(store: &Store, lease: &Lease, author: &str, bytes: &[u8], diff_id: &DiffId) -> Blob {
    let blob = claim(store, lease, bytes, diff_id);
    let config = config(author, &[*diff_id]);
    store
        .commit_pulled(lease, &config, &manifest(&config, &[&blob]), &[], &[name(author)])
        .unwrap();
    blob
}

fn trees(root: &Path) -> usize {
    names(&root.join("mica/trees")).len()
}

/// The ways there are to look into a layer.
type Use = fn(&Store, &Lease, &DiffId) -> Result<(), Error>;
const USES: [(&str, Use); 4] = [
    ("tree", |store, lease, diff_id| {
        store.tree(lease, diff_id).map(drop)
    }),
    ("tar", |store, lease, diff_id| store.tar(lease, diff_id).map(drop)),
    ("view", |store, lease, diff_id| {
        store.view(lease, diff_id).map(drop)
    }),
    ("save", |store, lease, diff_id| {
        let image = store
            .images()
            .unwrap()
            .into_iter()
            .find(|image| image.config.rootfs.diff_ids.contains(diff_id))
            .unwrap();
        save(store, lease, &[(image, vec![])], &mut std::io::sink())
    }),
];

#[test]
fn a_right_claim_is_checked_by_whatever_looks_first() {
    let plain = honest();
    let diff_id = DiffId(Digest::of(&plain));
    for (what, use_it) in USES {
        let (folder, store) = store();
        let lease = store.lease();
        // two members: the length in the trailer is that of the second alone
        let bytes = [gzip(&plain[..1000]), gzip(&plain[1000..])].concat();
        let blob = pull(&store, &lease, "a", &bytes, &diff_id);
        let guessed = store.layer(&lease, &diff_id).unwrap().unwrap();
        assert!(!guessed.exact);
        assert_ne!(guessed.size, plain.len() as u64);
        let image = store.images().unwrap().remove(0);
        assert_eq!(image.size, guessed.size);
        // nothing was inflated so far
        assert_eq!(blob_files(folder.path()).len(), 3);
        assert_eq!(trees(folder.path()), 0);

        use_it(&store, &lease, &diff_id).unwrap_or_else(|error| panic!("{what}: {error}"));
        let known = store.layer(&lease, &diff_id).unwrap().unwrap();
        assert_eq!((known.exact, known.size), (true, plain.len() as u64), "{what}");
        let image = store.image(&image.id).unwrap().unwrap();
        assert_eq!(image.size, plain.len() as u64, "{what}");
        assert_eq!(
            store.layer_blob(&lease, &diff_id, GZIP).unwrap().unwrap(),
            blob,
            "{what}"
        );
        drop((lease, store));
        let store = Store::open(folder.path()).unwrap();
        assert!(store.layer(&store.lease(), &diff_id).unwrap().unwrap().exact);
    }
}

#[test]
fn a_false_claim_is_told_with_layer_and_blob_and_leaves_nothing() {
    let diff_id = DiffId(Digest::of(&honest()));
    for lie in lies() {
        for (what, use_it) in USES {
            let (folder, store) = store();
            let lease = store.lease();
            let blob = pull(&store, &lease, "liar", &lie, &diff_id);
            let before = blob_files(folder.path());
            // the second time it is known, after a restart too
            for round in 0..2 {
                match use_it(&store, &lease, &diff_id) {
                    Err(Error::FalseClaim {
                        diff_id: told,
                        blob: by,
                        ..
                    }) => {
                        assert_eq!((told, by), (diff_id, blob.digest));
                    }
                    other => panic!("{what} {round}: {other:?}"),
                }
                assert_eq!(blob_files(folder.path()), before);
                assert_eq!(trees(folder.path()), 0);
                assert!(scratch_files(folder.path()).is_empty());
            }
            assert!(!store.layer(&lease, &diff_id).unwrap().unwrap().exact);
            assert!(matches!(
                store.add_layer_blob_unchecked(&lease, &blob, GZIP, &diff_id),
                Err(Error::FalseClaim { .. })
            ));
        }
    }
}

#[test]
fn a_liar_breaks_no_honest_image_whoever_comes_first() {
    let plain = honest();
    let diff_id = DiffId(Digest::of(&plain));
    for lie in lies() {
        for (what, use_it) in USES {
            for liar_first in [true, false] {
                for tried_between in [true, false] {
                    let (folder, store) = store();
                    let lease = store.lease();
                    let mut both = [("honest", gzip(&plain)), ("liar", lie.clone())];
                    if liar_first {
                        both.reverse();
                    }
                    let mut own = None;
                    for (author, bytes) in both {
                        let blob = pull(&store, &lease, author, &bytes, &diff_id);
                        if author == "honest" {
                            own = Some(blob);
                        }
                        if tried_between {
                            // may fail while there is only the lie
                            assert_eq!(use_it(&store, &lease, &diff_id).is_ok(), own.is_some());
                        }
                    }
                    use_it(&store, &lease, &diff_id).unwrap_or_else(|error| panic!("{what}: {error}"));
                    let own = own.unwrap();
                    assert_eq!(
                        store.layer_blob(&lease, &diff_id, GZIP).unwrap(),
                        Some(own.clone())
                    );
                    let tree = store.tree(&lease, &diff_id).unwrap();
                    assert_eq!(std::fs::read(tree.join("honest")).unwrap(), b"honest");
                    // the liar goes, with its blob; nothing of the honest image does
                    drop(lease);
                    let id = store.resolve(&name("liar")).unwrap().unwrap();
                    store.untag(&name("liar")).unwrap();
                    store.remove_image(&id).unwrap();
                    let lease = store.lease();
                    assert!(blob_files(folder.path()).contains(&own.digest.hex()));
                    let gone = !blob_files(folder.path()).contains(&Digest::of(&lie).hex());
                    assert!(gone, "{what} {liar_first} {tried_between} {}", lie.len());
                    assert_eq!(
                        std::fs::read(store.tar(&lease, &diff_id).unwrap().path()).unwrap(),
                        plain
                    );
                }
            }
        }
    }
}

#[test]
fn a_layer_made_here_is_not_touched_by_claims() {
    let (_folder, store) = store();
    let lease = store.lease();
    let plain = honest();
    let diff_id = layer(&store, &lease, &plain);
    for lie in lies() {
        claim(&store, &lease, &lie, &diff_id);
    }
    let known = store.layer(&lease, &diff_id).unwrap().unwrap();
    assert_eq!((known.exact, known.size), (true, plain.len() as u64));
    // none of them is sent as the layer
    assert_eq!(store.layer_blob(&lease, &diff_id, GZIP).unwrap(), None);
    assert_eq!(
        store.layer_blob(&lease, &diff_id, Compression::Zstd).unwrap(),
        None
    );
    let blob = claim(&store, &lease, &gzip(&plain), &diff_id);
    assert_eq!(store.layer_blob(&lease, &diff_id, GZIP).unwrap(), Some(blob));
}

#[test]
fn a_manifest_made_here_spreads_no_lie() {
    let plain = honest();
    let diff_id = DiffId(Digest::of(&plain));
    let manifest_of = |store: &Store, author: &str| {
        let image = store
            .commit_image(&store.lease(), &config(author, &[diff_id]), None, &[name(author)])
            .unwrap()
            .image;
        store.manifest(&image).unwrap()
    };
    for lie in lies() {
        let (folder, store) = store();
        let lease = store.lease();
        let blob = pull(&store, &lease, "honest", &gzip(&plain), &diff_id);
        // the only claim is named as it came, and the image can be read in place
        let alone = manifest_of(&store, "alone");
        assert_eq!(alone.layers[0].digest, blob.digest);
        assert_eq!(alone.layers[0].media_type.as_str(), OCI_LAYER_GZIP);
        let index = std::fs::read_to_string(folder.path().join("index.json")).unwrap();
        assert!(index.contains(&alone.digest().to_string()));
        // once it is disputed, it is looked into first
        pull(&store, &lease, "liar", &lie, &diff_id);
        let disputed = manifest_of(&store, "disputed");
        assert_eq!(disputed.layers[0].digest, *diff_id.digest());
        assert_eq!(disputed.layers[0].size, plain.len() as u64);
        assert_eq!(disputed.layers[0].media_type.as_str(), OCI_LAYER);
        assert!(store.layer(&lease, &diff_id).unwrap().unwrap().exact);
    }
}

#[test]
fn an_archives_own_layer_wins_over_a_claim() {
    let plain = honest();
    let diff_id = DiffId(Digest::of(&plain));
    let archive = saved(&plain);
    for lie in lies() {
        let (_folder, store) = store();
        let lease = store.lease();
        pull(&store, &lease, "liar", &lie, &diff_id);
        load(&store, &lease, Box::new(&archive[..]), &mut |_| {}).unwrap();
        let view = store.view(&lease, &diff_id).unwrap();
        assert!(
            view.find(&mica_layer::ImagePath::clamped(b"honest")).is_ok()
                && store.layer(&lease, &diff_id).unwrap().unwrap().exact
        );
    }
}

#[test]
fn one_blob_cannot_be_two_layers() {
    let (_folder, store) = store();
    let lease = store.lease();
    let plain = honest();
    let (diff_id, other) = (DiffId(Digest::of(&plain)), DiffId(Digest::of(b"other")));
    let blob = claim(&store, &lease, &gzip(&plain), &diff_id);
    // nobody knows better yet
    store
        .add_layer_blob_unchecked(&lease, &blob, GZIP, &other)
        .unwrap();
    store.tar(&lease, &diff_id).unwrap();
    assert!(matches!(store.tar(&lease, &other), Err(Error::FalseClaim { .. })));
    // now it is known at once
    let third = DiffId(Digest::of(b"third"));
    assert!(matches!(
        store.add_layer_blob_unchecked(&lease, &blob, GZIP, &third),
        Err(Error::Digest { expected, actual }) if expected == *third.digest() && actual == *diff_id.digest()
    ));
    assert!(store.layer(&lease, &third).unwrap().is_none());
}

#[test]
fn what_is_not_compressed_is_checked_at_once() {
    let (_folder, store) = store();
    let lease = store.lease();
    let plain = honest();
    let diff_id = DiffId(Digest::of(&plain));
    let blob = store.put_blob(&lease, &plain).unwrap();
    for said in [Compression::None, GZIP, Compression::Zstd] {
        let error = store
            .add_layer_blob_unchecked(&lease, &blob, said, &DiffId(Digest::of(b"other")))
            .unwrap_err();
        assert!(matches!(error, Error::Digest { .. }), "{error}");
        let layer = store
            .add_layer_blob_unchecked(&lease, &blob, said, &diff_id)
            .unwrap();
        assert_eq!((layer.exact, layer.size), (true, plain.len() as u64));
    }
    assert_eq!(store.tar(&lease, &diff_id).unwrap(), blob);
}

#[test]
fn what_a_blob_is_called_does_not_matter() {
    let (_folder, store) = store();
    let lease = store.lease();
    let plain = honest();
    let diff_id = DiffId(Digest::of(&plain));
    let blob = store.put_blob(&lease, &gzip(&plain)).unwrap();
    store
        .add_layer_blob_unchecked(&lease, &blob, Compression::None, &diff_id)
        .unwrap();
    assert_eq!(store.layer_blob(&lease, &diff_id, GZIP).unwrap(), Some(blob));
    store.tree(&lease, &diff_id).unwrap();
}

#[test]
fn guesses_are_plausible() {
    let (_folder, store) = store();
    let lease = store.lease();
    let plain = [honest(), vec![0; 100_000]].concat();
    let size = |bytes: &[u8]| {
        let blob = store.put_blob(&lease, bytes).unwrap();
        let diff_id = DiffId(Digest::of(&[bytes, b"guess"].concat()));
        store
            .add_layer_blob_unchecked(&lease, &blob, GZIP, &diff_id)
            .unwrap()
            .size
    };
    let whole = gzip(&plain);
    assert_eq!(size(&whole), plain.len() as u64);
    // no layer is smaller than its blob or a million times as large
    for length in [0_u32, u32::MAX] {
        let mut lie = whole.clone();
        let at = lie.len() - 4;
        lie[at..].copy_from_slice(&length.to_le_bytes());
        assert_eq!(size(&lie), lie.len() as u64);
    }
    assert_eq!(size(&whole[..10]), 10);
}

#[test]
fn many_threads_that_look_agree() {
    let plain = honest();
    let diff_id = DiffId(Digest::of(&plain));
    let (folder, store) = store();
    let lease = store.lease();
    for (number, lie) in lies().iter().enumerate() {
        pull(&store, &lease, &format!("liar{number}"), lie, &diff_id);
    }
    pull(&store, &lease, "honest", &gzip(&plain), &diff_id);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            for (_, use_it) in USES {
                let (store, lease) = (&store, &lease);
                scope.spawn(move || use_it(store, lease, &diff_id).unwrap());
            }
            scope.spawn(|| {
                assert!(store.layer_blob(&lease, &diff_id, GZIP).unwrap().is_some());
                store.collect().unwrap();
            });
        }
    });
    assert_eq!(trees(folder.path()), 1);
    assert!(scratch_files(folder.path()).is_empty());
}

#[test]
fn claims_survive_a_restart_of_the_machine() {
    let plain = honest();
    let diff_id = DiffId(Digest::of(&plain));
    let (folder, store) = store();
    let lease = store.lease();
    let blob = pull(&store, &lease, "honest", &gzip(&plain), &diff_id);
    drop((lease, store));
    let database = rusqlite::Connection::open(folder.path().join("mica/db.sqlite")).unwrap();
    database
        .execute("UPDATE meta SET value = 'before' WHERE key = 'boot'", [])
        .unwrap();
    drop(database);
    let store = Store::open(folder.path()).unwrap();
    let lease = store.lease();
    assert_eq!(store.layer_blob(&lease, &diff_id, GZIP).unwrap(), Some(blob));
    store.tree(&lease, &diff_id).unwrap();
    let index = std::fs::read(folder.path().join("index.json")).unwrap();
    let index = Raw::<Index>::parse(&index).unwrap();
    assert_eq!(index.manifests.len(), 1);
    let manifest = store.blob(&lease, &index.manifests[0].digest).unwrap().unwrap();
    Raw::<Manifest>::parse(&std::fs::read(manifest.path()).unwrap()).unwrap();
}
