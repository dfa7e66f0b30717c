//! Blobs on their way out.

use mica_registry::{Arrival, Error};
use mica_tests::FakeRegistry;
use mica_tests::registry::{Act, Action, Fault, Kind, Options, Personality, User};

use crate::pieces::download;
use crate::setting::{Asker, basic, descriptor, noise, pushing};
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

#[tokio::test]
async fn what_is_there_is_not_sent() {
    let registry = FakeRegistry::start();
    let bytes = noise(1000);
    registry.put_blob("team/app", &bytes);
    let uploaded = pushing(&registry)
        .upload(&Memory::known(&bytes), &[], &|_| ())
        .await
        .unwrap();
    assert_eq!((uploaded.arrival, uploaded.bytes_sent), (Arrival::Present, 0));
    assert_eq!(registry.requests().len(), 1);
}

/// Every registry there is takes a blob that is known and one that is not, and gives them back.
#[tokio::test]
async fn every_personality_takes_and_gives_blobs() {
    for personality in [
        Personality::Plain,
        Personality::Ghcr,
        Personality::DockerHub,
        Personality::Ecr,
        Personality::Acr,
        Personality::GitLab,
        Personality::Harbor,
        Personality::Quay,
        Personality::Gar,
    ] {
        let registry = FakeRegistry::with(Options {
            personality,
            users: vec![User::new("me", "secret").may("team/*", &[Action::Pull, Action::Push])],
            ..Options::default()
        });
        registry.create("team/app");
        let me = Asker::user(basic("me", "secret"));
        let remote = me.pushing(&registry);
        let (known, unknown) = (noise(40_000), noise(50_000));
        let mut sources = vec![Memory::known(&known)];
        // Google documents no other way than one PUT
        if personality != Personality::Gar {
            sources.push(Memory::unknown(&unknown));
        }
        for source in sources {
            let uploaded = remote.upload(&source, &[], &|_| ()).await;
            let uploaded = uploaded.unwrap_or_else(|error| panic!("{personality:?}: {error}"));
            assert_eq!(uploaded.content, source.own(), "{personality:?}");
        }
        let got = download(&me.pulling(&registry), &descriptor(&known)).await;
        got.result
            .unwrap_or_else(|error| panic!("{personality:?}: {error}"));
        assert_eq!(got.bytes, known, "{personality:?}");
        assert_eq!(registry.open_uploads(), 0, "{personality:?}");
    }
}

#[tokio::test]
async fn a_session_on_another_host_gets_no_authorization() {
    let registry = FakeRegistry::with(Options {
        users: vec![User::new("me", "secret").may("team/*", &[Action::Pull, Action::Push])],
        ..Options::default()
    });
    let location = format!("http://{}/u?x=1", registry.storage_host());
    let session = Act::Answer {
        code: 202,
        headers: vec![("location", location)],
        body: String::new(),
    };
    registry.script([Fault::new(Kind::UploadStart, session)]);
    let remote = Asker::user(basic("me", "secret")).pushing(&registry);
    let bytes = noise(1000);
    let error = remote.upload(&Memory::known(&bytes), &[], &|_| ()).await;
    // nothing takes it there
    assert_eq!(error.unwrap_err().refusal().unwrap().status, 404);
    let there: Vec<_> = registry
        .requests()
        .into_iter()
        .filter(|one| one.elsewhere)
        .collect();
    assert!(there[0].query.starts_with("x=1&digest=sha256%3A"), "{there:?}");
    assert!(there.iter().all(|one| one.authorization.is_none()));
}

#[tokio::test]
async fn a_session_on_a_private_address_is_refused() {
    let registry = FakeRegistry::start();
    let session = Act::Answer {
        code: 202,
        headers: vec![("location", "http://169.254.169.254/u".to_owned())],
        body: String::new(),
    };
    registry.script([Fault::new(Kind::UploadStart, session)]);
    let error = pushing(&registry)
        .upload(&Memory::known(b"x"), &[], &|_| ())
        .await;
    assert!(matches!(error, Err(Error::Host(_))), "{error:?}");
}
