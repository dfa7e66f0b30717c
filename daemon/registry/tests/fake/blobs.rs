//! Blobs on their way here.

use mica_registry::Error;
use mica_tests::FakeRegistry;
use mica_tests::registry::{Act, Fault, Kind};

use crate::hurry::Hurry;
use crate::pieces::{download, download_from};
use crate::setting::{Asker, descriptor, noise, pulling};

#[tokio::test]
async fn a_blob_comes_whole() {
    let registry = FakeRegistry::start();
    let bytes = noise(300_000);
    registry.put_blob("team/app", &bytes);
    let got = download(&pulling(&registry), &descriptor(&bytes)).await;
    got.result.unwrap();
    assert_eq!(got.bytes, bytes);
    let asked = registry.requests_like("GET /v2/team/app/blobs/");
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("accept-encoding"), Some("identity"));
    assert_eq!(asked[0].range, None);
}

#[tokio::test]
async fn a_blob_is_taken_up_where_it_was_left() {
    let registry = FakeRegistry::start();
    let bytes = noise(300_000);
    registry.put_blob("team/app", &bytes);
    let got = download_from(&pulling(&registry), &descriptor(&bytes), 200_000).await;
    got.result.unwrap();
    assert_eq!(got.bytes[200_000..], bytes[200_000..]);
    let asked = registry.requests_like("GET /v2/team/app/blobs/");
    assert_eq!(asked[0].range.as_deref(), Some("bytes=200000-299999"));
    assert_eq!(asked[0].bytes_out, 100_000);
}

#[tokio::test]
async fn a_blob_is_taken_up_after_the_connection_broke() {
    let hurry = Hurry::new();
    let registry = FakeRegistry::start();
    let bytes = noise(300_000);
    registry.put_blob("team/app", &bytes);
    registry.script([Fault::new(Kind::Blob, Act::ResetInResponse(100_000))]);
    let remote = Asker::anybody().telling(hurry.listener()).pulling(&registry);
    let got = download(&remote, &descriptor(&bytes)).await;
    got.result.unwrap();
    assert_eq!(got.bytes, bytes);
    assert_eq!((got.twice, hurry.notices.retries()), (0, 1));
    let asked = registry.requests_like("GET /v2/team/app/blobs/");
    assert_eq!(asked.len(), 2);
    assert!(
        asked[1].range.as_deref().unwrap().starts_with("bytes="),
        "{asked:?}"
    );
}

#[tokio::test]
async fn more_bytes_than_promised_are_refused() {
    let registry = FakeRegistry::start();
    let bytes = noise(10_000);
    registry.put_blob("team/app", &bytes);
    registry.script([Fault::new(Kind::Blob, Act::LongBody)]);
    let got = download(&pulling(&registry), &descriptor(&bytes)).await;
    assert!(matches!(got.result, Err(Error::Size { .. })), "{:?}", got.result);
    assert!(got.bytes.len() <= bytes.len());
}

#[tokio::test]
async fn a_blob_that_ends_early_is_taken_up_and_given_up_in_the_end() {
    let hurry = Hurry::new();
    let registry = FakeRegistry::start();
    let bytes = noise(10_000);
    registry.put_blob("team/app", &bytes);
    let remote = Asker::anybody().telling(hurry.listener()).pulling(&registry);
    registry.script([Fault::new(Kind::Blob, Act::ShortBody)]);
    let got = download(&remote, &descriptor(&bytes)).await;
    got.result.unwrap();
    assert_eq!((got.bytes == bytes, got.twice), (true, 0));
    registry.script((0..20).map(|_| Fault::new(Kind::Blob, Act::ResetInResponse(0))));
    let got = download(&remote, &descriptor(&bytes)).await;
    assert!(got.result.is_err());
    assert!(registry.requests().len() <= 10);
}

#[tokio::test]
async fn where_a_range_is_ignored_what_is_known_is_passed_over() {
    let hurry = Hurry::new();
    let registry = FakeRegistry::start();
    let bytes = noise(300_000);
    registry.put_blob("team/app", &bytes);
    registry.script([
        Fault::new(Kind::Blob, Act::ResetInResponse(100_000)),
        Fault::new(Kind::Blob, Act::IgnoreRange),
    ]);
    let remote = Asker::anybody().telling(hurry.listener()).pulling(&registry);
    let got = download(&remote, &descriptor(&bytes)).await;
    got.result.unwrap();
    assert_eq!((got.bytes == bytes, got.twice), (true, 0));
}

#[tokio::test]
async fn what_a_proxy_packed_is_unpacked() {
    let registry = FakeRegistry::start();
    let bytes: Vec<u8> = noise(1000).repeat(300);
    registry.put_blob("team/app", &bytes);
    registry.script([Fault::new(Kind::Blob, Act::Gzip)]);
    let got = download(&pulling(&registry), &descriptor(&bytes)).await;
    got.result.unwrap();
    assert!(got.bytes == bytes);
    assert!(registry.requests()[0].bytes_out < 300_000);
}

#[tokio::test]
async fn a_small_blob_is_checked_against_its_digest() {
    let registry = FakeRegistry::start();
    let bytes = noise(5000);
    registry.put_blob("team/app", &bytes);
    let blob = descriptor(&bytes);
    let remote = pulling(&registry);
    assert_eq!(remote.read_blob(&blob, 8192).await.unwrap(), bytes);
    let error = remote.read_blob(&blob, 4096).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
    registry.script([Fault::new(Kind::Blob, Act::WrongBody)]);
    let error = remote.read_blob(&blob, 8192).await.unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error:?}");
}

#[tokio::test]
async fn a_download_nobody_wants_ends() {
    let registry = FakeRegistry::start();
    let bytes = noise(3_000_000);
    registry.put_blob("team/app", &bytes);
    let (sender, pieces) = tokio::sync::mpsc::channel(1);
    drop(pieces);
    let blob = descriptor(&bytes);
    let whole = 0..blob.size;
    let result = pulling(&registry)
        .download(&blob, std::slice::from_ref(&whole), &sender)
        .await;
    assert!(matches!(result, Err(Error::Unwanted)), "{result:?}");
    assert_eq!(registry.requests().len(), 1);
}

#[tokio::test]
async fn a_blob_that_is_not_there_is_told_with_the_code() {
    let registry = FakeRegistry::start();
    let got = download(&pulling(&registry), &descriptor(b"nowhere")).await;
    let error = got.result.unwrap_err();
    assert!(error.refusal().unwrap().has_code("BLOB_UNKNOWN"), "{error}");
    assert_eq!(registry.requests().len(), 1);
}
