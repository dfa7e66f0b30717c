//! The forms of layers, made from each other.
// only functions marked as tests may unwrap by themselves
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use mica_layer::{
    Change, Changes, Finding, ImagePath, Kind, LayerView, Meta, Mtime, Packed, Policy, Root, Source,
    TimePolicy, TreeWriter, XattrPolicy, pack,
};
use mica_oci::{Compression, ContentDigest, DiffId, Digest};
use mica_store::{Error, Store};
use support::{
    Entry, blob_files, cache_record, config, fast_folder, gzip, layer, name, names, scratch_files, store, tar,
};

fn text(view: &dyn LayerView, path: &str) -> String {
    let mut text = String::new();
    view.open(&ImagePath::clamped(path.as_bytes()))
        .unwrap()
        .reader()
        .read_to_string(&mut text)
        .unwrap();
    text
}

fn sample() -> Vec<u8> {
    tar(&[
        Entry::Folder("etc/"),
        Entry::File("etc/passwd", b"root"),
        Entry::Symlink("etc/link", "passwd"),
        Entry::Hardlink("etc/hard", "etc/passwd"),
        Entry::File("etc/.wh.gone", b""),
    ])
}

fn trees(root: &Path) -> usize {
    names(&root.join("mica/trees")).len()
}

#[test]
fn a_compressed_layer_becomes_a_tree_and_a_tar() {
    let (folder, store) = store();
    let lease = store.lease();
    let plain = sample();
    let diff_id = DiffId(Digest::of(&plain));
    let blob = store.put_blob(&lease, &gzip(&plain)).unwrap();
    let added = store
        .add_layer_blob(&lease, &blob, Compression::Gzip, &diff_id)
        .unwrap();
    assert_eq!((added.size, added.content), (plain.len() as u64, None));
    assert_eq!(store.layer(&lease, &diff_id).unwrap(), Some(added));

    let tree = store.tree(&lease, &diff_id).unwrap();
    assert_eq!(std::fs::read(tree.join("etc/passwd")).unwrap(), b"root");
    assert_eq!(std::fs::metadata(tree.join("etc/hard")).unwrap().nlink(), 2);
    assert_eq!(store.tree(&lease, &diff_id).unwrap(), tree);
    assert_eq!(blob_files(folder.path()).len(), 1);

    let packed = store.tar(&lease, &diff_id).unwrap();
    assert_eq!(std::fs::read(packed.path()).unwrap(), plain);
    assert!(scratch_files(folder.path()).is_empty());
}

#[test]
fn a_layer_reads_the_same_in_every_form() {
    let plain = sample();
    let diff_id = DiffId(Digest::of(&plain));
    let gone = ImagePath::clamped(b"etc/gone");
    for (compressed, unpacked) in [(false, false), (false, true), (true, false), (true, true)] {
        let (_folder, store) = store();
        let lease = store.lease();
        if compressed {
            let blob = store.put_blob(&lease, &gzip(&plain)).unwrap();
            store
                .add_layer_blob(&lease, &blob, Compression::Gzip, &diff_id)
                .unwrap();
        } else {
            layer(&store, &lease, &plain);
        }
        if unpacked {
            store.tree(&lease, &diff_id).unwrap();
        }
        for _ in 0..2 {
            let view = store.view(&lease, &diff_id).unwrap();
            assert_eq!(text(&*view, "etc/passwd"), "root");
            assert_eq!(text(&*view, "etc/hard"), "root");
            assert_eq!(view.find(&gone).unwrap(), Finding::Whiteout);
            assert_eq!(view.names(&ImagePath::clamped(b"etc")).unwrap().len(), 4);
        }
    }
}

#[test]
fn a_blob_that_is_not_the_layer_it_claims_to_be_is_refused() {
    let (_folder, store) = store();
    let lease = store.lease();
    let claimed = DiffId(Digest::of(b"other"));
    for (bytes, compression) in [
        (gzip(&sample()), Compression::Gzip),
        (sample(), Compression::None),
    ] {
        let blob = store.put_blob(&lease, &bytes).unwrap();
        let error = store
            .add_layer_blob(&lease, &blob, compression, &claimed)
            .unwrap_err();
        assert!(matches!(error, Error::Digest { expected, .. } if expected == *claimed.digest()));
        assert!(store.layer(&lease, &claimed).unwrap().is_none());
    }
}

