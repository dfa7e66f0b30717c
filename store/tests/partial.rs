//! Blobs that come in pieces, in any order, over any number of attempts.
// only functions marked as tests may unwrap by themselves
#![allow(clippy::unwrap_used)]

mod support;

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use mica_oci::Digest;
use mica_store::{Error, Store};
use proptest::prelude::*;
use support::{blob_files, blob_space, fast_folder, names, noise, scratch_files, store};

const MIB: usize = 1 << 20;

fn partials(root: &Path) -> usize {
    names(&root.join("mica/partial")).len()
}

fn file(root: &Path, digest: &Digest) -> PathBuf {
    root.join("mica/partial").join(digest.hex())
}

#[test]
fn a_blob_in_pieces_becomes_a_blob() {
    let (folder, store) = store();
    let lease = store.lease();
    let bytes = noise(1, 3 * MIB + 5);
    let digest = Digest::of(&bytes);
    let mut partial = store.partial(&lease, &digest, bytes.len() as u64).unwrap();
    assert_eq!((partial.offset(), partial.size()), (0, bytes.len() as u64));
    partial.write_at(0, &bytes[..MIB]).unwrap();
    assert_eq!(partial.offset(), MIB as u64);
    // the end before the middle
    partial.write_at(2 * MIB as u64, &bytes[2 * MIB..]).unwrap();
    assert_eq!(partial.offset(), MIB as u64);
    partial.write_at(MIB as u64, &bytes[MIB..2 * MIB]).unwrap();
    assert_eq!(partial.offset(), bytes.len() as u64);
    assert!(store.blob(&lease, &digest).unwrap().is_none());
    let blob = partial.commit().unwrap();
    assert_eq!((blob.digest, blob.size), (digest, bytes.len() as u64));
    assert_eq!(std::fs::read(blob.path()).unwrap(), bytes);
    assert_eq!(store.blob(&lease, &digest).unwrap().unwrap(), blob);
    assert_eq!(partials(folder.path()), 0);
    // as with any other blob, the lease is all that keeps it
    store.collect().unwrap();
    assert_eq!(blob_files(folder.path()).len(), 1);
    drop(lease);
    let taken = blob_space(folder.path(), &digest);
    assert_eq!(store.collect().unwrap(), taken);
    assert!(blob_files(folder.path()).is_empty());
}

#[test]
fn an_empty_blob_needs_no_piece() {
    let (_folder, store) = store();
    let lease = store.lease();
    let blob = store
        .partial(&lease, &Digest::of(b""), 0)
        .unwrap()
        .commit()
        .unwrap();
    assert_eq!(std::fs::read(blob.path()).unwrap(), b"");
}

#[test]
fn what_lies_behind_the_end_is_refused() {
    let (_folder, store) = store();
    let lease = store.lease();
    let digest = Digest::of(b"hello");
    let mut partial = store.partial(&lease, &digest, 5).unwrap();
    for (offset, bytes) in [(0, &b"hello!"[..]), (5, b"x"), (u64::MAX, b"x"), (3, b"abc")] {
        let error = partial.write_at(offset, bytes).unwrap_err();
        assert!(matches!(error, Error::Oversize { size: 5, .. }), "{error}");
    }
    partial.write_at(5, b"").unwrap();
    partial.write_at(0, b"hello").unwrap();
    partial.commit().unwrap();
}

