//! Large blobs in parts side by side.

use mica_registry::Error;
use mica_tests::FakeRegistry;
use mica_tests::registry::{Act, Fault, Kind};

use crate::hurry::Hurry;
use crate::pieces::{download, download_missing};
use crate::setting::{Asker, descriptor, noise, pulling};

const LARGE: usize = 40 << 20;

/// What parts were asked for, as text, sorted.
fn ranges(registry: &FakeRegistry) -> Vec<String> {
    let requests = registry.requests().into_iter();
    let mut ranges: Vec<String> = requests.filter_map(|one| one.range).collect();
    ranges.sort();
    ranges
}

#[tokio::test]
async fn a_large_blob_comes_in_parts_each_byte_once() {
    let registry = FakeRegistry::start();
    let bytes = noise(LARGE);
    registry.put_blob("team/app", &bytes);
    let got = download(&pulling(&registry), &descriptor(&bytes)).await;
    got.result.unwrap();
    assert!(got.bytes == bytes && got.twice == 0);
    assert_eq!(
        ranges(&registry),
        [
            "bytes=0-8388607",
            "bytes=16777216-25165823",
            "bytes=25165824-33554431",
            "bytes=33554432-41943039",
            "bytes=8388608-16777215",
        ]
    );
}

#[tokio::test]
async fn a_registry_without_parts_gives_the_whole_in_one() {
    let registry = FakeRegistry::start();
    let bytes = noise(LARGE);
    registry.put_blob("team/app", &bytes);
    registry.script([Fault::new(Kind::Blob, Act::IgnoreRange)]);
    let got = download(&pulling(&registry), &descriptor(&bytes)).await;
    got.result.unwrap();
    assert!(got.bytes == bytes && got.twice == 0);
    assert_eq!(registry.requests().len(), 1);
}

#[tokio::test]
async fn only_what_is_missing_is_asked_for() {
    let registry = FakeRegistry::start();
    let bytes = noise(LARGE);
    registry.put_blob("team/app", &bytes);
    let missing = [5..10, 1 << 20..(9 << 20) + 1, 30 << 20..LARGE as u64];
    let came: u64 = missing.iter().map(|range| range.end - range.start).sum();
    let got = download_missing(&pulling(&registry), &descriptor(&bytes), &missing).await;
    got.result.unwrap();
    assert_eq!(got.came, came);
    for range in missing {
        let range = range.start as usize..range.end as usize;
        assert!(got.bytes[range.clone()] == bytes[range]);
    }
    assert_eq!(
        ranges(&registry),
        [
            "bytes=1048576-9437183",
            "bytes=31457280-39845887",
            "bytes=39845888-41943039",
            "bytes=5-9",
            "bytes=9437184-9437184",
        ]
    );
}

#[tokio::test]
async fn a_registry_without_parts_gives_what_lies_between_gaps_too() {
    let registry = FakeRegistry::start();
    let bytes = noise(3_000_000);
    registry.put_blob("team/app", &bytes);
    registry.script([Fault::new(Kind::Blob, Act::IgnoreRange)]);
    let missing = [1000..2000, 5000..6000];
    let got = download_missing(&pulling(&registry), &descriptor(&bytes), &missing).await;
    got.result.unwrap();
    assert!(got.bytes[1000..] == bytes[1000..]);
    assert_eq!(got.came, 2_999_000);
    assert_eq!(registry.requests().len(), 1);
}

#[tokio::test]
async fn a_part_that_broke_is_taken_up_and_the_others_are_left_alone() {
    let hurry = Hurry::new();
    let registry = FakeRegistry::start();
    let bytes = noise(LARGE);
    registry.put_blob("team/app", &bytes);
    registry.script([
        Fault::new(Kind::Blob, Act::ResetInResponse(5 << 20)),
        Fault::new(Kind::Blob, Act::ResetInResponse(1 << 20)),
    ]);
    let remote = Asker::anybody().telling(hurry.listener()).pulling(&registry);
    let got = download(&remote, &descriptor(&bytes)).await;
    got.result.unwrap();
    assert!(got.bytes == bytes && got.twice == 0);
    assert_eq!(hurry.notices.retries(), 2);
}

#[tokio::test]
async fn a_part_of_another_place_is_refused() {
    let registry = FakeRegistry::start();
    let bytes = noise(LARGE);
    registry.put_blob("team/app", &bytes);
    for range in [
        "bytes 5-16777220/41943040",
        "bytes 0-16777215/41943041",
        "0-16777215",
        "bytes */41943040",
    ] {
        registry.script([Fault::new(
            Kind::Blob,
            Act::Header("content-range", range.to_owned()),
        )]);
        let got = download(&pulling(&registry), &descriptor(&bytes)).await;
        let error = got.result.unwrap_err();
        assert!(
            matches!(error, Error::Protocol { .. } | Error::Size { .. }),
            "{range}: {error:?}"
        );
        assert!(got.bytes.is_empty());
    }
}