#[test]
fn a_tar_of_other_bytes_is_refused() {
    let (folder, store) = store();
    let lease = store.lease();
    let packed = Packed {
        diff_id: DiffId(Digest::of(b"one")),
        size: 3,
        content: ContentDigest(Digest::of(b"one")),
    };
    let mut ingest = store.ingest(&lease).unwrap();
    ingest.write_all(b"two").unwrap();
    assert!(matches!(
        store.add_layer_tar(&lease, ingest, &packed),
        Err(Error::Digest { .. })
    ));
    assert!(blob_files(folder.path()).is_empty() && scratch_files(folder.path()).is_empty());
}

#[test]
fn a_damaged_tar_becomes_no_tree() {
    let (folder, store) = store();
    let lease = store.lease();
    let diff_id = layer(&store, &lease, &sample());
    let path = folder.path().join("blobs/sha256").join(diff_id.digest().hex());
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(4).position(|w| w == b"root").unwrap();
    bytes[at] = b'R';
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(store.tree(&lease, &diff_id), Err(Error::Corrupt { .. })));
    assert_eq!(trees(folder.path()), 0);
    assert!(scratch_files(folder.path()).is_empty());
}

#[test]
fn a_tree_is_made_only_once() {
    let (folder, store) = store();
    let lease = store.lease();
    let diff_id = layer(&store, &lease, &sample());
    let inodes: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    std::fs::metadata(store.tree(&lease, &diff_id).unwrap())
                        .unwrap()
                        .ino()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(inodes.iter().all(|inode| *inode == inodes[0]));
    assert_eq!(trees(folder.path()), 1);
}

#[test]
fn only_scratch_space_can_become_a_tree() {
    let (folder, store) = store();
    let lease = store.lease();
    let packed = Packed {
        diff_id: DiffId(Digest::of(b"x")),
        size: 1,
        content: ContentDigest(Digest::of(b"x")),
    };
    let elsewhere = folder.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    assert!(matches!(
        store.add_layer_tree(&lease, &elsewhere, &packed),
        Err(Error::Foreign { .. })
    ));
    assert!(elsewhere.exists());
}

#[test]
fn what_was_not_synced_does_not_survive_a_restart_of_the_machine() {
    let (folder, store) = store();
    let lease = store.lease();
    let synced = layer(&store, &lease, &sample());
    let image = store
        .commit_image(&lease, &config("a", &[synced]), None, &[name("a")])
        .unwrap()
        .image;
    store.tree(&lease, &synced).unwrap();
    let loose = layer(&store, &lease, &tar(&[Entry::File("loose", b"loose")]));
    let key = mica_oci::CacheKey(Digest::of(b"key"));
    let record = cache_record(loose, "");
    store.remember(&lease, &key, &record).unwrap();
    drop((lease, store));
    // a process that merely ended loses nothing
    let store = Store::open(folder.path()).unwrap();
    assert!(store.cached(&store.lease(), &key).unwrap().is_some());
    assert_eq!(trees(folder.path()), 1);
    drop(store);
    let store = support::restart(folder.path());
    let lease = store.lease();
    assert!(store.cached(&lease, &key).unwrap().is_none());
    assert!(store.layer(&lease, &loose).unwrap().is_none());
    assert!(store.image(&image.id).unwrap().is_some());
    assert_eq!(trees(folder.path()), 0);
    assert_eq!(text(&*store.view(&lease, &synced).unwrap(), "etc/passwd"), "root");
}

