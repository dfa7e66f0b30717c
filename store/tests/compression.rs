//! Layers as they are pushed: compressed once, and readable meanwhile.
// only functions marked as tests may unwrap by themselves
#![allow(clippy::unwrap_used)]

mod support;

use std::io::Read;
use std::time::Duration;

use mica_layer::decompress;
use mica_oci::{Compression, DiffId, Digest};
use mica_store::{Error, Growth, Store};
use support::{Entry, blob_files, gzip, layer, noise, scratch_files, store, tar};

const WAYS: [Compression; 2] = [Compression::Gzip, Compression::Zstd];

fn large() -> Vec<u8> {
    tar(&[Entry::File("noise", &noise(1, 9 << 20))])
}

fn inflate(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    decompress(bytes).unwrap().0.read_to_end(&mut plain).unwrap();
    plain
}

#[test]
fn a_layer_is_compressed_once_and_kept() {
    let plain = large();
    for compression in WAYS {
        let (folder, store) = store();
        let lease = store.lease();
        let diff_id = layer(&store, &lease, &plain);
        assert_eq!(store.layer_blob(&lease, &diff_id, compression).unwrap(), None);
        let growth = Growth::new();
        assert_eq!((growth.length(), growth.outcome()), (0, None));
        let blob = store
            .compress_layer(&lease, &diff_id, compression, 2, &growth)
            .unwrap();
        let bytes = std::fs::read(blob.path()).unwrap();
        assert_eq!(Digest::of(&bytes), blob.digest);
        assert_eq!(inflate(&bytes), plain);
        assert_eq!(growth.outcome(), Some((blob.digest, blob.size)));
        assert_eq!(growth.length(), blob.size);
        assert_eq!(
            store.layer_blob(&lease, &diff_id, compression).unwrap(),
            Some(blob.clone())
        );
        // it is there: nothing is made, and it can be read all the same
        let before = blob_files(folder.path());
        let again = Growth::new();
        let found = store
            .compress_layer(&lease, &diff_id, compression, 2, &again)
            .unwrap();
        assert_eq!(found, blob);
        let mut read = Vec::new();
        again.reader().read_to_end(&mut read).unwrap();
        assert_eq!(read, bytes);
        assert_eq!(blob_files(folder.path()), before);
        drop((lease, store));
        let store = Store::open(folder.path()).unwrap();
        // nothing keeps the layer
        assert_eq!(
            store.layer_blob(&store.lease(), &diff_id, compression).unwrap(),
            None
        );
        assert!(blob_files(folder.path()).is_empty() && scratch_files(folder.path()).is_empty());
    }
}

#[test]
fn every_form_is_compressed_to_the_same_bytes() {
    let plain = tar(&[Entry::File("file", b"content")]);
    let diff_id = DiffId(Digest::of(&plain));
    let mut digests = Vec::new();
    for form in 0..3 {
        let (_folder, store) = store();
        let lease = store.lease();
        if form == 0 {
            layer(&store, &lease, &plain);
        } else {
            let blob = store.put_blob(&lease, &gzip(&plain)).unwrap();
            store
                .add_layer_blob_unchecked(&lease, &blob, Compression::Gzip, &diff_id)
                .unwrap();
            if form == 2 {
                store.tree(&lease, &diff_id).unwrap();
            }
        }
        let made = store.compress_layer(&lease, &diff_id, Compression::Zstd, 1, &Growth::new());
        digests.push(made.unwrap().digest);
    }
    assert!(digests.iter().all(|digest| *digest == digests[0]));
}

