//! Any bytes, with holes or without, as what an earlier process left of a download: a blob appears only if it is what it is called, and a
//! download that goes on from there ends with it at the second attempt at the latest.
#![no_main]

use std::io::Read;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use mica_oci::Digest;
use mica_store::{Error, Lease, Store};

/// The longest blob.
const LONGEST: usize = 3 << 20;

fuzz_target!(|data: &[u8]| {
    let Some((head, rest)) = data.split_first_chunk::<6>() else {
        return;
    };
    let [wide, left, at, flips, pieces, claims] = *head;
    let bytes = blob(wide, rest);
    let digest = Digest::of(&bytes);
    leave(&digest, &bytes, left, at, flips, rest);
    let lease = store().lease();
    let claimed = match claims % 8 {
        0 => (bytes.len() as u64).saturating_sub(1),
        1 => bytes.len() as u64 + 1,
        _ => bytes.len() as u64,
    };
    let first = attempt(&lease, &digest, &bytes, claimed, pieces);
    if claimed != bytes.len() as u64 {
        assert!(first.is_err(), "of another length than its own");
        return;
    }
    if let Err(error) = first {
        assert!(matches!(error, Error::Digest { .. }), "{error}");
        attempt(&lease, &digest, &bytes, claimed, pieces).expect("nothing is left of the first");
    }
    let blob = store()
        .blob(&lease, &digest)
        .expect("the store answers")
        .expect("it is there");
    let mut read = Vec::new();
    blob.open()
        .expect("it opens")
        .read_to_end(&mut read)
        .expect("it can be read");
    assert_eq!(read, bytes);
    // so that a long search does not fill the disk
    drop(lease);
    store().collect().expect("what nobody has goes");
});

fn store() -> &'static Store {
    static STORE: OnceLock<(tempfile::TempDir, Store)> = OnceLock::new();
    let (_, store) = STORE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let store = Store::open(&folder.path().join("store")).expect("a store can be made");
        (folder, store)
    });
    store
}

/// A blob of some pattern, long or short.
fn blob(wide: u8, rest: &[u8]) -> Vec<u8> {
    let length = match wide % 4 {
        0 => rest.len(),
        wide => (usize::from(wide) * (64 << 10) + rest.len()).min(LONGEST),
    };
    rest.iter()
        .copied()
        .chain([7])
        .cycle()
        .take(length.max(1))
        .collect()
}

/// Puts a file where a download would have left one.
fn leave(digest: &Digest, bytes: &[u8], left: u8, at: u8, flips: u8, rest: &[u8]) {
    let path = store().root().join("mica/partial").join(digest.hex());
    let file = std::fs::File::create(path).expect("a file can be made");
    let part = |share: u8| bytes.len() * usize::from(share) / 255;
    match left % 5 {
        0 => {}
        // from the start
        1 => file
            .write_all_at(&bytes[..part(at)], 0)
            .expect("it can be written"),
        // somewhere, with a hole before it
        2 => file
            .write_all_at(&bytes[part(at)..], part(at) as u64)
            .expect("it can be written"),
        // more than there should be
        3 => file
            .write_all_at(&[bytes, rest, b"x"].concat(), 0)
            .expect("it can be written"),
        // something else altogether
        _ => file
            .write_all_at(rest, u64::from(at) << 9)
            .expect("it can be written"),
    }
    if flips % 2 == 1 && !bytes.is_empty() {
        let place = usize::from(flips) * 977 % bytes.len();
        file.write_all_at(&[!bytes[place]], place as u64)
            .expect("it can be written");
    }
}

/// A download: what is missing, in pieces, the last first or in order.
fn attempt(lease: &Lease, digest: &Digest, bytes: &[u8], size: u64, pieces: u8) -> Result<(), Error> {
    let mut partial = store().partial(lease, digest, size)?;
    let missing = partial.missing();
    assert!(missing.is_sorted_by(|a, b| a.end < b.start), "{missing:?}");
    assert!(missing.iter().all(|range| range.start < range.end && range.end <= size));
    let mut parts = Vec::new();
    for range in missing {
        let length = usize::try_from(range.end - range.start).expect("it fits");
        let step = (length / (usize::from(pieces / 2 % 6) + 1)).max(1);
        let offsets = (range.start..range.end).step_by(step);
        parts.extend(offsets.map(|offset| offset..range.end.min(offset + step as u64)));
    }
    if pieces % 2 == 1 {
        parts.reverse();
    }
    for part in parts {
        // what is claimed to be longer than it is ends here
        let end = part.end.min(bytes.len() as u64);
        if let Some(piece) = bytes.get(part.start as usize..end as usize) {
            partial.write_at(part.start, piece)?;
        }
    }
    assert!(partial.write_at(size, b"x").is_err(), "behind the end");
    assert!(partial.write_at(u64::MAX, b"xx").is_err(), "behind all ends");
    partial.commit().map(|_| ())
}
