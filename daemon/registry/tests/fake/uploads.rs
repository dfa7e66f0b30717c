//! Blobs on their way out.

use mica_registry::Arrival;
use mica_tests::FakeRegistry;

use crate::setting::{noise, pushing};
use crate::source::Memory;

#[tokio::test]
async fn a_known_blob_goes_in_one_put() {
    let registry = FakeRegistry::start();
    let bytes = noise(300_000);
    let source = Memory::known(&bytes);
    let uploaded = pushing(&registry).upload(&source, &[], &|_| ()).await.unwrap();
    assert_eq!(uploaded.arrival, Arrival::Sent);
    assert_eq!(uploaded.content, source.own());
    assert_eq!(uploaded.bytes_sent, 300_000);
    let lines: Vec<String> = registry.requests().iter().map(|one| one.method.clone()).collect();
    assert_eq!(lines, ["HEAD", "POST", "PUT"]);
    let put = &registry.requests()[2];
    assert_eq!((put.content_length, put.status), (Some(300_000), 201));
    assert_eq!(
        registry.blob("team/app", &source.own().digest.to_string()),
        Some(bytes)
    );
}

#[tokio::test]
async fn a_blob_in_the_making_goes_in_one_patch_without_a_range() {
    let registry = FakeRegistry::start();
    let bytes = noise(300_000);
    let source = Memory::unknown(&bytes);
    let uploaded = pushing(&registry).upload(&source, &[], &|_| ()).await.unwrap();
    assert_eq!(uploaded.content, source.own());
    let requests = registry.requests();
    let lines: Vec<&str> = requests.iter().map(|one| one.method.as_str()).collect();
    assert_eq!(lines, ["POST", "PATCH", "PUT"]);
    assert_eq!(requests[1].header("content-range"), None);
    assert_eq!(
        registry.blob("team/app", &source.own().digest.to_string()),
        Some(bytes)
    );
}
