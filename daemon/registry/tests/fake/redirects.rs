//! Where a registry leads, and what is shown there.

use mica_oci::Digest;
use mica_registry::Error;
use mica_tests::FakeRegistry;
use mica_tests::registry::{Act, Action, Fault, Kind, Options, Personality, User};

use crate::hurry::Hurry;
use crate::pieces::download;
use crate::setting::{Asker, basic, descriptor, noise, pulling, told};

fn ghcr() -> FakeRegistry {
    FakeRegistry::with(Options {
        personality: Personality::Ghcr,
        users: vec![User::new("me", "pat").may("team/*", &[Action::Pull, Action::Push])],
        ..Options::default()
    })
}

#[tokio::test]
async fn a_blob_elsewhere_is_asked_for_without_authorization() {
    let registry = ghcr();
    let bytes = noise(300_000);
    registry.put_blob("team/app", &bytes);
    let got = download(
        &Asker::user(basic("me", "pat")).pulling(&registry),
        &descriptor(&bytes),
    )
    .await;
    got.result.unwrap();
    assert_eq!(got.bytes, bytes);
    let stored: Vec<_> = registry
        .requests()
        .into_iter()
        .filter(|one| one.elsewhere)
        .collect();
    assert_eq!((stored.len(), stored[0].status), (1, 200));
    assert_eq!(stored[0].authorization, None);
}

#[tokio::test]
async fn what_breaks_elsewhere_begins_at_the_registry_again() {
    let hurry = Hurry::new();
    let registry = ghcr();
    let bytes = noise(300_000);
    registry.put_blob("team/app", &bytes);
    registry.script([Fault::new(Kind::Stored, Act::ResetInResponse(100_000))]);
    let remote = Asker::user(basic("me", "pat"))
        .telling(hurry.listener())
        .pulling(&registry);
    let got = download(&remote, &descriptor(&bytes)).await;
    got.result.unwrap();
    assert_eq!((got.bytes == bytes, got.twice), (true, 0));
    let asked = registry.requests_like("GET /v2/team/app/blobs/");
    assert_eq!(asked.iter().filter(|one| one.status == 307).count(), 2);
    assert!(registry.requests().last().unwrap().elsewhere);
}

#[tokio::test]
async fn an_index_and_a_manifest_may_lie_elsewhere_too() {
    let registry = FakeRegistry::start();
    registry.image("team/app", Some("1"), &[noise(100)]);
    registry.image("team/moved", Some("1"), &[noise(100)]);
    let to = format!("http://{}/v2/team/moved/manifests/1", registry.host());
    registry.script([Fault::new(Kind::Manifest, Act::Redirect(to))]);
    pulling(&registry)
        .manifest(&crate::manifests::tag("1"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_redirect_to_a_private_address_is_refused() {
    let registry = FakeRegistry::start();
    let bytes = noise(1000);
    registry.put_blob("team/app", &bytes);
    for to in [
        "http://10.0.0.1/blob",
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:10.0.0.1]/",
        "http://user:pass@127.0.0.1/",
    ] {
        registry.script([Fault::new(Kind::Blob, Act::Redirect(to.to_owned()))]);
        let error = download(&pulling(&registry), &descriptor(&bytes))
            .await
            .result
            .unwrap_err();
        assert!(matches!(error, Error::Host(_)), "{to}: {error:?}");
    }
    registry.script([Fault::new(
        Kind::Blob,
        Act::Redirect("file:///etc/passwd".to_owned()),
    )]);
    assert!(
        download(&pulling(&registry), &descriptor(&bytes))
            .await
            .result
            .is_err()
    );
}

#[tokio::test]
async fn redirects_without_an_end_are_given_up() {
    let registry = FakeRegistry::start();
    let bytes = noise(1000);
    let digest = registry.put_blob("team/app", &bytes);
    let to = format!("/v2/team/app/blobs/{digest}");
    registry.script((0..30).map(|_| Fault::new(Kind::Blob, Act::Redirect(to.clone()))));
    let error = download(&pulling(&registry), &descriptor(&bytes))
        .await
        .result
        .unwrap_err();
    assert!(matches!(error, Error::Redirects { .. }), "{error:?}");
    assert!(registry.requests().len() <= 12);
}

#[tokio::test]
async fn a_foreign_layer_comes_from_its_own_address_unauthorized() {
    let registry = ghcr();
    let elsewhere = FakeRegistry::start();
    let bytes = noise(5000);
    let digest = elsewhere.put_blob("win/base", &bytes);
    let mut layer = descriptor(&bytes);
    layer.urls = vec![format!("http://{}/v2/win/base/blobs/{digest}", elsewhere.host())];
    let got = download(&Asker::user(basic("me", "pat")).pulling(&registry), &layer).await;
    got.result.unwrap();
    assert_eq!(got.bytes, bytes);
    assert!(registry.requests().is_empty());
    assert!(elsewhere.requests().iter().all(|one| one.authorization.is_none()));
    // what is not there is looked for at the registry; metadata services are not asked
    registry.put_blob("team/app", &bytes);
    layer.urls = vec![
        "http://169.254.169.254/latest".to_owned(),
        "file:///etc/passwd".to_owned(),
    ];
    let got = download(&Asker::user(basic("me", "pat")).pulling(&registry), &layer).await;
    got.result.unwrap();
    assert_eq!(Digest::of(&got.bytes), layer.digest);
}

#[tokio::test]
async fn signed_addresses_are_in_no_error() {
    let registry = ghcr();
    let bytes = noise(1000);
    registry.put_blob("team/app", &bytes);
    let denied = Act::Answer {
        code: 403,
        headers: vec![],
        body: "<?xml version=\"1.0\"?><Error/>".to_owned(),
    };
    registry.script([Fault::new(Kind::Stored, denied)]);
    let got = download(
        &Asker::user(basic("me", "pat")).pulling(&registry),
        &descriptor(&bytes),
    )
    .await;
    let text = told(&got.result.unwrap_err());
    assert!(!text.contains("sig=") && !text.contains("<?xml"), "{text}");
}

#[tokio::test]
async fn another_registry_that_wants_a_token_gets_one_for_nobody() {
    let here = ghcr();
    let there = FakeRegistry::with(Options {
        personality: Personality::Ghcr,
        public: vec!["moved/*".to_owned()],
        ..Options::default()
    });
    let image = there.image("moved/app", Some("1"), &[noise(100)]);
    here.create("team/app");
    let to = format!("http://{}/v2/moved/app/manifests/1", there.host());
    here.script([Fault::new(Kind::Manifest, Act::Redirect(to))]);
    let remote = Asker::user(basic("me", "pat")).pulling(&here);
    let fetched = remote.manifest(&crate::manifests::tag("1")).await.unwrap();
    assert_eq!(fetched.digest.to_string(), image.manifest.digest);
    let shown: Vec<Option<String>> = there
        .requests()
        .into_iter()
        .map(|one| one.authorization)
        .collect();
    assert_eq!(shown, [None, None, Some("Bearer".to_owned())]);
    assert!(!there.requests_like("GET /token")[0].query.contains("account"));
}