#[test]
fn a_blob_of_other_bytes_is_gone() {
    let (folder, store) = store();
    let lease = store.lease();
    let bytes = noise(2, 2 * MIB);
    let expected = Digest::of(b"other");
    let mut partial = store.partial(&lease, &expected, bytes.len() as u64).unwrap();
    partial.write_at(0, &bytes).unwrap();
    match partial.commit() {
        Err(Error::Digest { expected: e, actual }) => {
            assert_eq!((e, actual), (expected, Digest::of(&bytes)));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(partials(folder.path()), 0);
    assert!(blob_files(folder.path()).is_empty());
    assert_eq!(store.partial(&lease, &expected, 5).unwrap().offset(), 0);
}

#[test]
fn a_blob_that_is_not_whole_is_not_committed_and_goes_on() {
    let (folder, store) = store();
    let lease = store.lease();
    let bytes = noise(3, 2 * MIB);
    let digest = Digest::of(&bytes);
    let size = bytes.len() as u64;
    let mut partial = store.partial(&lease, &digest, size).unwrap();
    partial.write_at(0, &bytes[..MIB + 7]).unwrap();
    let error = partial.commit().unwrap_err();
    assert!(
        matches!(error, Error::Incomplete { have, .. } if have == MIB as u64 + 7),
        "{error}"
    );
    assert!(blob_files(folder.path()).is_empty());
    let mut partial = store.partial(&lease, &digest, size).unwrap();
    assert_eq!(partial.offset(), MIB as u64 + 7);
    partial.write_at(MIB as u64 + 7, &bytes[MIB + 7..]).unwrap();
    partial.commit().unwrap();
}

#[test]
fn only_what_is_worth_it_is_kept() {
    let (folder, store) = store();
    let lease = store.lease();
    let bytes = noise(4, 4 * MIB);
    let digest = Digest::of(&bytes);
    let size = bytes.len() as u64;
    let write = |from: usize, to: usize| {
        let mut partial = store.partial(&lease, &digest, size).unwrap();
        partial.write_at(from as u64, &bytes[from..to]).unwrap();
    };
    write(0, MIB - 1);
    assert_eq!(partials(folder.path()), 0);
    // what has a gap before it is of use, too, but for its head and a block at its edges
    write(MIB, 3 * MIB);
    assert_eq!(partials(folder.path()), 1);
    let partial = store.partial(&lease, &digest, size).unwrap();
    let edge = 3 * 65536;
    assert_eq!(partial.missing(), [0..MIB as u64 + edge, 3 * MIB as u64..size]);
    drop(partial);
    // so short a gap could not be told from what is around it
    write(0, MIB + edge as usize - 5);
    let path = file(folder.path(), &digest);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), MIB as u64 + edge - 5);
    write(MIB, 3 * MIB);
    // one that may be short is never in the file
    write(3 * MIB + 5, 4 * MIB);
    let mut partial = store.partial(&lease, &digest, size).unwrap();
    let around = 3 * MIB as u64 - 65536..3 * MIB as u64 + edge;
    assert_eq!(partial.missing(), std::slice::from_ref(&around));
    partial.restart().unwrap();
    assert_eq!(partial.missing(), std::slice::from_ref(&(0..size)));
    assert_eq!(partial.offset(), 0);
    drop(partial);
    assert_eq!(partials(folder.path()), 0);
}

#[test]
fn a_restart_goes_on_where_the_last_one_was() {
    let (folder, store) = store();
    let bytes = noise(5, 5 * MIB);
    let digest = Digest::of(&bytes);
    let size = bytes.len() as u64;
    let lease = store.lease();
    let mut partial = store.partial(&lease, &digest, size).unwrap();
    partial.write_at(0, &bytes[..2 * MIB + 3]).unwrap();
    drop((partial, lease, store));
    let store = Store::open(folder.path()).unwrap();
    let lease = store.lease();
    let mut partial = store.partial(&lease, &digest, size).unwrap();
    assert_eq!(partial.offset(), 2 * MIB as u64 + 3);
    partial.write_at(partial.offset(), &bytes[2 * MIB + 3..]).unwrap();
    assert_eq!(std::fs::read(partial.commit().unwrap().path()).unwrap(), bytes);
}

#[test]
fn a_gap_that_a_dead_process_left_is_not_taken_for_data() {
    let (folder, store) = store();
    let bytes = noise(6, 5 * MIB);
    let digest = Digest::of(&bytes);
    let path = file(folder.path(), &digest);
    let write = |pieces: &[(usize, usize)]| {
        let file = std::fs::File::create(&path).unwrap();
        for (from, to) in pieces {
            std::os::unix::fs::FileExt::write_all_at(&file, &bytes[*from..*to], *from as u64).unwrap();
        }
    };
    let lease = store.lease();
    for (pieces, least, most) in [
        (
            &[(0, 2 * MIB + 100), (4 * MIB, 5 * MIB)][..],
            2 * MIB - 65536,
            2 * MIB + 100,
        ),
        (&[(0, MIB), (MIB + 200_000, 5 * MIB)], MIB - 65536, MIB),
        (&[(MIB, 5 * MIB)], 0, 0),
        (&[], 0, 0),
    ] {
        write(pieces);
        let mut partial = store.partial(&lease, &digest, bytes.len() as u64).unwrap();
        let offset = partial.offset() as usize;
        assert!((least..=most).contains(&offset), "{pieces:?} {offset}");
        // only what is missing is written
        let missing = partial.missing();
        let first = missing.first().map_or(bytes.len() as u64, |range| range.start);
        assert_eq!(first, offset as u64);
        let most = pieces.iter().skip(1).map(|(from, to)| to - from).sum::<usize>();
        let fetched: u64 = missing.iter().map(|range| range.end - range.start).sum();
        assert!(
            fetched as usize <= bytes.len() - offset - most.saturating_sub(65536),
            "{missing:?}"
        );
        for range in missing {
            let (from, to) = (range.start as usize, range.end as usize);
            partial.write_at(range.start, &bytes[from..to]).unwrap();
        }
        partial.commit().unwrap();
    }
    // two pieces less than a block apart cannot be told from one: the digest tells
    write(&[(0, MIB), (MIB + 1, 5 * MIB)]);
    let partial = store.partial(&lease, &digest, bytes.len() as u64).unwrap();
    assert_eq!(partial.offset(), bytes.len() as u64);
    assert!(matches!(partial.commit(), Err(Error::Digest { .. })));
    assert!(!path.exists());
}