#[test]
fn a_layer_that_is_only_a_tree_is_packed_again_byte_for_byte() {
    let meta = |kind| Meta {
        kind,
        mtime: Mtime {
            seconds: 1_700_000_000,
            nanoseconds: 123_456_789,
        },
        ..Meta::directory(0o644, Mtime::default())
    };
    let mut changes = Changes::new();
    let mut put = |path: &str, meta: Meta, source: Source| {
        let change = Change::Node {
            meta,
            source,
            link: None,
            opaque: false,
            content: None,
        };
        changes.insert(ImagePath::clamped(path.as_bytes()), change);
    };
    put("dir", meta(Kind::Directory), Source::Empty);
    let bytes = Source::Content(mica_layer::Content::Bytes((*b"hello").into()));
    put("dir/file", meta(Kind::File { size: 5 }), bytes);
    changes.insert(ImagePath::clamped(b"gone"), Change::Whiteout);

    for times in [TimePolicy::Seconds, TimePolicy::Nanoseconds] {
        let policy = Policy {
            xattrs: XattrPolicy::CapabilityOnly,
            times,
            clamp: None,
        };
        let (folder, store) = store();
        let lease = store.lease();
        let work = store.work(&lease).unwrap();
        let dir = work.path().join("fs");
        std::fs::create_dir(&dir).unwrap();
        let mut tree = TreeWriter::new(Root::open(&dir).unwrap());
        let mut expected = Vec::new();
        let packed = pack(&changes, &policy, &mut expected, Some(&mut tree)).unwrap();
        tree.finish().unwrap();
        let added = store.add_layer_tree(&lease, &dir, &packed).unwrap();
        assert_eq!(added.content, Some(packed.content));
        drop(work);
        let image = store
            .commit_image(&lease, &config("a", &[added.diff_id]), None, &[name("a")])
            .unwrap()
            .image;
        let index = || std::fs::read_to_string(folder.path().join("index.json")).unwrap();
        // what lies as a tree only cannot be read in place
        assert!(!index().contains("sha256"));
        assert!(
            std::fs::read_to_string(folder.path().join("mica/refs.json"))
                .unwrap()
                .contains(&image.id.to_string())
        );

        let blob = store.tar(&lease, &added.diff_id).unwrap();
        assert_eq!(std::fs::read(blob.path()).unwrap(), expected);
        assert!(index().contains(&image.manifest.digest.hex()));
        let view = store.view(&lease, &added.diff_id).unwrap();
        assert_eq!(text(&*view, "dir/file"), "hello");
        assert_eq!(
            view.find(&ImagePath::clamped(b"gone")).unwrap(),
            Finding::Whiteout
        );
    }
}

#[test]
fn a_tree_that_was_changed_is_not_packed() {
    let (_folder, store) = store();
    let lease = store.lease();
    let work = store.work(&lease).unwrap();
    let dir = work.path().join("fs");
    std::fs::create_dir(&dir).unwrap();
    let packed = Packed {
        diff_id: DiffId(Digest::of(b"something else")),
        size: 14,
        content: ContentDigest(Digest::of(b"x")),
    };
    store.add_layer_tree(&lease, &dir, &packed).unwrap();
    assert!(matches!(
        store.tar(&lease, &packed.diff_id),
        Err(Error::Corrupt { .. })
    ));
}

#[test]
fn a_tar_that_is_read_in_place_is_held_to_its_digest_first() {
    let plain = tar(&[Entry::File("good", b"good"), Entry::File("file", &[7; 1 << 20])]);
    let folder = fast_folder();
    let store = Store::open(folder.path()).unwrap();
    let lease = store.lease();
    let diff_id = layer(&store, &lease, &plain);
    let image = config("a", &[diff_id]);
    store.commit_image(&lease, &image, None, &[]).unwrap();
    let good = ImagePath::clamped(b"good");
    // what this process wrote is not read again
    let before = bytes_read();
    let view = store.view(&lease, &diff_id).unwrap();
    view.open(&good).unwrap();
    assert!(bytes_read() - before < plain.len() as u64, "only the headers");
    drop((view, lease, store));

    let path = folder.path().join("blobs/sha256").join(diff_id.digest().hex());
    let sound = std::fs::read(&path).unwrap();
    let mut damaged = sound.clone();
    let at = damaged.iter().position(|byte| *byte == 7).unwrap();
    damaged[at + 4000] = 8;
    std::fs::write(&path, &damaged).unwrap();
    let store = Store::open(folder.path()).unwrap();
    let lease = store.lease();
    // no file of it, not even one that is whole: nobody knows which are
    for _ in 0..2 {
        let view = store.view(&lease, &diff_id).unwrap();
        assert!(matches!(view.find(&good).unwrap(), Finding::Node { .. }));
        let error = view.open(&good).err().unwrap();
        let text = format!("{error}: {}", std::error::Error::source(&error).unwrap());
        assert!(
            text.contains(&diff_id.to_string()) && text.contains("damaged"),
            "{text}"
        );
    }
    // as soon as it is right it is read, and once only
    std::fs::write(&path, &sound).unwrap();
    let view = store.view(&lease, &diff_id).unwrap();
    view.open(&good).unwrap();
    let before = bytes_read();
    store.view(&lease, &diff_id).unwrap().open(&good).unwrap();
    assert!(bytes_read() - before < plain.len() as u64);
    // and again if it is damaged behind its back, a tick of the clock later
    std::thread::sleep(std::time::Duration::from_millis(20));
    std::fs::write(&path, &damaged).unwrap();
    store.view(&lease, &diff_id).unwrap().open(&good).err().unwrap();
}

/// Bytes that this thread read of files so far, cached or not: "rchar" of proc(5).
fn bytes_read() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/io").unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("rchar: "))
        .unwrap();
    line.parse().unwrap()
}
