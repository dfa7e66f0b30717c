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