#[test]
fn a_file_longer_than_the_blob_is_started_anew() {
    let (folder, store) = store();
    let bytes = noise(7, 2 * MIB);
    let digest = Digest::of(&bytes);
    std::fs::write(file(folder.path(), &digest), noise(8, 3 * MIB)).unwrap();
    let lease = store.lease();
    let mut partial = store.partial(&lease, &digest, bytes.len() as u64).unwrap();
    assert_eq!(partial.offset(), 0);
    partial.write_at(0, &bytes).unwrap();
    partial.commit().unwrap();
}

#[test]
fn one_at_a_time_has_a_blob() {
    let (_folder, store) = store();
    let lease = store.lease();
    let bytes = noise(9, 2 * MIB);
    let digest = Digest::of(&bytes);
    let size = bytes.len() as u64;
    let mut first = store.partial(&lease, &digest, size).unwrap();
    std::thread::scope(|scope| {
        let second = scope.spawn(|| store.partial(&lease, &digest, size).unwrap().offset());
        std::thread::sleep(Duration::from_millis(50));
        assert!(!second.is_finished());
        // another blob is nobody's business
        drop(store.partial(&lease, &Digest::of(b"other"), 5).unwrap());
        first.write_at(0, &bytes).unwrap();
        drop(first);
        assert_eq!(second.join().unwrap(), size);
    });
}

#[test]
fn what_nobody_is_at_goes_when_it_is_old_or_when_asked() {
    let (folder, store) = store();
    let lease = store.lease();
    let bytes = noise(10, 2 * MIB);
    let left = |name: &[u8]| {
        let digest = Digest::of(name);
        let mut partial = store.partial(&lease, &digest, 3 * MIB as u64).unwrap();
        partial.write_at(0, &bytes).unwrap();
        digest
    };
    let (young, old) = (left(b"young"), left(b"old"));
    let in_use = left(b"in use");
    let days = |days: u64| SystemTime::now() - Duration::from_secs(days * 24 * 3600);
    let set = |digest: &Digest, time: SystemTime| {
        let file = std::fs::File::options()
            .write(true)
            .open(file(folder.path(), digest))
            .unwrap();
        file.set_modified(time).unwrap();
    };
    set(&young, days(6));
    set(&old, days(8));
    std::fs::write(folder.path().join("mica/partial/rubbish"), "x").unwrap();
    drop((lease, store));
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(
        names(&folder.path().join("mica/partial")),
        [young.hex(), in_use.hex()].into()
    );
    let lease = store.lease();
    let partial = store.partial(&lease, &in_use, 3 * MIB as u64).unwrap();
    assert!(store.collect().unwrap() >= 2 * MIB as u64);
    assert_eq!(names(&folder.path().join("mica/partial")), [in_use.hex()].into());
    assert_eq!(partial.offset(), 2 * MIB as u64);
    drop(partial);
    store.collect().unwrap();
    assert_eq!(partials(folder.path()), 0);
}

/// Pieces of a blob, overlapping as they like, and where an attempt ends.
fn pieces(size: usize) -> impl Strategy<Value = Vec<(usize, usize)>> {
    proptest::collection::vec((0..size, 0..size), 1..12)
        .prop_map(|ends| ends.into_iter().map(|(a, b)| (a.min(b), a.max(b) + 1)).collect())
}

