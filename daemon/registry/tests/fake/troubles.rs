//! Uploads that go wrong.

use mica_registry::{Arrival, Content, Error, Later, Notice, Source, Uploaded};
use mica_tests::FakeRegistry;
use mica_tests::registry::{Act, Fault, Kind, Options, Request};
use reqwest::Method;

use crate::hurry::Hurry;
use crate::setting::{Asker, noise};
use crate::source::Memory;

fn status(code: u16, retry_after: Option<&str>) -> Act {
    Act::Status {
        code,
        retry_after: retry_after.map(str::to_owned),
    }
}

/// Uploads a blob to a registry with these faults.
async fn sent(hurry: &Hurry, registry: &FakeRegistry, source: &Memory) -> Result<Uploaded, Error> {
    let remote = Asker::anybody().telling(hurry.listener()).pushing(registry);
    remote.upload(source, &[], &|_| ()).await
}

fn methods(registry: &FakeRegistry) -> Vec<String> {
    registry.requests().into_iter().map(|one| one.method).collect()
}

fn bytes_in(registry: &FakeRegistry) -> u64 {
    registry.requests().iter().map(|one: &Request| one.bytes_in).sum()
}

#[tokio::test]
async fn a_lost_created_costs_no_second_transfer() {
    let hurry = Hurry::new();
    let registry = FakeRegistry::start();
    registry.script([Fault::new(Kind::UploadPut, Act::LostReply)]);
    let bytes = noise(500_000);
    let uploaded = sent(&hurry, &registry, &Memory::known(&bytes)).await.unwrap();
    assert_eq!(uploaded.arrival, Arrival::Sent);
    assert_eq!((uploaded.bytes_sent, bytes_in(&registry)), (500_000, 500_000));
    assert_eq!(methods(&registry), ["HEAD", "POST", "PUT", "HEAD"]);
}

#[tokio::test]
async fn what_fails_in_passing_is_sent_again_from_a_new_session() {
    let hurry = Hurry::new();
    for (kind, act) in [
        (Kind::UploadStart, status(503, None)),
        (Kind::UploadStart, Act::LostReply),
        (Kind::UploadPut, status(500, None)),
        (Kind::UploadPut, status(429, Some("2"))),
        (Kind::UploadPut, status(408, None)),
        (Kind::UploadPut, Act::UploadUnknown),
        (Kind::UploadPut, Act::ResetInRequest(100_000)),
    ] {
        hurry.notices.clear();
        let registry = FakeRegistry::start();
        registry.script([Fault::new(kind, act.clone())]);
        let source = Memory::known(&noise(300_000));
        let uploaded = sent(&hurry, &registry, &source).await;
        uploaded.unwrap_or_else(|error| panic!("{act:?}: {error}"));
        assert_eq!(hurry.notices.retries(), 1, "{act:?}");
        let digest = source.own().digest.to_string();
        assert!(registry.blob("team/app", &digest).is_some(), "{act:?}");
    }
}

#[tokio::test]
async fn a_blob_in_the_making_is_sent_again_as_well() {
    let hurry = Hurry::new();
    for (kind, act) in [
        (Kind::UploadPatch, Act::ResetInRequest(100_000)),
        (Kind::UploadPatch, Act::LostReply),
        (Kind::UploadPatch, status(502, None)),
        (Kind::UploadPut, Act::UploadUnknown),
    ] {
        hurry.notices.clear();
        let registry = FakeRegistry::start();
        registry.script([Fault::new(kind, act.clone())]);
        let source = Memory::unknown(&noise(300_000));
        let uploaded = sent(&hurry, &registry, &source).await;
        uploaded.unwrap_or_else(|error| panic!("{act:?}: {error}"));
        assert_eq!(hurry.notices.retries(), 1, "{act:?}");
    }
}

#[tokio::test]
async fn what_will_not_change_is_not_tried_again() {
    let hurry = Hurry::new();
    for (code, error) in [
        (400, "DIGEST_INVALID"),
        (400, "SIZE_INVALID"),
        (400, "NAME_INVALID"),
        (403, "DENIED"),
        (404, "NAME_UNKNOWN"),
        (413, "SIZE_INVALID"),
    ] {
        hurry.notices.clear();
        let registry = FakeRegistry::start();
        let refused = Act::Answer {
            code,
            headers: vec![],
            body: format!("{{\"errors\":[{{\"code\":\"{error}\",\"message\":\"no\"}}]}}"),
        };
        registry.script([Fault::new(Kind::UploadPut, refused)]);
        let result = sent(&hurry, &registry, &Memory::known(&noise(1000))).await;
        assert!(result.unwrap_err().refusal().unwrap().has_code(error));
        assert_eq!(hurry.notices.retries(), 0, "{error}");
    }
}

#[tokio::test]
async fn tries_come_to_an_end_and_the_reason_is_told() {
    let hurry = Hurry::new();
    let registry = FakeRegistry::start();
    registry.script((0..50).map(|_| Fault::new(Kind::UploadPut, status(503, None))));
    let error = sent(&hurry, &registry, &Memory::known(&noise(1000)))
        .await
        .unwrap_err();
    assert_eq!(error.refusal().unwrap().status, 503);
    assert_eq!(registry.requests_like("PUT ").len(), 6);
}

