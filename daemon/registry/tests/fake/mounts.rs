//! Blobs taken over from another repository.

use mica_oci::Repository;
use mica_registry::Arrival;
use mica_tests::FakeRegistry;
use mica_tests::registry::{Act, Action, Fault, Kind, Options, Personality, User};

use crate::setting::{Asker, basic, noise, pushing, repository};
use crate::source::Memory;

fn base(registry: &FakeRegistry) -> Repository {
    repository(registry, "team/base")
}

#[tokio::test]
async fn a_blob_of_a_neighbour_is_taken_over_unsent() {
    let registry = FakeRegistry::start();
    let bytes = noise(5000);
    let digest = registry.put_blob("team/base", &bytes);
    let uploaded = pushing(&registry)
        .upload(&Memory::known(&bytes), &[base(&registry)], &|_| ())
        .await
        .unwrap();
    assert_eq!(uploaded.arrival, Arrival::Mounted(base(&registry)));
    assert_eq!(uploaded.bytes_sent, 0);
    assert_eq!(registry.blob("team/app", &digest), Some(bytes));
    let post = &registry.requests_like("POST ")[0];
    assert!(post.query.starts_with("mount=sha256%3A") && post.query.ends_with("&from=team%2Fbase"));
}

#[tokio::test]
async fn the_session_given_in_place_of_a_mount_is_used() {
    let registry = FakeRegistry::start();
    registry.create("team/base");
    let bytes = noise(5000);
    let uploaded = pushing(&registry)
        .upload(&Memory::known(&bytes), &[base(&registry)], &|_| ())
        .await
        .unwrap();
    assert_eq!(uploaded.arrival, Arrival::Sent);
    assert_eq!(registry.requests_like("POST ").len(), 1);
    assert_eq!(registry.open_uploads(), 0);
}

#[tokio::test]
async fn a_mount_that_is_refused_only_means_that_the_blob_is_sent() {
    for code in [400, 401, 403, 404, 405] {
        let registry = FakeRegistry::start();
        let bytes = noise(5000);
        let refused = Act::Answer {
            code,
            headers: vec![],
            body: "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"no\"}]}".to_owned(),
        };
        registry.script([Fault::new(Kind::UploadStart, refused)]);
        let uploaded = pushing(&registry)
            .upload(&Memory::known(&bytes), &[base(&registry)], &|_| ())
            .await
            .unwrap();
        assert_eq!(uploaded.arrival, Arrival::Sent, "{code}");
    }
}

#[tokio::test]
async fn no_more_than_three_neighbours_are_tried() {
    let registry = FakeRegistry::with(Options {
        personality: Personality::Harbor,
        users: vec![User::new("me", "secret").may("team/*", &[Action::Pull, Action::Push])],
        ..Options::default()
    });
    let bytes = noise(5000);
    let others: Vec<Repository> = (0..9)
        .map(|n| repository(&registry, &format!("team/no{n}")))
        .collect();
    let uploaded = Asker::user(basic("me", "secret"))
        .pushing(&registry)
        .upload(&Memory::known(&bytes), &others, &|_| ())
        .await
        .unwrap();
    assert_eq!(uploaded.arrival, Arrival::Sent);
    let mut tried: Vec<String> = registry
        .requests_like("POST ")
        .into_iter()
        .map(|one| one.query)
        .collect();
    tried.retain(|query| query.contains("mount="));
    tried.dedup();
    assert_eq!(tried.len(), 3, "{tried:?}");
}
