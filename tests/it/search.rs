//! Searching a registry, as clients of the daemon do it.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use mica_tests::Daemon;
use mica_tests::servers::{SearchReply, SearchServer};
use serde_json::json;

fn hits() -> SearchReply {
    let hit = |name: &str, stars: i64, official: bool| {
        json!({
            "name": name, "description": "d", "star_count": stars, "is_official": official,
            "is_automated": true, "is_trusted": false,
        })
    };
    let results = [
        hit("top", 100, true),
        hit("mid/dle", 10, false),
        hit("low", 1, true),
    ];
    SearchReply::Bytes(200, json!({"results": results}).to_string().into())
}

fn told(daemon: &Daemon, path: &str) -> (u16, String) {
    let answer = daemon.get(path);
    (answer.status, answer.text())
}

fn names(daemon: &Daemon, query: &str) -> Vec<String> {
    let answer = daemon.get(&format!("/images/search?{query}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let results = answer.json();
    let results = results.as_array().unwrap();
    assert!(
        results.iter().all(|hit| hit["is_automated"] == false),
        "{results:?}"
    );
    results
        .iter()
        .map(|hit| hit["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_registry_is_searched_and_its_answer_filtered() {
    let server = SearchServer::start([hits()]);
    let daemon = Daemon::start();
    let term = format!("term={}/x", server.host());
    for (more, expected) in [
        ("", &["top", "mid/dle", "low"][..]),
        ("&limit=2", &["top", "mid/dle"]),
        ("&filters={\"is-official\":[\"true\"]}", &["top", "low"]),
        ("&filters={\"is-official\":{\"false\":true}}", &["mid/dle"]),
        ("&filters={\"stars\":[\"10\"]}", &["top", "mid/dle"]),
        (
            "&filters={\"stars\":[\"10\",\"11\"],\"is-official\":[\"1\"]}",
            &["top"],
        ),
        (
            "&filters={\"is-automated\":[\"false\"]}",
            &["top", "mid/dle", "low"],
        ),
        ("&filters={\"is-automated\":[\"true\"]}", &[]),
    ] {
        assert_eq!(names(&daemon, &format!("{term}{more}")), expected, "{more}");
    }
    let paths: Vec<String> = server.requests().into_iter().map(|one| one.path).collect();
    assert_eq!(paths[0], "/v1/search?q=x&n=25");
    assert_eq!(paths[1], "/v1/search?q=x&n=2");
    assert_eq!(paths.len(), 7, "no registry is asked for what there is not");
}

#[test]
fn what_is_wrong_is_told_before_a_registry_is_asked() {
    let server = SearchServer::start([hits()]);
    let daemon = Daemon::start();
    let host = server.host();
    for (query, message) in [
        (String::new(), "search term is required"),
        ("term=".to_owned(), "search term is required"),
        (
            format!("term={host}/x&limit=101"),
            "limit 101 is outside the range of [1, 100]",
        ),
        (
            format!("term={host}/x&limit=-1"),
            "limit -1 is outside the range of [1, 100]",
        ),
        (format!("term={host}/x&limit=many"), "invalid limit specified"),
        (format!("term={host}/x&filters=x"), "invalid filter"),
        (
            format!("term={host}/x&filters={{\"name\":[\"x\"]}}"),
            "invalid filter 'name'",
        ),
        (
            format!("term={host}/x&filters={{\"stars\":[\"x\"]}}"),
            "invalid filter 'stars=x'",
        ),
        (
            format!("term={host}/x&filters={{\"is-official\":[\"x\"]}}"),
            "invalid filter 'is-official=[x]'",
        ),
        (format!("term=http://{host}/x"), "should not have a scheme"),
        ("term=a.b:port/x".to_owned(), "is no address of a registry"),
    ] {
        let (status, body) = told(&daemon, &format!("/images/search?{query}"));
        assert_eq!(status, 400, "{query}: {body}");
        assert!(body.contains(message), "{query}: {body}");
    }
    assert_eq!(server.requests(), []);
}

#[test]
fn a_registry_s_refusal_names_it() {
    let server = SearchServer::start([SearchReply::Bytes(404, b"404 page not found".into())]);
    let daemon = Daemon::start();
    let host = server.host();
    let (status, body) = told(&daemon, &format!("/images/search?term={host}/x"));
    assert_eq!(status, 404);
    assert!(
        body.contains(&format!("cannot search {host}: it has no search")),
        "{body}"
    );
    let private = SearchServer::start([SearchReply::WantsBasic]);
    let (status, body) = told(&daemon, &format!("/images/search?term={}/x", private.host()));
    assert_eq!(status, 401, "{body}");
    assert!(
        body.contains(&format!("cannot search {}", private.host())),
        "{body}"
    );
    let gone = {
        let server = SearchServer::start([hits()]);
        server.host()
    };
    let (status, body) = told(&daemon, &format!("/images/search?term={gone}/x"));
    assert_eq!(status, 500, "{body}");
    assert!(
        body.contains(&format!("cannot search {gone}: cannot reach ")),
        "{body}"
    );
}

#[test]
fn a_client_that_goes_away_ends_its_search() {
    let server = SearchServer::start([SearchReply::Never]);
    let daemon = Daemon::start();
    let mut client = UnixStream::connect(daemon.socket()).unwrap();
    write!(
        client,
        "GET /images/search?term={}/x HTTP/1.1\r\nHost: x\r\n\r\n",
        server.host()
    )
    .unwrap();
    let start = Instant::now();
    let wait = |what: &str, holds: &dyn Fn() -> bool| {
        while !holds() {
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "waited in vain until {what}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    wait("it is asked", &|| server.waiting() == 1);
    drop(client);
    wait("it is let go", &|| server.waiting() == 0);
}