#[tokio::test]
async fn a_quota_is_told_at_once() {
    let hurry = Hurry::new();
    let registry = FakeRegistry::start();
    registry.image("team/app", Some("1"), &[noise(10)]);
    let quota = Act::Answer {
        code: 429,
        headers: vec![],
        body: "{\"errors\":[{\"code\":\"TOOMANYREQUESTS\",\"message\":\"You have reached your limit: https://www.docker.com/increase-rate-limit\"}]}".to_owned(),
    };
    registry.script([Fault::new(Kind::Manifest, quota)]);
    let remote = Asker::anybody().telling(hurry.listener()).pulling(&registry);
    let error = remote.manifest(&crate::manifests::tag("1")).await.unwrap_err();
    assert!(error.refusal().unwrap().is_quota());
    assert_eq!(hurry.notices.retries(), 0);
}

#[tokio::test]
async fn a_registry_that_refuses_put_gets_patch_from_then_on() {
    let hurry = Hurry::new();
    let registry = FakeRegistry::with(Options {
        personality: mica_tests::registry::Personality::Quay,
        door: Some(mica_tests::registry::Door::Open),
        ..Options::default()
    });
    let remote = Asker::anybody().telling(hurry.listener()).pushing(&registry);
    for n in 1..3 {
        let source = Memory::known(&noise(1000 * n));
        remote.upload(&source, &[], &|_| ()).await.unwrap();
        assert!(
            registry
                .blob("team/app", &source.own().digest.to_string())
                .is_some()
        );
    }
    let mut sending = methods(&registry);
    sending.retain(|method| matches!(method.as_str(), "PUT" | "PATCH"));
    assert_eq!(sending, ["PUT", "PATCH", "PUT", "PATCH", "PUT"]);
}

#[tokio::test]
async fn a_blob_by_chance_arrives_by_patience() {
    let hurry = Hurry::new();
    let registry = FakeRegistry::start();
    registry.random(7, 0.1);
    for n in 0..40 {
        let known = n % 2 == 0;
        let bytes = noise(20_000 + n * 777);
        let source = if known {
            Memory::known(&bytes)
        } else {
            Memory::unknown(&bytes)
        };
        sent(&hurry, &registry, &source).await.unwrap();
        assert_eq!(
            registry.blob("team/app", &source.own().digest.to_string()),
            Some(bytes)
        );
    }
    assert!(hurry.notices.retries() > 0);
}

#[tokio::test]
async fn a_dead_session_is_given_back() {
    let hurry = Hurry::new();
    let registry = FakeRegistry::start();
    registry.script([Fault::new(Kind::UploadPut, status(500, None)).only(Method::PUT)]);
    sent(&hurry, &registry, &Memory::known(&noise(1000)))
        .await
        .unwrap();
    for _ in 0..6000 {
        if registry.open_uploads() == 0 {
            break;
        }
        tokio::task::yield_now().await;
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(registry.open_uploads(), 0);
    assert_eq!(registry.requests_like("DELETE ").len(), 1);
}

#[tokio::test]
async fn a_registry_is_waited_for_as_long_as_it_asks() {
    let hurry = Hurry::new();
    let registry = FakeRegistry::start();
    registry.image("team/app", Some("1"), &[noise(10)]);
    let remote = Asker::anybody().telling(hurry.listener()).pulling(&registry);
    for (asked, least, most) in [("7", 7.0, 9.0), ("0", 1.0, 1.5), ("86400", 60.0, 76.0)] {
        hurry.notices.clear();
        registry.script([Fault::new(Kind::Manifest, status(429, Some(asked)))]);
        remote.manifest(&crate::manifests::tag("1")).await.unwrap();
        let [Notice::Retry { pause, .. }] = &hurry.notices.all()[..] else {
            panic!("{:?}", hurry.notices.all());
        };
        let pause = pause.as_secs_f64();
        assert!((least..=most).contains(&pause), "{asked}: {pause}");
    }
}

#[tokio::test]
async fn a_registry_that_keeps_other_bytes_is_not_believed() {
    let hurry = Hurry::new();
    for source in [Memory::known(&noise(1000)), Memory::unknown(&noise(1000))] {
        let registry = FakeRegistry::start();
        registry.script([Fault::new(Kind::UploadPut, Act::WrongDigestHeader)]);
        let result = sent(&hurry, &registry, &source).await;
        assert!(matches!(result, Err(Error::Digest { .. })), "{result:?}");
    }
}

#[tokio::test]
async fn a_source_that_fails_says_so_itself() {
    struct Broken;
    impl Source for Broken {
        fn content(&self) -> Option<Content> {
            None
        }
        fn open(&self) -> tokio::sync::mpsc::Receiver<std::io::Result<bytes::Bytes>> {
            let (sender, receiver) = tokio::sync::mpsc::channel(2);
            sender.try_send(Ok(bytes::Bytes::from_static(b"some"))).unwrap();
            sender
                .try_send(Err(std::io::Error::other("the disk is gone")))
                .unwrap();
            receiver
        }
        fn complete(&self) -> Later<'_, std::io::Result<Content>> {
            Box::pin(async { Err(std::io::Error::other("never")) })
        }
    }
    let registry = FakeRegistry::start();
    let remote = Asker::anybody().pushing(&registry);
    let error = remote.upload(&Broken, &[], &|_| ()).await.unwrap_err();
    assert!(
        matches!(&error, Error::Source(source) if source.to_string() == "the disk is gone"),
        "{error:?}"
    );
}
