//! Manifests, their digests and limits; tags.

use bytes::Bytes;
use mica_oci::Digest;
use mica_registry::{Error, Notice, Which};
use mica_tests::FakeRegistry;
use mica_tests::registry::{Act, Fault, Kind, Options, Personality};
use reqwest::Method;

use crate::hurry::Hurry;
use crate::setting::{Asker, noise, pulling, pushing, told};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

pub(crate) fn tag(text: &str) -> Which {
    Which::Tag(mica_oci::Tag::new(text).unwrap())
}

fn with_image() -> (FakeRegistry, Digest) {
    let registry = FakeRegistry::start();
    let image = registry.image("team/app", Some("1"), &[noise(1000)]);
    let digest = image.manifest.digest.parse().unwrap();
    (registry, digest)
}

#[tokio::test]
async fn a_tag_is_fetched_in_one_round_trip() {
    let (registry, digest) = with_image();
    let fetched = pulling(&registry).manifest(&tag("1")).await.unwrap();
    assert_eq!(fetched.digest, digest);
    assert_eq!(fetched.content_type.as_deref(), Some(OCI));
    let requests = registry.requests();
    assert_eq!(requests.len(), 1);
    let accept = requests[0].header("accept").unwrap();
    for kind in [
        "image.index.v1",
        "image.manifest.v1",
        "manifest.list.v2",
        "distribution.manifest.v2",
    ] {
        assert!(accept.contains(kind), "{accept}");
    }
}

#[tokio::test]
async fn a_manifest_that_is_not_what_its_digest_says_is_refused() {
    let (registry, digest) = with_image();
    for (which, act) in [
        (Which::Digest(digest), Act::WrongBody),
        (tag("1"), Act::WrongBody),
        (tag("1"), Act::WrongDigestHeader),
        (Which::Digest(digest), Act::LongBody),
        (Which::Digest(digest), Act::ShortBody),
    ] {
        registry.script([Fault::new(Kind::Manifest, act.clone())]);
        let error = pulling(&registry).manifest(&which).await.unwrap_err();
        assert!(matches!(error, Error::Digest { .. }), "{act:?}: {error:?}");
    }
    // what the registry says of another digest does not matter if the bytes are right
    registry.script([Fault::new(Kind::Manifest, Act::WrongDigestHeader)]);
    pulling(&registry).manifest(&Which::Digest(digest)).await.unwrap();
}

#[tokio::test]
async fn a_manifest_of_five_mebibytes_is_refused() {
    let (registry, _) = with_image();
    registry.script([Fault::new(Kind::Manifest, Act::HugeManifest)]);
    let error = pulling(&registry).manifest(&tag("1")).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
}

#[tokio::test]
async fn a_manifest_whose_answer_broke_is_asked_for_again() {
    let hurry = Hurry::new();
    let (registry, digest) = with_image();
    registry.script([Fault::new(Kind::Manifest, Act::ResetInResponse(10))]);
    let remote = Asker::anybody().telling(hurry.listener()).pulling(&registry);
    assert_eq!(remote.manifest(&tag("1")).await.unwrap().digest, digest);
    assert_eq!(hurry.notices.retries(), 1);
}

#[tokio::test]
async fn what_is_there_is_told_by_head_alone() {
    let (registry, digest) = with_image();
    let described = pulling(&registry).describe(&tag("1")).await.unwrap().unwrap();
    assert_eq!(described.digest, digest);
    let (_, bytes) = registry.manifest("team/app", "1").unwrap();
    assert_eq!(described.size, bytes.len() as u64);
    assert_eq!(pulling(&registry).describe(&tag("2")).await.unwrap(), None);
    assert!(registry.requests_like("GET ").is_empty());
}

#[tokio::test]
async fn where_head_is_not_taken_get_tells() {
    let (registry, digest) = with_image();
    let answer = |code| Act::Answer {
        code,
        headers: vec![],
        body: String::new(),
    };
    for act in [answer(405), Act::Header("docker-content-digest", String::new())] {
        registry.script([Fault::new(Kind::Manifest, act).only(Method::HEAD)]);
        let described = pulling(&registry).describe(&tag("1")).await.unwrap().unwrap();
        assert_eq!(described.digest, digest);
    }
}

#[tokio::test]
async fn a_manifest_is_put_byte_for_byte_and_its_digest_compared() {
    let registry = FakeRegistry::start();
    let image = registry.image("team/app", None, &[noise(1000)]);
    let (_, bytes) = registry.manifest("team/app", &image.manifest.digest).unwrap();
    let remote = pushing(&registry);
    for name in ["1", "2"] {
        let digest = remote.put_manifest(&tag(name), OCI, bytes.clone()).await.unwrap();
        assert_eq!(digest.to_string(), image.manifest.digest);
        assert_eq!(
            registry.manifest("team/app", name).unwrap(),
            (OCI.to_owned(), bytes.clone())
        );
        registry.whole("team/app", name).unwrap();
    }
    assert_eq!(registry.requests().len(), 2);
    registry.script([Fault::new(Kind::Manifest, Act::WrongDigestHeader)]);
    let error = remote.put_manifest(&tag("3"), OCI, bytes).await.unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error:?}");
}