#[test]
fn what_is_being_made_can_be_read_by_many() {
    let plain = large();
    let (_folder, store) = store();
    let lease = store.lease();
    let diff_id = layer(&store, &lease, &plain);
    let growth = Growth::new();
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let mut reader = growth.reader();
                scope.spawn(move || {
                    let mut bytes = Vec::new();
                    let mut buffer = [0; 70_001];
                    loop {
                        match reader.read(&mut buffer).unwrap() {
                            0 => return bytes,
                            n => bytes.extend(&buffer[..n]),
                        }
                    }
                })
            })
            .collect();
        // they wait for what is not there
        std::thread::sleep(Duration::from_millis(20));
        assert!(readers.iter().all(|reader| !reader.is_finished()));
        let blob = store
            .compress_layer(&lease, &diff_id, Compression::Gzip, 2, &growth)
            .unwrap();
        // one that comes late reads from the start too
        let mut late = Vec::new();
        growth.reader().read_to_end(&mut late).unwrap();
        assert_eq!(Digest::of(&late), blob.digest);
        for reader in readers {
            assert_eq!(Digest::of(&reader.join().unwrap()), blob.digest);
        }
        // and from what is deleted meanwhile
        let mut reader = growth.reader();
        reader.read_exact(&mut [0; 100]).unwrap();
        std::fs::remove_file(blob.path()).unwrap();
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        assert_eq!(rest.len() as u64 + 100, blob.size);
    });
}

#[test]
fn two_callers_make_it_once() {
    let plain = large();
    let (folder, store) = store();
    let lease = store.lease();
    let diff_id = layer(&store, &lease, &plain);
    std::thread::scope(|scope| {
        let make = || {
            scope.spawn(|| {
                let growth = Growth::new();
                let blob = store
                    .compress_layer(&lease, &diff_id, Compression::Gzip, 1, &growth)
                    .unwrap();
                assert_eq!(growth.outcome(), Some((blob.digest, blob.size)));
                std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(blob.path()).unwrap())
            })
        };
        let threads = [make(), make(), make()];
        let inodes = threads.map(|thread| thread.join().unwrap());
        assert!(inodes.iter().all(|inode| *inode == inodes[0]));
    });
    assert_eq!(blob_files(folder.path()).len(), 2);
}

#[test]
fn a_failure_reaches_the_readers_and_leaves_nothing() {
    let (folder, store) = store();
    let lease = store.lease();
    let growth = Growth::new();
    let nobody = DiffId(Digest::of(b"nobody"));
    let result = std::thread::scope(|scope| {
        let reader = scope.spawn(|| growth.reader().read(&mut [0; 10]));
        std::thread::sleep(Duration::from_millis(20));
        let error = store
            .compress_layer(&lease, &nobody, Compression::Gzip, 1, &growth)
            .unwrap_err();
        assert!(matches!(error, Error::MissingLayer { .. }));
        reader.join().unwrap()
    });
    assert!(result.is_err());
    assert_eq!(growth.outcome(), None);

    // a tar that was damaged on the disk is not sent as the layer
    let diff_id = layer(&store, &lease, &large());
    let path = folder.path().join("blobs/sha256").join(diff_id.digest().hex());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let growth = Growth::new();
    let error = store
        .compress_layer(&lease, &diff_id, Compression::Gzip, 2, &growth)
        .unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Corrupt { .. }), "{text}");
    assert!(
        text.contains(&diff_id.to_string()) && text.contains("`mica system check --full --repair` mends it"),
        "{text}"
    );
    assert!(growth.reader().read_to_end(&mut Vec::new()).is_err());
    assert_eq!(
        store.layer_blob(&lease, &diff_id, Compression::Gzip).unwrap(),
        None
    );
    assert_eq!(blob_files(folder.path()).len(), 1);
    assert!(scratch_files(folder.path()).is_empty());
    // and who makes the layer again replaces it, though it is as long
    assert_eq!(layer(&store, &lease, &large()), diff_id);
    assert_eq!(Digest::of(&std::fs::read(&path).unwrap()), *diff_id.digest());
    let blob = store
        .compress_layer(&lease, &diff_id, Compression::Gzip, 2, &Growth::new())
        .unwrap();
    assert!(inflate(&std::fs::read(blob.path()).unwrap()) == large());
}

#[test]
fn what_nobody_wants_stops() {
    let (folder, store) = store();
    let lease = store.lease();
    let diff_id = layer(&store, &lease, &large());
    let growth = Growth::new();
    growth.cancel();
    assert!(growth.reader().read(&mut [0]).is_err());
    assert!(
        store
            .compress_layer(&lease, &diff_id, Compression::Gzip, 1, &growth)
            .is_err()
    );
    assert!(scratch_files(folder.path()).is_empty());
    assert_eq!(blob_files(folder.path()).len(), 1);
}