/// Copies a file and leaves gaps where it has nothing but zeros. Not by another program: while that begins it has this process's
/// files, and the locks of other tests' stores with them.
fn copy_with_gaps(from: &Path, to: &Path) {
    let bytes = std::fs::read(from).unwrap();
    let copy = std::fs::File::create(to).unwrap();
    copy.set_len(bytes.len() as u64).unwrap();
    for (piece, at) in bytes.chunks(4096).zip((0..).step_by(4096)) {
        if piece.iter().any(|byte| *byte != 0) {
            copy.write_all_at(piece, at).unwrap();
        }
    }
}

#[test]
fn a_gap_of_a_byte_is_seen_wherever_a_process_dies() {
    let (folder, store) = store();
    let lease = store.lease();
    let bytes = noise(11, 4 * MIB);
    let digest = Digest::of(&bytes);
    let size = bytes.len() as u64;
    let path = file(folder.path(), &digest);
    // the first of two parts lacks its last byte, with the second begun before it, behind it, or in its midst
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0], [2, 0, 1], [0, 2, 1]] {
        let mut partial = store.partial(&lease, &digest, size).unwrap();
        let parts = [0..MIB, MIB..2 * MIB - 1, 2 * MIB..4 * MIB];
        for part in order.map(|at| parts[at].clone()) {
            for piece in part.collect::<Vec<_>>().chunks(100_000) {
                let piece = piece[0]..piece[piece.len() - 1] + 1;
                partial.write_at(piece.start as u64, &bytes[piece]).unwrap();
            }
        }
        assert_eq!(
            partial.missing(),
            std::slice::from_ref(&(2 * MIB as u64 - 1..2 * MIB as u64))
        );
        let copy = path.with_extension("copy");
        copy_with_gaps(&path, &copy);
        drop(partial);
        std::fs::rename(&copy, &path).unwrap();
        let mut partial = store.partial(&lease, &digest, size).unwrap();
        let missing = partial.missing();
        let fetched: u64 = missing.iter().map(|range| range.end - range.start).sum();
        assert!(fetched <= 5 * 65536, "{order:?} {missing:?}");
        for range in missing {
            let (from, to) = (range.start as usize, range.end as usize);
            partial.write_at(range.start, &bytes[from..to]).unwrap();
        }
        partial.commit().unwrap();
        std::fs::remove_file(folder.path().join("blobs/sha256").join(digest.hex())).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn any_pieces_in_any_order_over_any_attempts_give_the_blob(
        size in 1_usize..(3 << 20),
        seed in any::<u64>(),
        attempts in proptest::collection::vec(pieces(3 << 20), 1..4),
        killed in any::<bool>(),
    ) {
        let folder = fast_folder();
        let store = Store::open(folder.path()).unwrap();
        let lease = store.lease();
        let bytes = noise(seed, size);
        let digest = Digest::of(&bytes);
        for attempt in attempts {
            let mut partial = store.partial(&lease, &digest, size as u64).unwrap();
            let mut known = partial.offset();
            for (from, to) in attempt {
                let (from, to) = (from.min(size), to.min(size));
                partial.write_at(from as u64, &bytes[from..to]).unwrap();
                prop_assert!(partial.offset() >= known);
                if from as u64 <= known {
                    prop_assert!(partial.offset() >= to as u64);
                }
                known = partial.offset();
            }
            let path = file(folder.path(), &digest);
            if killed && known < size as u64 {
                // as a dead process leaves it, with all its gaps
                let copy = path.with_extension("copy");
                copy_with_gaps(&path, &copy);
                drop(partial);
                std::fs::rename(&copy, &path).unwrap();
            }
        }
        let mut partial = store.partial(&lease, &digest, size as u64).unwrap();
        for range in partial.missing().into_iter().rev() {
            let (from, to) = (range.start as usize, range.end as usize);
            partial.write_at(range.start, &bytes[from..to]).unwrap();
        }
        let blob = match partial.commit() {
            // pieces less than a block apart: thrown away, and right the second time
            Err(Error::Digest { .. }) if killed => {
                let mut partial = store.partial(&lease, &digest, size as u64).unwrap();
                prop_assert_eq!(partial.offset(), 0);
                partial.write_at(0, &bytes).unwrap();
                partial.commit().unwrap()
            }
            committed => committed.unwrap(),
        };
        prop_assert_eq!(std::fs::read(blob.path()).unwrap(), bytes);
        prop_assert!(scratch_files(folder.path()).is_empty());
        prop_assert_eq!(partials(folder.path()), 0);
    }
}