#[tokio::test]
async fn a_manifest_whose_blob_is_missing_is_refused_with_the_code() {
    let registry = FakeRegistry::start();
    let image = registry.image("other/app", None, &[noise(1000)]);
    let (_, bytes) = registry.manifest("other/app", &image.manifest.digest).unwrap();
    let error = pushing(&registry)
        .put_manifest(&tag("1"), OCI, bytes)
        .await
        .unwrap_err();
    assert!(
        error.refusal().unwrap().has_code("MANIFEST_BLOB_UNKNOWN"),
        "{error}"
    );
}

#[tokio::test]
async fn the_lost_answer_to_a_manifest_is_asked_for_again() {
    let hurry = Hurry::new();
    let registry = FakeRegistry::start();
    let image = registry.image("team/app", None, &[noise(1000)]);
    let (_, bytes) = registry.manifest("team/app", &image.manifest.digest).unwrap();
    registry.script([Fault::new(Kind::Manifest, Act::LostReply).only(Method::PUT)]);
    let remote = Asker::anybody().telling(hurry.listener()).pushing(&registry);
    remote.put_manifest(&tag("1"), OCI, bytes).await.unwrap();
    registry.whole("team/app", "1").unwrap();
}

fn with_tags(count: usize, personality: Personality) -> FakeRegistry {
    let registry = FakeRegistry::with(Options {
        personality,
        public: vec!["*".to_owned()],
        ..Options::default()
    });
    for n in 0..count {
        registry.put_manifest("team/app", Some(&format!("t{n:04}")), OCI, b"{}");
    }
    registry
}

#[tokio::test]
async fn tags_come_from_all_pages_in_order() {
    let registry = with_tags(250, Personality::Ghcr);
    let tags = pulling(&registry).tags().await.unwrap();
    let expected: Vec<String> = (0..250).map(|n| format!("t{n:04}")).collect();
    let names: Vec<&str> = tags.iter().map(mica_oci::Tag::as_str).collect();
    assert_eq!(names, expected);
    let pages = registry.requests_like("GET /v2/team/app/tags/list");
    let queries: Vec<&str> = pages
        .iter()
        .filter(|one| one.status == 200)
        .map(|one| one.query.as_str())
        .collect();
    assert_eq!(queries, ["n=1000", "last=t0099&n=100", "last=t0199&n=100"]);
}

#[tokio::test]
async fn a_next_page_on_another_host_is_refused() {
    let registry = with_tags(3, Personality::Plain);
    let link = "<http://127.0.0.1:1/v2/team/app/tags/list?last=a>; rel=\"next\"";
    registry.script([Fault::new(Kind::Tags, Act::Header("link", link.to_owned()))]);
    let error = pulling(&registry).tags().await.unwrap_err();
    assert!(told(&error).contains("another host"), "{error}");
}

#[tokio::test]
async fn a_next_page_that_brings_nothing_new_is_the_last() {
    let registry = with_tags(3, Personality::Plain);
    let link = "</v2/team/app/tags/list?last=t0001>; rel=next";
    registry.script((0..50).map(|_| Fault::new(Kind::Tags, Act::Header("link", link.to_owned()))));
    let tags = pulling(&registry).tags().await.unwrap();
    assert!(tags.len() >= 3);
    assert!(registry.requests().len() < 10, "{}", registry.requests().len());
}

#[tokio::test]
async fn a_warning_is_passed_on_once() {
    let hurry = Hurry::new();
    let (registry, _) = with_image();
    let warning = Act::Header("warning", "299 - \"this registry closes soon\"".to_owned());
    let other = Act::Header("warning", "299 - \"and that is final\"".to_owned());
    registry.script([&warning, &warning, &other].map(|act| Fault::new(Kind::Manifest, act.clone())));
    let remote = Asker::anybody().telling(hurry.listener()).pulling(&registry);
    for _ in 0..3 {
        remote.manifest(&tag("1")).await.unwrap();
    }
    assert_eq!(registry.faults_left(), 0);
    assert_eq!(
        hurry.notices.all(),
        ["this registry closes soon", "and that is final"].map(|text| Notice::Warning(text.to_owned()))
    );
}

#[tokio::test]
async fn old_manifests_come_as_they_are_called() {
    let registry = FakeRegistry::start();
    registry.schema1("team/app", "old");
    let fetched = pulling(&registry).manifest(&tag("old")).await.unwrap();
    assert_eq!(
        fetched.content_type.as_deref(),
        Some("application/vnd.docker.distribution.manifest.v1+prettyjws")
    );
    assert_eq!(Digest::of(&fetched.bytes), fetched.digest);
    let _: Bytes = fetched.bytes;
}
