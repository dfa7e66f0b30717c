//! Searching a registry.

use std::time::Duration;

use mica_registry::{Credential, Error, Folders, Hit, Listener, Proxies, Term};
use mica_tests::servers::{Certificate, ConnectProxy, SearchReply, SearchServer};
use serde_json::{Value, json};

use crate::hurry::Hurry;
use crate::setting::{basic, client, client_with, told};

fn found(results: &Value) -> SearchReply {
    let body = json!({"num_results": 2, "page": 1, "query": "x", "results": results});
    SearchReply::Bytes(200, body.to_string().into())
}

fn at(server: &SearchServer, text: &str) -> Term {
    Term::of(&format!("{}/{text}", server.host()))
}

async fn search(server: &SearchServer, limit: u8, credential: &Credential) -> Result<Vec<Hit>, Error> {
    client()
        .search(
            &at(server, "some thing&n=7"),
            limit,
            credential,
            &Listener::deaf(),
        )
        .await
}

#[tokio::test]
async fn what_is_found_is_told() {
    let server = SearchServer::start([found(&json!([
        {"name": "a", "description": "of a", "star_count": 3, "is_official": true, "is_automated": true},
        {"name": "b/c", "description": null, "unknown": {}},
        {"name": "d", "star_count": null, "is_official": null},
    ]))]);
    let hits = search(&server, 2, &Credential::Anonymous).await.unwrap();
    let expected = [
        Hit {
            name: "a".into(),
            description: "of a".into(),
            stars: 3,
            official: true,
        },
        Hit {
            name: "b/c".into(),
            ..Hit::default()
        },
    ];
    assert_eq!(hits, expected, "and no more than was asked for");
    let requests = server.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert_eq!(requests[0].path, "/v1/search?q=some+thing%26n%3D7&n=2");
    assert_eq!(requests[0].authorization, None);
}

#[tokio::test]
async fn a_user_is_known_from_the_start() {
    let server = SearchServer::start([SearchReply::WantsBasic]);
    let hits = search(&server, 5, &basic("me", "secret")).await.unwrap();
    assert_eq!(hits[0].name, "private");
    let shown: Vec<_> = server
        .requests()
        .into_iter()
        .map(|one| one.authorization)
        .collect();
    assert_eq!(shown, [Some("Basic bWU6c2VjcmV0".to_owned())]);
    let refused = search(&server, 5, &Credential::Anonymous).await.unwrap_err();
    let text = told(&refused);
    assert!(
        text.contains("/v1/search answered 401") && text.contains(&server.host()),
        "{text}"
    );
}

#[tokio::test]
async fn nothing_is_shown_where_a_search_leads() {
    let elsewhere = SearchServer::start([found(&json!([]))]);
    let there = format!("http://{}/v1/search", elsewhere.address());
    let server = SearchServer::start([SearchReply::Redirect(there)]);
    let hits = search(&server, 5, &basic("me", "secret")).await.unwrap();
    assert!(hits.is_empty());
    assert_eq!(elsewhere.requests()[0].authorization, None);
    let metadata = "http://169.254.169.254/latest".to_owned();
    let server = SearchServer::start([SearchReply::Redirect(metadata)]);
    let error = search(&server, 5, &Credential::Anonymous).await.unwrap_err();
    assert!(told(&error).contains("link-local"), "{error}");
}

#[tokio::test]
async fn answers_that_make_no_sense_are_told_with_their_registry() {
    let deep = "[".repeat(100_000);
    let flood = format!("{{\"results\":[{{\"name\":\"{}\"}}]}}", "x".repeat(2 << 20));
    for (body, part) in [
        ("", "its search result is none: line 1"),
        ("<html>", "its search result is none: line 1"),
        ("[]", "its search result is none"),
        (r#"{"results":{}}"#, "its search result is none"),
        (r#"{"results":[{"name":1}]}"#, "its search result is none"),
        (
            r#"{"results":[{"star_count":1e400}]}"#,
            "its search result is none",
        ),
        (deep.as_str(), "its search result is none"),
        (flood.as_str(), "is larger than the limit of 1048576 bytes"),
    ] {
        let server = SearchServer::start([SearchReply::Bytes(200, body.into())]);
        let error = search(&server, 5, &Credential::Anonymous).await.unwrap_err();
        let text = told(&error);
        assert!(text.contains(part) && text.contains(&server.host()), "{text}");
        assert!(text.len() < 300, "{text}");
    }
    for body in ["{}", r#"{"results":null}"#] {
        let server = SearchServer::start([SearchReply::Bytes(200, body.into())]);
        assert_eq!(search(&server, 5, &Credential::Anonymous).await.unwrap(), []);
    }
}

#[tokio::test]
async fn what_passes_is_waited_for() {
    let hurry = Hurry::new();
    let server = SearchServer::start([
        SearchReply::Bytes(503, Vec::new()),
        SearchReply::Bytes(429, Vec::new()),
        found(&json!([{"name": "a"}])),
    ]);
    let hits = client()
        .search(&at(&server, "x"), 5, &Credential::Anonymous, &hurry.listener())
        .await;
    assert_eq!(hits.unwrap().len(), 1);
    assert_eq!(hurry.notices.retries(), 2);
}

#[tokio::test]
async fn who_goes_away_is_not_waited_for() {
    let server = SearchServer::start([SearchReply::Never]);
    let (client, term) = (client(), at(&server, "x"));
    let searching = tokio::spawn(async move {
        client
            .search(&term, 5, &Credential::Anonymous, &Listener::deaf())
            .await
    });
    while server.waiting() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    searching.abort();
    while server.waiting() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn docker_hub_is_searched_at_its_index() {
    let certificate = Certificate::for_hosts(&["index.docker.io"]);
    let server = SearchServer::with_tls([found(&json!([{"name": "busybox"}]))], &certificate);
    let proxy = ConnectProxy::start(&[("index.docker.io:443", server.address())]);
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("docker.io");
    fs_err::create_dir(&own).unwrap();
    fs_err::write(own.join("ca.crt"), &certificate.pem).unwrap();
    let folders = Folders {
        certificates: vec![folder.path().to_owned()],
        ..Folders::none()
    };
    let url = proxy.url();
    let proxies = Proxies::from_environment(|name| (name == "HTTPS_PROXY").then(|| url.clone())).unwrap();
    let search = |folders: Folders| {
        let client = client_with(folders, proxies.clone());
        async move {
            client
                .search(
                    &Term::of("library/busybox"),
                    25,
                    &Credential::Anonymous,
                    &Listener::deaf(),
                )
                .await
        }
    };
    assert_eq!(search(folders).await.unwrap()[0].name, "busybox");
    assert_eq!(server.requests()[0].path, "/v1/search?q=busybox&n=25");
    assert_eq!(proxy.asked(), ["index.docker.io:443"]);
    // it is never spoken to without a good certificate
    let error = search(Folders::none()).await.unwrap_err();
    assert!(
        told(&error).contains("cannot reach https://index.docker.io/v1/search"),
        "{error}"
    );
    assert_eq!(server.requests().len(), 1);
}
