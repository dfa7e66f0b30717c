//! The daemon itself: whether it is there, what it is, and paths that lead nowhere.

use hyper::Method;

use crate::ask::{Ask, NOW};

/// What may be asked at any time.
pub(crate) fn asks() -> Vec<Ask> {
    let mut asks = vec![
        Ask::get("ping", "/_ping"),
        Ask::get("ping/unversioned", "/_ping").version(""),
        Ask::other("ping/head", Method::HEAD, "/_ping"),
        Ask::other("ping/post", Method::POST, "/_ping"),
        Ask::other("options", Method::OPTIONS, "/anything"),
        Ask::get("version", "/version"),
        Ask::get("version/unversioned", "/version").version(""),
        Ask::other("version/head", Method::HEAD, "/version"),
        Ask::other("version/post", Method::POST, "/version"),
        Ask::get("info", "/info").loose(&["body.*"]),
        Ask::get("too-new", "/info").version("1.99"),
        Ask::get("too-new/2", "/info").version("2.0"),
        Ask::get("too-old", "/info").version("1.11"),
        Ask::get("not-a-version", "/info").version("x"),
        Ask::get("not-a-version/1", "/info").version("1"),
        Ask::get("version-alone", "").version("1.41"),
        Ask::get("root", "/").version(""),
        Ask::get("df/wrong-method", "/system/df/x"),
    ];
    for path in [
        "/nonsense",
        "/images",
        "/images/",
        "/images/x",
        "/images/x/y",
        "/images/json/",
        "/build",
        "/system",
        "/containers",
    ] {
        asks.push(Ask::get(&format!("nowhere{path}"), path));
    }
    let wrong = [
        (Method::POST, "/images/json"),
        (Method::PUT, "/images/load"),
        (Method::GET, "/images/create"),
        (Method::GET, "/images/prune"),
        (Method::PATCH, "/images/x/tag"),
        (Method::DELETE, "/images"),
        (Method::DELETE, "/build"),
        (Method::GET, "/auth"),
        (Method::POST, "/events"),
        (Method::POST, "/info"),
        (Method::GET, "/commit"),
    ];
    for (method, path) in wrong {
        asks.push(Ask::other(&format!("wrong-method{path}"), method, path));
    }
    asks
}

/// What is told of all that was done.
pub(crate) fn last() -> Vec<Ask> {
    let filter = |text: &str| {
        Ask::get(&format!("events/{text}"), "/events")
            .with("since", "1")
            .with("until", "2")
            .with("filters", text)
            .stream()
    };
    vec![
        Ask::get("events/none", "/events")
            .with("since", "1")
            .with("until", "2")
            .stream(),
        Ask::get("events/until-before-since", "/events")
            .with("since", "3")
            .with("until", "2")
            .stream(),
        Ask::get("events/bad-since", "/events")
            .with("since", "x")
            .with("until", "2"),
        Ask::get("events/bad-until", "/events").with("until", "x"),
        Ask::get("events/bad-filters", "/events")
            .with("until", "1")
            .with("filters", "{"),
        filter(r#"{"nonsense":["x"]}"#),
        filter(r#"{"type":["image"]}"#),
        filter(r#"{"event":{"tag":true}}"#),
    ]
}

/// What is told of the names that images got.
pub(crate) fn events() -> Vec<Ask> {
    let ask = Ask::get("events/tags", "/events")
        .with("since", "1600000000")
        .with("until", NOW);
    let ask = ask.with("filters", r#"{"type":["image"],"event":["tag"]}"#);
    vec![ask.stream().loose(&["body.*time", "body.*timeNano"])]
}
